//! A short run of every fuzz target on every `make test`: over what it starts from, and that damaged in all ways.
//!
//! `LMFS_FUZZ_SECONDS` makes it longer, `LMFS_SEED` repeats a run. `LMFS_FUZZ_SEEDS=fuzz/corpus` writes the starting
//! inputs where `cargo fuzz run` finds them. A finding of any fuzzer becomes a test of its own at the end of this file.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

#[path = "fuzz/bodies.rs"]
mod bodies;
mod common;
#[path = "fuzz/smoke.rs"]
mod smoke;

use bodies::{TARGETS, Target};
use common::random;

fn smoke(name: &str) {
    let Target { run, seeds, .. } = TARGETS.into_iter().find(|target| target.name == name).unwrap();
    smoke::smoke(name, run, &seeds());
}

#[test]
fn damaged_blocks_are_survived() {
    smoke("block");
}

#[test]
fn damaged_containers_are_survived() {
    smoke("container");
}

#[test]
fn any_bytes_have_tokens() {
    smoke("tokenizer");
}

#[test]
fn any_decisions_and_tokens_are_coded() {
    smoke("coder");
}

#[test]
fn any_bytes_are_mixed_alike_on_both_sides() {
    smoke("mixer");
}

#[test]
fn damaged_models_are_survived() {
    smoke("gguf");
}
