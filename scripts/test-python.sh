#!/bin/sh
# Builds the Python package and tests it in an environment of its own. Needs Python's package registry.
set -eu
cd "$(dirname "$0")/.."
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")/python
venv=$target/venv
mkdir -p "$target"
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet 'maturin==1.16.0' 'fsspec==2026.9.0' pytest pandas pyarrow duckdb dask distributed
rm -rf "$target/wheels"
CARGO_TARGET_DIR=$target "$venv/bin/maturin" build --release --locked -m python/Cargo.toml -o "$target/wheels"
"$venv/bin/pip" install --quiet --force-reinstall --no-deps "$target"/wheels/lmfs-*.whl
# Elsewhere, so that what is tested is what was installed.
cd "$target"
"$venv/bin/python" -m pytest -q -p no:cacheprovider "$OLDPWD/python/tests" --ignore "$OLDPWD/python/tests/full" "$@"
