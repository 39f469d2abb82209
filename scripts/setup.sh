#!/bin/sh
# Installs what building and testing need on Debian and Ubuntu, and nothing when it is all there.
# usage: setup.sh demo|build|test|bench
set -eu

# The compiler first: what it takes to get one is not for this script to decide.
needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$(dirname "$0")/../Cargo.toml")
if ! command -v cargo >/dev/null; then
    echo "setup: Rust is missing: lmfs needs $needed or newer, see https://rustup.rs" >&2
    exit 1
fi
found=$(cargo --version | cut -d ' ' -f 2)
if [ "$(printf '%s\n' "$needed" "${found%%-*}" | sort -V | head -n 1)" != "$needed" ]; then
    echo "setup: lmfs needs Rust $needed or newer, and $(command -v cargo) is $found." >&2
    echo "setup: what Debian and Ubuntu package is often too old: get the current one from https://rustup.rs" >&2
    exit 1
fi

# command-or-file:package
demo="c++:g++ pkg-config:pkg-config fusermount3:fuse3 /dev/fuse:fuse3"
# For llama.cpp.
build="$demo cmake:cmake clang:clang"
test="$build make:make diff:diffutils fio:fio flock:util-linux git:git python3:python3 rsync:rsync sqlite3:sqlite3 tar:tar xz:xz-utils setfattr:attr setfacl:acl stress-ng:stress-ng /usr/include/sys/acl.h:libacl1-dev
      systemd-analyze:systemd unshare:util-linux script:bsdutils"
bench="$test bindfs:bindfs zpaq:zpaq 7z:p7zip-full brotli:brotli"
libclang=$(ls /usr/lib/llvm-*/lib/libclang.so* /usr/lib/*/libclang*.so* 2>/dev/null | head -n 1 || true)

missing=
for need in $(eval "echo \$${1:-build}"); do
    what=${need%%:*} package=${need##*:}
    case $what in
    /*) [ -e "$what" ] && continue ;;
    *) PATH=$PATH:/usr/sbin:/sbin command -v "$what" >/dev/null && continue ;;
    esac
    case " $missing " in *" $package "*) ;; *) missing="$missing $package" ;; esac
done
[ "${1:-build}" = demo ] || [ -n "$libclang" ] || missing="$missing libclang-dev"

if [ -n "$missing" ]; then
    if ! command -v apt-get >/dev/null; then
        echo "setup: please install the counterparts of these Debian packages:$missing" >&2
        exit 1
    fi
    sudo=
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || { echo "setup: as root, please: apt-get install$missing" >&2; exit 1; }
        sudo=sudo
    fi
    echo "setup: installing$missing"
    export DEBIAN_FRONTEND=noninteractive
    $sudo apt-get update -qq
    # shellcheck disable=SC2086  # a list of packages
    $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi
if [ ! -e /dev/fuse ]; then
    [ "$(id -u)" != 0 ] || mknod -m 666 /dev/fuse c 10 229 || true
    [ -e /dev/fuse ] || { echo "setup: there is no /dev/fuse: lmfs cannot mount here (try: modprobe fuse)" >&2; exit 1; }
fi
