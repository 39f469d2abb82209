//! The solid head of a group of blocks, and which blocks become parts of it.

use lmfs_codec::{Growth, SolidHead};

/// The solid head of a group of blocks, as far as it was packed.
pub(super) struct Head {
    /// The stored block that is its last one so far.
    pub id: u64,
    pub solid: SolidHead,
}

/// A head for fewer blocks than this is not worth making any of them larger.
pub(super) const SHORT: usize = 8;

/// Whether the first blocks of a group, `count` of them, become its head.
pub(super) fn growth(count: usize) -> Growth {
    match count {
        0 | 1 => Growth::Never,
        2..SHORT => Growth::IfSmallest,
        _ => Growth::Preferred,
    }
}
