//! copy_file_range: whole blocks travel as they are coded, the rest through memory.

use std::sync::Arc;

use lmfs_indexer::{Change, Error as StoreError, Extent};

use super::node::Node;
use super::{Errno, Error, Filesystem, Kind, Result};

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
    /// Copies up to `length` bytes and says how many: fewer at the end of the source, or because it is much. Blocks that
    /// the copy covers whole are not decoded. Waits for the log, and for decodes of the rest.
    ///
    /// # Errors
    /// EIO when the source cannot be read; as for write.
    pub fn copy_file_range(&self, from: Place, to: Place, length: u64) -> Result<u32> {
        self.writable()?;
        let (source, target) = (self.node(from.ino)?, self.node(to.ino)?);
        let size = source.file()?.inode.size;
        drop(target.file()?);
        let length = length.min(size.saturating_sub(from.offset)).min(MOST);
        let bs = self.block_size();
        let mut done = 0;
        while done < length {
            let here = Place {
                ino: from.ino,
                offset: from.offset + done,
            };
            let there = Place {
                ino: to.ino,
                offset: to.offset + done,
            };
            let left = length - done;
            let aligned = here.offset.is_multiple_of(bs) && there.offset.is_multiple_of(bs);
            let blocks = if aligned && source.ino != target.ino {
                (left / bs).min(BATCH)
            } else {
                0
            };
            let copied = if blocks > 0 {
                self.copy_blocks(&source, &target, here.offset / bs, there.offset / bs, blocks)?
            } else {
                0
            };
            if copied > 0 {
                done += copied * bs;
                continue;
            }
            // Up to where whole blocks begin, if they ever do.
            let step = if blocks > 0 {
                bs
            } else {
                u64::from(STEP).min(if here.offset % bs == there.offset % bs {
                    bs - here.offset % bs
                } else {
                    left
                })
            };
            let step = u32::try_from(step.min(left)).unwrap_or(STEP);
            let bytes = self.read_wait(here.ino, here.offset, step)?;
            if bytes.is_empty() {
                break;
            }
            self.write(there.ino, there.offset, &bytes, true)?;
            done += bytes.len() as u64;
        }
        Ok(u32::try_from(done).unwrap_or(u32::MAX))
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
        for (at, extent) in (0..count).zip(self.store.extents(source.ino, from..from + count)?) {
            let Some(copy) = self.copy_block(extent, target.ino, to + at)? else {
                break;
            };
            copies.push(copy);
        }
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
        self.commit(vec![
            Change::PutExtents {
                ino,
                first: to,
                extents: copies,
            },
            Change::PutInode(row),
        ])?;
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
                let r = self.store.append_block(ino, block, &bytes)?;
                Ok(Some(Some(Extent { r, ..extent })))
            }
            Err(StoreError::Moved { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
