//! copy_file_range: whole blocks travel as they are coded, the rest through memory.

use std::ops::Range;
use std::sync::Arc;

use lmfs_indexer::{Change, Error as StoreError, Extent};

use super::node::Node;
use super::{Errno, Error, Filesystem, Kind, Result};
use crate::room::{self, Use};

/// Most bytes copied by one call; the caller asks again for the rest.
const MOST: u64 = 64 << 20;

/// Bytes copied through memory at a time.
const STEP: u32 = 1 << 20;

/// Blocks copied as they are in one transaction.
const BATCH: u64 = 256;

/// One end of a copy.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The file.
    pub ino: u64,
    /// Where in it.
    pub offset: u64,
}

impl Filesystem {
    /// Copies up to `length` bytes and says how many: fewer at the end of the source, because it is much, or because the
    /// rest fails, which the next call tells. Blocks that the copy covers whole are not decoded. Waits for the log, and
    /// for decodes of the rest. With `kill_suid` the target's set-user-id and set-group-id bits are cleared.
    ///
    /// # Errors
    /// EIO when the source cannot be read; as for write. Nothing was copied then.
    pub fn copy_file_range(&self, from: Place, to: Place, length: u64, kill_suid: bool) -> Result<u32> {
        self.writable()?;
        let (source, target) = (self.node(from.ino)?, self.node(to.ino)?);
        let size = source.file()?.inode.size;
        drop(target.file()?);
        let length = length.min(size.saturating_sub(from.offset)).min(MOST);
        if kill_suid && length > 0 {
            self.kill_suid(&target)?;
        }
        let mut done = 0;
        while done < length {
            match self.copy_step(
                (&source, from.offset + done),
                (&target, to.offset + done),
                length - done,
            ) {
                Ok(0) => break,
                Ok(copied) => done += copied,
                // The kernel has to hear of what was copied: on an error it keeps its pages of the target and its size.
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(u32::try_from(done).unwrap_or(u32::MAX))
    }

    /// Copies some of `left` bytes in one step, all or nothing, and says how many; 0 at the end of the source.
    fn copy_step(&self, from: (&Arc<Node>, u64), to: (&Arc<Node>, u64), left: u64) -> Result<u64> {
        let ((source, here), (target, there)) = (from, to);
        let bs = self.block_size();
        let aligned = here.is_multiple_of(bs) && there.is_multiple_of(bs);
        let blocks = if aligned && source.ino != target.ino {
            (left / bs).min(BATCH)
        } else {
            0
        };
        if blocks > 0 {
            let copied = self.copy_blocks(source, target, here / bs, there / bs, blocks)?;
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
        let bytes = self.read_wait(source.ino, here, step)?;
        if !bytes.is_empty() {
            self.write_bytes(target, there, &bytes, false)?;
        }
        Ok(bytes.len() as u64)
    }

    /// Copies blocks that are stored as they are read, and says how many. It stops before one with bytes in memory.
    fn copy_blocks(&self, source: &Arc<Node>, target: &Arc<Node>, from: u64, to: u64, count: u64) -> Result<u64> {
        let count = {
            let state = source.lock();
            state.dirty.next(from).map_or(count, |dirty| count.min(dirty - from))
        };
        if count == 0 {
            return Ok(0);
        }
        let mut copies = Vec::new();
        let copied = self.append_copies(source.ino, target.ino, from..from + count, to, &mut copies);
        let appended: Vec<_> = copies.iter().flatten().map(|copy| copy.r).collect();
        let committed = copied.and_then(|()| self.commit_copies(target, to, copies));
        // If they were not committed, they are garbage.
        self.store.abandon_blocks(&appended);
        committed
    }

    /// Appends copies of stored blocks, up to one that is moved in the moment.
    fn append_copies(
        &self,
        source: u64,
        target: u64,
        blocks: Range<u64>,
        to: u64,
        copies: &mut Vec<Option<Extent>>,
    ) -> Result<()> {
        for (at, extent) in (to..).zip(self.store.extents(source, blocks)?) {
            let Some(copy) = self.copy_block(extent, target, at)? else {
                break;
            };
            copies.push(copy);
        }
        Ok(())
    }

    /// Makes copies the blocks of `target` from `to` on, and says how many.
    fn commit_copies(&self, target: &Node, to: u64, copies: Vec<Option<Extent>>) -> Result<u64> {
        let count = copies.len() as u64;
        if count == 0 {
            return Ok(0);
        }
        // Nobody's flush may store an older state of these blocks after them.
        let _one_at_a_time = target.flushing.lock();
        let mut state = target.live()?;
        if state.inode.kind != Kind::File {
            return Err(Error::new(Errno::INVAL, "not a regular file"));
        }
        let end = (to + count).saturating_mul(self.block_size());
        let mut inode = state.inode.clone();
        let time = super::types::now();
        inode.mtime = time;
        inode.ctime = time;
        inode.size = inode.size.max(end);
        let stored_size = state.stored_size.max(end);
        let mut row = inode.clone();
        row.size = stored_size;
        let ino = target.ino;
        let beyond = self.cut_beyond(ino, state.stored_size)?;
        let copies = Change::PutExtents {
            ino,
            first: to,
            extents: copies,
        };
        self.commit(beyond.into_iter().chain([copies, Change::PutInode(row)]).collect())?;
        state.inode = inode;
        state.stored_size = stored_size;
        state.dirty.remove(to..to + count);
        Ok(count)
    }

    /// Appends a block's bytes for another owner. `None` when it was moved in the moment.
    fn copy_block(&self, extent: Option<Extent>, ino: u64, block: u64) -> Result<Option<Option<Extent>>> {
        let Some(extent) = extent else {
            return Ok(Some(None));
        };
        match self.store.read_block(extent.r) {
            Ok(bytes) => {
                room::check(&self.store, Use::Data)?;
                let r = self.store.append_block(ino, block, &bytes)?;
                Ok(Some(Some(Extent { r, ..extent })))
            }
            Err(StoreError::Moved { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
