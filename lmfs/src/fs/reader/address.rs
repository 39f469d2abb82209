//! What a decoded block is known by, and what it costs to have it decoded.

use lmfs_codec::Method;
use lmfs_indexer::{BlockRef, Extent};

use crate::cache::Cost;
use crate::store::Tag;

/// Which block it is and where it lies. The owner belongs to it: a block is read only for the file and number that its
/// record names (docs/FORMAT.md), also when it is in the cache already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The file.
    pub ino: u64,
    /// The block's number in it.
    pub block: u64,
    /// Where the log has it.
    pub location: BlockRef,
}

impl Address {
    /// The address of a block at an extent.
    pub fn new(ino: u64, block: u64, extent: &Extent) -> Address {
        Address {
            ino,
            block,
            location: extent.r,
        }
    }
}

/// How long an extent's block takes to decode, by its method. What this version does not know may take long.
pub fn cost(extent: &Extent) -> Cost {
    match Tag(extent.tag).method() {
        Some(Method::Raw | Method::Zstd) => Cost::Cheap,
        _ => Cost::Dear,
    }
}
