#!/bin/sh
# The exact engine's plain kernels in Miri, which finds undefined behaviour: reads and writes out of bounds, of what is
# not initialized, through the wrong pointer. Minutes: it runs some thousand times slower than the CPU.
set -eu

export LMFS_KERNEL=scalar MIRIFLAGS=-Zmiri-disable-isolation
rustup toolchain list | grep -q '^nightly' || rustup toolchain install nightly --profile minimal
rustup +nightly component list | grep -q '^miri.*(installed)' || rustup component add miri rust-src --toolchain nightly
# Without llama.cpp: Miri runs no C++. Each test runs fewer and smaller cases there.
exec ${CARGO:-cargo} +nightly miri test --locked --target-dir target/miri -p lmfs-codec --no-default-features --lib -- \
    kernels_agree products_are_what_the_definition_says
