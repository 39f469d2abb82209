//! Blocks that were appended and whose transaction is still to come.

use super::Store;
use crate::Result;
use crate::types::BlockRef;
use std::sync::Arc;

/// A block that was appended for a transaction to come. Until this is dropped, garbage collection spares the block;
/// then it is garbage, unless a transaction named it. So a failed commit, an interrupted request and a panic leave
/// nothing behind that could never be collected.
pub struct PendingBlock {
    store: Arc<Store>,
    location: BlockRef,
}

impl PendingBlock {
    /// Where the block lies.
    pub fn location(&self) -> BlockRef {
        self.location
    }
}

impl std::fmt::Debug for PendingBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PendingBlock").field(&self.location).finish()
    }
}

impl Drop for PendingBlock {
    fn drop(&mut self) {
        self.store.abandon_blocks(&[self.location]);
    }
}

impl Store {
    /// As [`Store::append_block`], but the block is abandoned by itself when what is returned is dropped.
    pub fn append_pending(self: &Arc<Self>, ino: u64, block: u64, bytes: &[u8]) -> Result<PendingBlock> {
        Ok(PendingBlock {
            location: self.append_block(ino, block, bytes)?,
            store: Arc::clone(self),
        })
    }
}
