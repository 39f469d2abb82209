//! lmfs: a filesystem that a language model compresses.
//!
//! The library behind the `lmfs` command. It joins `lmfs-codec` (models, blocks, streams) and
//! `lmfs-indexer` (log, index, garbage collection) into a mounted filesystem, its background packer and
//! its command line.

// What cannot be printed must not end the program: see `cli::output`.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

/// Sizes and offsets of files are numbers of 64 bits, and so is what indexes memory: no conversion between them fails.
const _: () = assert!(usize::BITS == u64::BITS, "lmfs needs a 64-bit machine");

mod bucket;
mod byte_size;
mod cache;
mod check;
mod cli;
mod daemon;
mod error_chain;
pub mod eval;
mod fs;
mod fuse;
mod generate;
mod maintenance;
mod mountinfo;
mod packer;
mod paper;
mod posix_acl;
mod proc_status;
mod process_setup;
mod progress;
mod store;
mod task;
mod terminal_text;
#[cfg(test)]
mod testing;
mod workers;

pub use cli::main;
/// For fuzz targets, and for nobody else.
#[doc(hidden)]
pub use workers::fuzzing;
