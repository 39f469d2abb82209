#!/bin/sh
# The object store and whole stores over a server that speaks S3, which runs on this machine. Needs Python and its
# package registry. What is given to it goes to the tests in tests/s3, such as a part of their names.
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
venv=$target/s3-venv
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -c 'import moto' 2>/dev/null || "$venv/bin/pip" install --quiet 'moto[server,s3]==5.2.5'

work=$(mktemp -d "${TMPDIR:-/tmp}/lmfs-s3.XXXXXX")
# The server ends when its standard input does.
trap 'exec 9>&-; rm -rf "$work"' EXIT
port=${LMFS_S3_PORT:-15000}
mkfifo "$work/in"
"$venv/bin/python" tests/s3/server.py "$port" lmfs-test <"$work/in" >"$work/out" 2>&1 &
exec 9>"$work/in"
for _ in $(seq 300); do
    ! grep -q ready "$work/out" || break
    sleep 0.1
done
grep -q ready "$work/out" || { cat "$work/out" >&2; exit 1; }
export AWS_ACCESS_KEY_ID=testing AWS_SECRET_ACCESS_KEY=testing AWS_REGION=us-east-1 AWS_ALLOW_HTTP=true
export AWS_ENDPOINT=http://127.0.0.1:$port AWS_BUCKET=lmfs-test AWS_COPY_IF_NOT_EXISTS=multipart

# The Python package over the same server, and on Ray.
sh scripts/test-python.sh --collect-only >/dev/null
python=$(realpath "$target/python")/venv/bin
"$python/pip" install --quiet s3fs==2026.9.0 ray==2.60.0
LMFS_TEST_S3=$AWS_ENDPOINT LMFS_TEST_S3_BUCKET=lmfs-test \
    "$python/python" -m pytest -q -p no:cacheprovider python/tests/full

# The program with an HTTP client: it pushes, mounts and clones a store over the same server.
cargo=${CARGO:-cargo}
CARGO_TARGET_DIR=$target/cloud $cargo build --release --locked -p lmfs --features cloud
LMFS_BIN=$(realpath "$target/cloud/release/lmfs")
export LMFS_BIN
CARGO_TARGET_DIR=$target/s3 $cargo test --release --locked --manifest-path tests/s3/Cargo.toml -- "$@"

# DataFusion in memory, and then over the server: a small table, whose results are compared.
CARGO_TARGET_DIR=$target/datafusion $cargo test --release --locked --manifest-path tests/datafusion/Cargo.toml
CARGO_TARGET_DIR=$target/datafusion $cargo run --release --locked --manifest-path tests/datafusion/Cargo.toml -- 2
