//! The index: all rows of the tree in key order, made from the log and deletable at any time.
//!
//! Rows are packed into pages of a few KiB, kept in an ordered map behind [`Pages`]: sled on disk, a map in memory for
//! stores that are not on disk or must not be written. New rows gather in an overlay and are merged into their pages
//! bit by bit, so that a commit costs little and pages are few and large: sled needs about 200 bytes for a row of its
//! own.

mod map;
pub(crate) mod page;
mod pages;
pub(crate) mod rows;
mod sled;
mod snapshot;

pub(crate) use map::{Delta, Index, Loader, RowSum};
pub(crate) use pages::{MemPages, Pages};
pub(crate) use sled::{INDEX_FOLDER, SledPages};
pub(crate) use snapshot::Snapshot;
