#!/usr/bin/env bash
# Shows lmfs at work: creates and mounts a store, copies files in, packs them, reads them back, kills the daemon, checks.
# usage: demo.sh [DIRECTORY]    (default: the samples in tests/data)
set -euo pipefail
cd "$(dirname "$0")/.."

LMFS=$(realpath "${LMFS:-target/release/lmfs}")
work=$(mktemp -d "${TMPDIR:-/tmp}/lmfs-demo.XXXXXX")
store=$work/store mnt=$work/mnt source=$work/source
mkdir "$mnt" "$source"

finish() {
    if mountpoint -q "$mnt" 2>/dev/null || ! stat "$mnt" >/dev/null 2>&1; then
        "$LMFS" umount "$mnt" >/dev/null 2>&1 || fusermount3 -u -z "$mnt" >/dev/null 2>&1 || true
    fi
    rm -rf --one-file-system "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
run() { printf '$ %s\n' "${*//$work\//}" && "$@"; }
same() { diff -r --no-dereference "$source" "$mnt/copy" && echo "identical (diff -r finds nothing)"; }
# status KEY...: numbers of lmfs status --json, one a line
number() { "$LMFS" status "$mnt" --json | tr ',{}' '\n\n\n' | sed -n "s/^ *\"$1\": *\([0-9.]*\).*/\1/p" | head -n 1; }
daemon() { "$LMFS" status "$mnt" --json | tr ',{}' '\n\n\n' | sed -n 's/^ *"pid": *\([0-9]*\).*/\1/p' | head -n 1; }

if [ $# -gt 0 ]; then
    cp -a "$1" "$source/"
else
    cp -a tests/data/text tests/data/code tests/data/logs tests/data/csv tests/data/json "$source/"
fi
raw=$(find "$source" -type f -printf '%s\n' | awk '{ n += $1 } END { print n + 0 }')
files=$(find "$source" -type f | wc -l)

step "Create a store with the built-in model, and mount it"
# The model for all that it makes smaller. Without the option it is used where it saves much for the time it costs.
run "$LMFS" init --prefer=size "$store"
run "$LMFS" mount "$store" "$mnt" --pack=off

step "Copy in $files files with $raw bytes of text, code and logs"
run cp -a "$source" "$mnt/copy"
find "$mnt/copy" -type f -exec sync {} +   # fsync of each
same
first=$(number stored_bytes)

step "Pack them with the language model"
begun=$(date +%s.%N)
run "$LMFS" pack "$mnt"
seconds=$(date +%s.%N | awk -v begun="$begun" '{ print $1 - begun }')
packed=$(number stored_bytes)
same

step "Mount again, with nothing cached, and read 4 KiB at 20 random places"
run "$LMFS" umount "$mnt"
run "$LMFS" mount "$store" "$mnt" --pack=off
mapfile -t all < <(cd "$source" && find . -type f -size +16k | sort)
RANDOM=1
for _ in $(seq 20); do
    file=${all[$((RANDOM % ${#all[@]}))]}
    block=$((RANDOM % ($(stat -c %s "$source/$file") / 4096)))
    cmp <(dd if="$mnt/copy/$file" bs=4096 skip="$block" count=1 status=none) \
        <(dd if="$source/$file" bs=4096 skip="$block" count=1 status=none)
done
misses=$(sed -n 's/.*"decodes": *\([0-9]*\).*/\1/p' <<<"$("$LMFS" status "$mnt" --json | tr -d '\n')")
echo "20 reads are correct, $misses blocks were decoded"

step "Kill the daemon (kill -9), and mount the store again"
echo "written and synced before the kill" >"$mnt/note"
sync "$mnt/note"   # fsync
pid=$(daemon)
run kill -9 "$pid"
while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
fusermount3 -u -z "$mnt"
run "$LMFS" mount "$store" "$mnt" --pack=off
cat "$mnt/note"
same
run "$LMFS" status "$mnt"

step "Unmount, and check the whole store"
run "$LMFS" umount "$mnt"
run "$LMFS" check "$store" --data

percent() { awk -v a="$1" -v b="$raw" 'BEGIN { printf "%.1f %%", 100 * a / b }'; }
zst=$(cd "$source" && find . -type f -print0 | sort -z | xargs -0 cat | (zstd -19 -c 2>/dev/null || gzip -9c) | wc -c)
step "Summary"
printf '%-44s %10s\n' \
    "copied in (bytes)" "$raw" \
    "staged, fast and safe" "$first" \
    "packed by the model" "$packed" \
    "  of what was copied in" "$(percent "$packed")" \
    "all files in one stream through $(command -v zstd >/dev/null && echo zstd -19 || echo gzip -9)" "$zst" \
    "  of what was copied in" "$(percent "$zst")" \
    "packing, with verification (KB/s)" "$(awk -v n="$raw" -v s="$seconds" 'BEGIN { printf "%.1f", n / s / 1000 }')"
