//! The index: all rows of the tree in key order, made from the log and deletable at any time.
//!
//! Rows are packed into pages of a few KiB, and pages are what the key-value store beneath (sled, or a map in memory)
//! would hold. For now that is a map in memory, so the index is made from the log at every start. New rows gather in an overlay in memory and are merged into their pages bit by bit: a commit touches memory
//! only, and the store beneath sees few, large values (it needs about 200 bytes for a row of its own).

mod map;
pub(crate) mod page;
mod pages;
pub(crate) mod rows;

pub(crate) use map::{Delta, Index, Loader};
pub(crate) use pages::{MemPages, Pages};
