//! Fixtures of the whole-system tests: the real `lmfs` program, stores in scratch folders, real FUSE mounts, sample
//! trees.
//!
//! A test owns a [`Scratch`] folder, makes a store in it and holds it mounted as a [`Mount`]; whatever way the test
//! ends, the mount is detached, the daemon is gone and the folder removed. Every program runs under a deadline, every
//! output and every daemon log is searched for a panic, and a failing test prints the log.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a fixture that cannot do its part has to stop the test"
)]

mod command;
mod mount;
mod sample;
mod scratch;
#[path = "../../indexer/tests/workload/soak.rs"]
#[allow(dead_code, reason = "shared with tests that try one case of so many")]
mod soak;
mod tree;
mod until;

pub use command::{Finished, lmfs, lmfs_path, run, run_within};
pub use mount::Mount;
pub use sample::{Noise, copy_in, data, sample_tree, small_tree};
pub use scratch::Scratch;
pub use soak::{rounds, soak};
pub use tree::{diff, metadata};
pub use until::{SetOnDrop, happens, until};
