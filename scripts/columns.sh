#!/bin/sh
# Lists lines of Rust with more than 120 columns. rustfmt breaks code, but neither comments nor strings.
# A line that is one string literal may be longer.
set -eu
cd "$(dirname "$0")/.."

found=$(find codec indexer lmfs object python tests fuzz \( -name target -o -name data \) -prune -o -name '*.rs' -print |
    LC_ALL=C.UTF-8 xargs grep -nE '^.{121,}' | grep -vE '^[^:]*:[0-9]*: *(#\[error\()?"' || true)
if [ -n "$found" ]; then
    printf '%s\n' "$found" | cut -c 1-160 >&2
    echo "columns: these lines have more than 120 columns" >&2
    exit 1
fi
