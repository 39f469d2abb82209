#!/bin/bash
# Runs the tests of xfstests (group `auto`, generic) on lmfs, each with a time limit, and says what each came to.
#
# usage: xfstests.sh [TEST...]       for example: xfstests.sh generic/001 generic/300-399 generic/676-
#                                    without any: the whole group, as generic/1-
#
#   LMFS=PROGRAM       what is tested (target/release/lmfs)
#   MODEL=MODEL        what the stores are made with: lmfs init --model (none)
#   XFSTESTS=FOLDER    a checkout of xfstests to use and to build in; else it is cloned into target/tools, once
#   OUT=FOLDER         where the outputs go, and `summary` with a line for each test (target/xfstests/MODEL)
#   LIMIT=SECONDS      for one test (300)
#
# It needs root, and Debian's or Ubuntu's packages or their counterparts. It makes the users that the tests want (fsgqa,
# fsgqa2, 123456-fsgqa) and, for as long as it runs, the link /sbin/mount.fuse.lmfs, if there is none. Tests that are
# listed in xfstests.exclude, each with the reason, are passed over. It ends with 1 if any other test failed.
set -eu

ORIGIN=https://git.kernel.org/pub/scm/fs/xfs/xfstests-dev.git
VERSION=63a29724a85f1999e49bf0a9bf0d22643b6116e5
PACKAGES="acl attr autoconf automake bc dbench e2fsprogs fio gawk gcc gettext git indent keyutils libacl1-dev
    libaio-dev libattr1-dev libcap2-bin libcap-dev libgdbm-compat-dev libgdbm-dev libssl-dev libtool-bin liburing-dev
    make perl pkg-config psmisc python3 quota sed uuid-dev uuid-runtime xfslibs-dev xfsprogs"

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/.." && pwd)
LMFS=$(realpath "${LMFS:-$root/target/release/lmfs}")
MODEL=${MODEL:-none}
LIMIT=${LIMIT:-300}
OUT=${OUT:-$root/target/xfstests/$(basename "$MODEL" .gguf | tr : -)}
suite=${XFSTESTS:-$root/target/tools/xfstests}
helper=/sbin/mount.fuse.lmfs

die() { echo "xfstests: $*" >&2; exit 2; }
[ "$(id -u)" = 0 ] || die "mounting, making device files and changing users takes root"
[ -x "$LMFS" ] || die "there is no $LMFS: run make first, or set LMFS"

prepare() {
    if command -v apt-get >/dev/null; then
        missing=
        for package in $PACKAGES; do
            dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
        done
        if [ -n "$missing" ]; then
            echo "xfstests: installing$missing"
            apt-get update -qq
            # shellcheck disable=SC2086  # a list of packages
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
        fi
    fi
    if [ ! -d "$suite" ]; then
        git clone -q "$ORIGIN" "$suite"
        git -C "$suite" checkout -q "$VERSION"
    fi
    if [ ! -x "$suite/ltp/fsstress" ] || [ ! -x "$suite/src/t_dir_offset2" ]; then
        echo "xfstests: building it (once, some minutes)"
        make -C "$suite" >"$OUT/build.log" 2>&1 || die "it does not build: $OUT/build.log"
    fi
    for user in fsgqa fsgqa2 123456-fsgqa; do
        id "$user" >/dev/null 2>&1 || useradd -m --badname "$user" 2>/dev/null || useradd -m --badnames "$user"
    done
    getent group fsgqa >/dev/null || groupadd fsgqa
}

# It compares the type that df shows, fuse.lmfs, with fuse, and it unmounts by the source, which umount(8) takes for a
# mountpoint if it is a folder.
wrap() {
    mkdir -p "$OUT/bin"
    cat >"$OUT/bin/df" <<'END'
#!/bin/sh
PATH=${PATH#*:} df "$@" | sed 's/fuse\.lmfs/fuse/'
END
    cat >"$OUT/bin/umount" <<'END'
#!/bin/sh
for argument; do
    shift
    case $argument in
    "$TEST_DEV") argument=$TEST_DIR ;;
    "$SCRATCH_DEV") argument=$SCRATCH_MNT ;;
    esac
    set -- "$@" "$argument"
done
PATH=${PATH#*:} exec umount "$@"
END
    chmod +x "$OUT/bin/df" "$OUT/bin/umount"
}

# Whatever a test that was stopped has left: its processes, and the mounts.
clean_up() {
    for mnt in "$OUT/test" "$OUT/scratch"; do
        mountpoint -q "$mnt" || continue
        fuser -k -M -m "$mnt" >/dev/null 2>&1 || true
        umount "$mnt" 2>/dev/null || "$LMFS" umount "$mnt" >/dev/null 2>&1 || umount -l "$mnt"
    done
    for mnt in "$OUT/test" "$OUT/scratch"; do
        # What was written where the mount had been would keep the next test from mounting.
        mountpoint -q "$mnt" || find "$mnt" -mindepth 1 -delete
    done
}

finish() {
    clean_up
    [ -z "${linked:-}" ] || rm -f "$helper"
}

# What one test came to: passed, not run, failed, too long.
one() {
    local test=$1 log=$OUT/log/${1//\//-} status=0
    # timeout(1) ends its whole process group, so that nothing writes on after the time is over.
    (cd "$suite" && exec setsid --wait timeout -k 20 "$LIMIT" ./check "$test") >"$log" 2>&1 </dev/null || status=$?
    [ "$status" = 0 ] || clean_up
    if [ "$status" = 124 ] || [ "$status" = 137 ]; then
        echo "too long"
    elif grep -q '^Not run:' "$log"; then
        echo "not run: $(sed -n "s|^$test.*\[not run\] *||p" "$log" | head -n 1)"
    elif grep -q '^Passed all 1 tests' "$log"; then
        echo passed
    else
        echo failed
    fi
}

mkdir -p "$OUT/test" "$OUT/scratch" "$OUT/log"
OUT=$(realpath "$OUT")
prepare
suite=$(realpath "$suite")
trap finish EXIT
clean_up
wrap
[ -e "$helper" ] || { ln -s "$LMFS" "$helper"; linked=yes; }
for store in test scratch; do
    rm -rf "$OUT/$store.lmfs"
    "$LMFS" init -q --model "$MODEL" "$OUT/$store.lmfs"
done
export FSTYP=fuse FUSE_SUBTYP=.lmfs RESULT_BASE=$OUT/results
export TEST_DEV=$OUT/test.lmfs TEST_DIR=$OUT/test TEST_FS_MOUNT_OPTS="-o allow_other"
export SCRATCH_DEV=$OUT/scratch.lmfs SCRATCH_MNT=$OUT/scratch MOUNT_OPTIONS="-o allow_other"
export HOST_OPTIONS=/nowhere PATH=$OUT/bin:$PATH

# The tests of an argument: those of the group auto in a range, or else the one that it names.
tests_of() {
    local numbers=${1#generic/}
    case $numbers in
    *-*)
        awk -v "first=${numbers%-*}" -v "last=${numbers#*-}" '
            /^[0-9]/ && / auto( |$)/ && $1 + 0 >= first + 0 && (last == "" || $1 + 0 <= last + 0) { print "generic/" $1 }
        ' "$suite/tests/generic/group.list"
        ;;
    *) echo "$1" ;;
    esac
}

[ $# != 0 ] || set -- generic/1-
# shellcheck disable=SC2046  # a list of tests
set -- $(for argument; do tests_of "$argument"; done)
[ $# != 0 ] || die "$suite/tests/generic/group.list names no such test of the group auto"
: >"$OUT/summary"
for test; do
    reason=$(sed -n "s|^$test  *||p" "$here/xfstests.exclude")
    start=$(date +%s)
    if [ -n "$reason" ]; then result="excluded: $reason"; else result=$(one "$test"); fi
    printf '%s\t%s\t%s s\n' "$test" "$result" "$(($(date +%s) - start))" | tee -a "$OUT/summary"
done

echo "of $# tests $(grep -c -P '\tpassed\t' "$OUT/summary") passed, $(grep -c -P '\tfailed\t' "$OUT/summary") failed," \
    "$(grep -c -P '\ttoo long\t' "$OUT/summary") took over $LIMIT s, $(grep -c -P '\tnot run' "$OUT/summary") do not apply," \
    "$(grep -c -P '\texcluded' "$OUT/summary") are excluded"
! grep -q -P '\t(failed|too long)\t' "$OUT/summary"
