#!/bin/sh
# Runs targets of the Makefile one after another. Says when each begins, and at the end how long each took.
# usage: steps.sh TARGET...
set -eu

begun=$(date +%s)
report=
clock() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }

for target in "$@"; do
    start=$(date +%s)
    printf '\n=== [%s] %s\n' "$(clock $((start - begun)))" "$target"
    if ! ${MAKE:-make} --no-print-directory "$target"; then
        printf '\n=== %s failed after %s\n' "$target" "$(clock $(($(date +%s) - start)))" >&2
        exit 1
    fi
    report="$report$(printf '%8s  %s' "$(clock $(($(date +%s) - start)))" "$target")
"
done
printf '\n=== passed in %s\n%s' "$(clock $(($(date +%s) - begun)))" "$report"
