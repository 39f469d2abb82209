//! Room in memory for written data, and waiting for it (backpressure).

use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::WriteBack;
use super::flush::Cold;
use crate::fs::error::Result;
use crate::fs::inode::node::State;
use crate::task::Asker;

/// Whether a write finds room in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It does.
    Free,
    /// Memory is full of written data.
    Full,
    /// The half of memory is full that blocks may take which were written in part, and this would make one more.
    FullOfParts,
}

impl WriteBack {
    /// Whether there is room for a write to `range` of a file.
    pub fn room(&self, state: &State, range: &Range<u64>) -> Room {
        if self.is_full_of_parts() && self.makes_part(state, range) {
            Room::FullOfParts
        } else if self.is_full() {
            Room::Full
        } else {
            Room::Free
        }
    }

    fn is_full(&self) -> bool {
        self.totals.blocks() >= self.limits.blocks
    }

    fn is_full_of_parts(&self) -> bool {
        self.totals.partial() >= self.limits.blocks.div_ceil(2)
    }

    /// Whether a write to `range` makes one more block that is written in part.
    fn makes_part(&self, state: &State, range: &Range<u64>) -> bool {
        let bs = self.limits.block_size;
        let size = state.inode.size.max(range.end);
        let (first, last) = (range.start / bs, range.end.saturating_sub(1) / bs);
        [first, last].into_iter().any(|block| {
            let within = |at: u64| (at.saturating_sub(block * bs).min(bs)) as usize;
            let written = within(range.start)..within(range.end);
            state.dirty.would_be_partial(block, written, self.bytes_in(block, size))
        })
    }

    /// Waits until there may be room for a write to `range` of a file, and says whether it may go on without: if memory
    /// stays full of blocks whose rest cannot be read, those may that can be stored.
    ///
    /// # Errors
    /// What keeps data from being stored; EIO if the write would make one more block that cannot be.
    pub async fn make_room(self: &Arc<Self>, room: Room, ino: u64, range: &Range<u64>, asker: Asker) -> Result<bool> {
        let parts = room == Room::FullOfParts;
        let cold = if parts { Cold::Decode } else { Cold::Leave };
        // What can be stored at once makes room at once, for all who wait.
        let stored = self.round(Duration::ZERO, cold).await;
        loop {
            let mut progress = pin!(self.progress.notified());
            // Before looking, so that no notice is missed between looking and waiting.
            progress.as_mut().enable();
            let is_full = if parts { self.is_full_of_parts() } else { self.is_full() };
            if !is_full {
                return Ok(false);
            }
            if self.decoding.load(Ordering::SeqCst) == 0 {
                break;
            }
            progress.await;
        }
        stored?;
        // No flush is under way, and memory is still full: of blocks whose rest cannot be read. This write may go on if
        // the rest of its own blocks can.
        for edge in [range.start, range.end] {
            if !edge.is_multiple_of(self.limits.block_size) {
                let block = edge / self.limits.block_size;
                self.reader.block(ino, block, asker).await?;
            }
        }
        Ok(true)
    }
}
