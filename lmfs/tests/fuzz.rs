//! A short run of the fuzz target `messages`: see `codec/tests/fuzz.rs`.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    dead_code,
    reason = "tests"
)]

#[path = "../../codec/tests/common/random.rs"]
mod random;
#[path = "../../codec/tests/fuzz/smoke.rs"]
mod smoke;

use lmfs::fuzzing;

#[test]
fn any_bytes_are_messages_or_an_error() {
    smoke::smoke("messages", fuzzing::messages, &fuzzing::conversations());
}
