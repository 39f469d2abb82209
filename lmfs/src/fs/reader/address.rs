//! What a decoded block is known by, and what it costs to have it decoded.

use std::hash::{Hash, Hasher};

use lmfs_codec::Method;
use lmfs_indexer::{BlockRef, Extent};

use crate::cache::Cost;
use crate::store::Tag;

/// Which stored block it is and where it lies. All files that share it find it in the cache under the same address. The
/// file and number for which it is read are there for messages, and make no difference.
#[derive(Clone, Copy, Debug)]
pub struct Address {
    /// The file.
    pub ino: u64,
    /// The block's number in it.
    pub block: u64,
    /// Which stored block it is and where the log has it.
    pub extent: Extent,
}

impl PartialEq for Address {
    fn eq(&self, other: &Address) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Address {}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl Address {
    /// The address of a block at an extent.
    pub fn new(ino: u64, block: u64, extent: &Extent) -> Address {
        Address {
            ino,
            block,
            extent: *extent,
        }
    }

    fn key(&self) -> (u64, BlockRef) {
        (self.extent.id, self.extent.location)
    }
}

/// How long an extent's block takes to decode, by its method. What this version does not know may take long.
pub fn cost(extent: &Extent) -> Cost {
    match Tag(extent.tag).method() {
        Some(Method::Raw | Method::Zstd) => Cost::Cheap,
        _ => Cost::Expensive,
    }
}
