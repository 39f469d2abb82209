//! Why a change is refused.

use crate::limits::{MAX_COPIED, MAX_COPIED_TOGETHER, MAX_COPIES, MAX_DICTIONARY, MAX_EXTENTS, MAX_INFO};

/// What no store may hold, whether a caller asks for it or a damaged log says it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidChange {
    /// The number of an inode.
    #[error("inode number {0}")]
    InodeNumber(u64),
    /// The number of a block of a file.
    #[error("block number {0}")]
    BlockNumber(u64),
    /// Blocks that end beyond the largest number.
    #[error("a block number overflows")]
    BlockOverflow,
    /// The number of a stored block.
    #[error("a stored block with number {0}")]
    StoredBlock(u64),
    /// Permission bits.
    #[error("permission bits {perm:o} of inode {ino}")]
    Permissions {
        /// The bits.
        perm: u32,
        /// Whose.
        ino: u64,
    },
    /// A time stamp.
    #[error("a time of inode {0} has a billion nanoseconds or more")]
    Nanoseconds(u64),
    /// The size of a file.
    #[error("size {size} of inode {ino}")]
    Size {
        /// Bytes.
        size: u64,
        /// Whose.
        ino: u64,
    },
    /// Something is too long.
    #[error("{what} of {len} bytes, at most {max}")]
    Length {
        /// What it is.
        what: &'static str,
        /// Its bytes.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The name of a file.
    #[error("the name {0:?} in a directory")]
    Name(String),
    /// The name of an extended attribute.
    #[error("the name {0:?} of an extended attribute")]
    XattrName(String),
    /// A meta row without a key.
    #[error("an empty meta key")]
    EmptyMetaKey,
    /// More extents than a change holds.
    #[error("{0} extents in one change, at most {MAX_EXTENTS}")]
    Extents(usize),
    /// None or too many blocks to copy.
    #[error("a copy of {0} blocks, 1 to {MAX_COPIED} in one change")]
    Copied(u64),
    /// Too many blocks to copy together.
    #[error("copies of more than {MAX_COPIED_TOGETHER} blocks in one transaction")]
    CopiedTogether,
    /// A hole that ends where it begins, or before.
    #[error("a hole of no blocks")]
    EmptyHole,
    /// None or too many copies of a dictionary.
    #[error("a dictionary of {0} copies, 1 to {MAX_COPIES} are possible")]
    Copies(usize),
    /// What is noted of a dictionary is too long.
    #[error("{0} bytes of a dictionary's info, at most {MAX_INFO}")]
    Info(usize),
    /// A dictionary is too long.
    #[error("a dictionary of {0} bytes, at most {MAX_DICTIONARY}")]
    Dictionary(usize),
    /// A block is said to lie where nothing is.
    #[error("an extent beyond the end of {0}")]
    Place(String),
    /// A record is too long.
    #[error("a record of {len} bytes, at most {max}: split it")]
    Record {
        /// Its bytes.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// It does not fit what the store holds.
    #[error("{0}")]
    Contents(String),
}
