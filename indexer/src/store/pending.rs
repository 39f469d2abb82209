//! Blocks that were appended and whose transaction is still to come, and blocks that one to come will share.

use super::Store;
use crate::Result;
use crate::types::{BlockRef, Extent};
use std::sync::Arc;

/// A block that was appended for a transaction to come. Until this is dropped, garbage collection spares the block;
/// then it is garbage, unless a transaction named it. So a failed commit, an interrupted request and a panic leave
/// nothing behind that could never be collected.
pub struct PendingBlock {
    store: Arc<Store>,
    id: u64,
    location: BlockRef,
}

impl PendingBlock {
    /// Number of the stored block.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Where the block lies.
    pub fn location(&self) -> BlockRef {
        self.location
    }
}

impl std::fmt::Debug for PendingBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut f = f.debug_tuple("PendingBlock");
        f.field(&self.id).field(&self.location).finish()
    }
}

impl Drop for PendingBlock {
    fn drop(&mut self) {
        self.store.abandon_blocks(&[self.location]);
    }
}

/// A stored block that a transaction to come will share. Until this is dropped, its bytes stay where they lay when it
/// was found, even if its last user goes meanwhile: the transaction can name it in any case. Its tag counts as one
/// [in use](Store::tags_in_use).
pub struct HeldBlock {
    store: Arc<Store>,
    extent: Extent,
}

impl HeldBlock {
    /// The extent to name.
    pub fn extent(&self) -> Extent {
        self.extent
    }
}

impl std::fmt::Debug for HeldBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("HeldBlock").field(&self.extent).finish()
    }
}

impl Drop for HeldBlock {
    fn drop(&mut self) {
        let key = key(&self.extent);
        let mut held = self.store.held.lock();
        if let Some(count) = held.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                held.remove(&key);
            }
        }
    }
}

/// A held block in [`Store::held`].
fn key(extent: &Extent) -> (u32, u32, u8) {
    (extent.location.segment, extent.location.offset, extent.tag)
}

impl Store {
    /// As [`Store::append_block`], but the block is abandoned by itself when what is returned is dropped.
    pub fn append_pending(self: &Arc<Self>, bytes: &[u8]) -> Result<PendingBlock> {
        let (id, location) = self.append_block(bytes)?;
        let store = Arc::clone(self);
        Ok(PendingBlock { store, id, location })
    }

    /// As [`Store::append_again`], but the bytes are abandoned by themselves when what is returned is dropped.
    pub fn append_again_pending(self: &Arc<Self>, id: u64, bytes: &[u8]) -> Result<PendingBlock> {
        let location = self.append_again(id, bytes)?;
        let store = Arc::clone(self);
        Ok(PendingBlock { store, id, location })
    }

    /// Keeps a stored block for a transaction that will share it; None if it is not in use any more. None either of one
    /// that refers to another: were its last user to go, that one could go, too.
    pub fn hold(self: &Arc<Self>, id: u64) -> Result<Option<HeldBlock>> {
        // Garbage collection deletes no segment meanwhile.
        let _no_commits = self.committing();
        let Some(stored) = self.stored_block(id)?.filter(|stored| stored.reference == 0) else {
            return Ok(None);
        };
        let extent = stored.extent(id);
        *self.held.lock().entry(key(&extent)).or_default() += 1;
        let store = Arc::clone(self);
        Ok(Some(HeldBlock { store, extent }))
    }
}
