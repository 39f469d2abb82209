//! What can be wrong with a block of a file.

use lmfs_indexer::Error as StoreError;

use crate::store::contents::Unreadable;

/// What is wrong with a block, or with where it stands.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("a block of {len} bytes, longer than the store's {block_size}")]
    TooLong { len: u32, block_size: u64 },
    #[error("a block of an inode that does not exist")]
    NoInode,
    #[error("a block beyond the end of the file, which is {size} bytes long")]
    BeyondEnd { size: u64 },
    #[error("segment {0:08x} is missing")]
    SegmentMissing(u32),
    #[error(transparent)]
    Store(StoreError),
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error("the block decodes to {found} bytes instead of {expected}")]
    TooShort { found: usize, expected: usize },
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Fault {
        match error {
            // A block that was moved is looked up again, and here it was not.
            StoreError::Moved { segment } => Fault::SegmentMissing(segment),
            other => Fault::Store(other),
        }
    }
}
