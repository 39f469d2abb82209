//! The index: all rows of the tree in key order, made from the log and deletable at any time.
//!
//! Rows are packed into pages of a few KiB, kept in an ordered map behind [`Pages`]. That is a map in memory while they
//! are few, for stores that are not on disk and for those that must not be written, else sled. New rows gather in an
//! overlay and are merged into their pages bit by bit, so that a commit costs little and pages are few and large: sled
//! needs about 200 bytes for a row of its own.

mod map;
pub(crate) mod packed;
pub(crate) mod page;
mod pages;
pub(crate) mod rows;
pub(crate) mod saved;
mod sled;
mod snapshot;
mod spill;

pub(crate) use map::{Delta, Index, Loader, RowSum};
#[cfg(test)]
pub(crate) use pages::{Changes, Entry};
pub(crate) use pages::{MemPages, Pages};
pub(crate) use sled::{INDEX_FOLDER, SledPages};
pub(crate) use snapshot::Snapshot;
pub(crate) use spill::{MOST_IN_MEMORY, SpillPages};
