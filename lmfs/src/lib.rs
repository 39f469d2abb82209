//! lmfs: a filesystem that a language model compresses.
//!
//! The library behind the `lmfs` command. It joins `lmfs-codec` (models, blocks, streams) and
//! `lmfs-indexer` (log, index, garbage collection) into a mounted filesystem, its background packer and
//! its command line.

pub mod cache;
pub mod check;
pub mod cli;
pub mod daemon;
pub mod eval;
mod explain;
pub mod fs;
pub mod fuse;
pub mod garbage;
pub mod packer;
mod process;
mod progress;
mod room;
pub mod store;
#[cfg(test)]
mod testing;
