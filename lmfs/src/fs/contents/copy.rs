//! copy_file_range: whole blocks travel as they are coded, the rest through memory.

use std::ops::Range;
use std::sync::Arc;

use lmfs_indexer::{Change, Error as StoreError, Extent, PendingBlock};

use super::Contents;
use crate::fs::error::{Errno, Error, Result};
use crate::fs::inode::node::Node;
use crate::fs::inode::node::kill_suid_bits;
use crate::fs::types::{FilePosition, Kind, now};
use crate::room::{self, Use};
use crate::task::{Asker, yield_now};

/// Most bytes copied by one call; the caller asks again for the rest.
const MOST: u64 = 64 << 20;

/// Bytes copied through memory at a time.
const STEP: u32 = 1 << 20;

/// Blocks copied as they are in one transaction.
const BATCH: u64 = 256;

/// What a block became when it was copied.
enum Copied {
    Hole,
    Block(Extent, PendingBlock),
    /// It was moved in the moment, and is copied in another way.
    Moved,
}

/// Copies of blocks on their way into a file.
type Copies = Vec<Option<(Extent, PendingBlock)>>;

/// Who copies, and what that changes beside the contents.
#[derive(Clone, Copy)]
struct Terms {
    asker: Asker,
    kill_suid: bool,
}

impl Contents {
    /// Copies up to `length` bytes and says how many: fewer at the end of the source, because it is much, or because
    /// the rest fails, which the next call tells. Blocks that the copy covers whole are not decoded. Waits for the log,
    /// and for decodes of the rest. With `kill_suid` the target's set-user-id and set-group-id bits are cleared.
    ///
    /// # Errors
    /// EIO when the source cannot be read; as for write. Nothing was copied then.
    pub async fn copy_file_range(
        &self,
        from: FilePosition,
        to: FilePosition,
        length: u64,
        kill_suid: bool,
        asker: Asker,
    ) -> Result<u32> {
        self.journal.check_writable()?;
        let (source, target) = (self.inodes.get(from.ino)?, self.inodes.get(to.ino)?);
        let size = source.file()?.inode.size;
        drop(target.file()?);
        let length = length.min(size.saturating_sub(from.offset)).min(MOST);
        let terms = Terms { asker, kill_suid };
        let mut done = 0;
        while done < length {
            let (here, there) = ((&source, from.offset + done), (&target, to.offset + done));
            match self.copy_step(here, there, length - done, terms).await {
                Ok(0) => break,
                Ok(copied) => done += copied,
                // The kernel has to hear of what was copied: on an error it keeps its pages of the target and its size.
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
            yield_now().await;
        }
        Ok(u32::try_from(done).unwrap_or(u32::MAX))
    }

    /// Copies some of `left` bytes in one step, all or nothing, and says how many; 0 at the end of the source.
    async fn copy_step(&self, from: (&Arc<Node>, u64), to: (&Arc<Node>, u64), left: u64, terms: Terms) -> Result<u64> {
        let ((source, here), (target, there)) = (from, to);
        let bs = self.block_size;
        let aligned = here.is_multiple_of(bs) && there.is_multiple_of(bs);
        let blocks = if aligned && source.ino != target.ino {
            (left / bs).min(BATCH)
        } else {
            0
        };
        if blocks > 0 {
            let copied = self
                .copy_blocks(source, target, here / bs, there / bs, blocks, terms)
                .await?;
            if copied > 0 {
                return Ok(copied * bs);
            }
        }
        // Up to where whole blocks begin, if they ever do.
        let step = if blocks > 0 {
            bs
        } else if here % bs == there % bs {
            u64::from(STEP).min(bs - here % bs)
        } else {
            u64::from(STEP)
        };
        let step = u32::try_from(step.min(left)).unwrap_or(STEP);
        let bytes = self.read(source.ino, here, step, terms.asker).await?;
        if !bytes.is_empty() {
            self.write_back
                .write(target, there, &bytes, terms.kill_suid, terms.asker)
                .await?;
        }
        Ok(bytes.len() as u64)
    }

    /// Copies blocks that are stored as they are read, and says how many. It stops before one with bytes in memory.
    async fn copy_blocks(
        &self,
        source: &Arc<Node>,
        target: &Arc<Node>,
        from: u64,
        to: u64,
        count: u64,
        terms: Terms,
    ) -> Result<u64> {
        let count = {
            let state = source.lock();
            state.dirty.next(from).map_or(count, |dirty| count.min(dirty - from))
        };
        if count == 0 {
            return Ok(0);
        }
        if self.grows_over_dirty(target, to) {
            // The size that is stored with the copies must not promise what is in memory alone.
            self.write_back.flush(target, terms.asker).await?;
        }
        let copies = self.append_copies(source.ino, target.ino, from..from + count, to)?;
        // Nobody's flush may store an older state of these blocks after them.
        let _one_at_a_time = target.flushing.lock().await;
        self.commit_copies(target, to, copies, terms.kill_suid)
    }

    /// Whether blocks that are stored from `to` on lie beyond the stored size, with dirty ones before them.
    fn grows_over_dirty(&self, target: &Node, to: u64) -> bool {
        let state = target.lock();
        state.stored_size < to.saturating_mul(self.block_size) && state.dirty.next(0).is_some_and(|dirty| dirty < to)
    }

    /// Appends copies of stored blocks, up to one that is moved in the moment.
    fn append_copies(&self, source: u64, target: u64, blocks: Range<u64>, to: u64) -> Result<Copies> {
        let mut copies = Vec::new();
        let extents = self.store().extents(source, blocks.clone())?;
        for ((block, extent), at) in blocks.zip(extents).zip(to..) {
            match self.copy_block((source, block), extent, (target, at))? {
                Copied::Hole => copies.push(None),
                Copied::Block(extent, pending) => copies.push(Some((extent, pending))),
                Copied::Moved => break,
            }
        }
        Ok(copies)
    }

    /// Makes copies the blocks of `target` from `to` on, and says how many.
    fn commit_copies(&self, target: &Node, to: u64, copies: Copies, kill_suid: bool) -> Result<u64> {
        let count = copies.len() as u64;
        if count == 0 {
            return Ok(0);
        }
        let mut state = target.live()?;
        if state.inode.kind != Kind::File {
            return Err(Error::new(Errno::INVAL, "not a regular file"));
        }
        let end = (to + count).saturating_mul(self.block_size);
        let mut inode = state.inode.clone();
        let time = now();
        inode.mtime = time;
        inode.ctime = time;
        inode.size = inode.size.max(end);
        if kill_suid {
            kill_suid_bits(&mut inode.perm);
        }
        let stored_size = state.stored_size.max(end);
        let mut row = inode.clone();
        row.size = stored_size;
        let ino = target.ino;
        let beyond = self.write_back.cut_beyond(ino, state.stored_size)?;
        let extents = copies.iter().map(|copy| copy.as_ref().map(|(extent, _)| *extent));
        let put = Change::PutExtents {
            ino,
            first: to,
            extents: extents.collect(),
        };
        self.journal
            .commit(beyond.into_iter().chain([put, Change::PutInode(row)]).collect())?;
        state.inode = inode;
        state.stored_size = stored_size;
        state.dirty.remove(to..to + count);
        Ok(count)
    }

    /// Appends a block's bytes for another owner.
    fn copy_block(&self, from: (u64, u64), extent: Option<Extent>, to: (u64, u64)) -> Result<Copied> {
        let Some(extent) = extent else {
            return Ok(Copied::Hole);
        };
        match self.store().read_block_of(from.0, from.1, extent.r) {
            Ok(bytes) => {
                room::check(self.store(), Use::Data)?;
                let pending = self.store().append_pending(to.0, to.1, &bytes)?;
                let r = pending.location();
                Ok(Copied::Block(Extent { r, ..extent }, pending))
            }
            Err(StoreError::Moved { .. }) => Ok(Copied::Moved),
            Err(error) => Err(error.into()),
        }
    }
}
