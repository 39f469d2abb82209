#!/bin/sh
# The codec's own tests for aarch64, in an emulator where the machine is something else: the exact engine with NEON and
# in plain Rust, and the containers that earlier versions wrote. Without llama.cpp, so nothing of C++ is needed.
set -eu

target=aarch64-unknown-linux-gnu
if [ "$(uname -m)" != aarch64 ]; then
    install=
    command -v qemu-aarch64 >/dev/null || install="$install qemu-user"
    command -v aarch64-linux-gnu-gcc >/dev/null || install="$install gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
    # shellcheck disable=SC2086
    [ -z "$install" ] || apt-get install -y --no-install-recommends $install
    rustup target list --installed | grep -qx $target || rustup target add $target
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu"
fi

test() {
    ${CARGO:-cargo} test --release --locked --target $target --target-dir target/aarch64 -p lmfs-codec --no-default-features "$@"
}
# What compares long texts takes too long in an emulator; the containers compare whole blocks.
test --lib -- exact:: distribution:: --skip agree_on_every_kind --skip up_to_thousands
test --test golden
LMFS_KERNEL=scalar test --test golden
