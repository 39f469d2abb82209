//! lseek with SEEK_DATA and SEEK_HOLE, block by block.

use super::Contents;
use crate::fs::error::{Errno, Error, Result};
use crate::fs::types::Seek;
use crate::task::yield_now;

/// Extents looked at at a time.
const PAGE: u64 = 256;

impl Contents {
    /// The first place at or after `offset` that is data or hole. A block that was ever written to is data; the end of
    /// the file is a hole. Looks at the index once per 256 blocks of data, and gives way to others between.
    ///
    /// # Errors
    /// ENXIO beyond the end of the file, or for data when there is none.
    pub async fn lseek(&self, ino: u64, offset: u64, what: Seek) -> Result<u64> {
        let node = self.inodes.get(ino)?;
        let size = node.file()?.inode.size;
        if offset >= size {
            return Err(Error::new(Errno::NXIO, "beyond the end of the file"));
        }
        let first = offset / self.block_size;
        let block = match what {
            Seek::Data => {
                // Memory first: a flush that commits in between takes a block from there to the index.
                let dirty = node.lock().dirty.next(first);
                let stored = self.store().next_extent(ino, first)?;
                let next = dirty.into_iter().chain(stored).min();
                next.ok_or(Error::new(Errno::NXIO, "no data up to the end of the file"))?
            }
            Seek::Hole => self.next_hole(ino, first, size.div_ceil(self.block_size)).await?,
        };
        let at = block.saturating_mul(self.block_size).max(offset);
        match what {
            Seek::Data if at >= size => Err(Error::new(Errno::NXIO, "no data up to the end of the file")),
            _ => Ok(at.min(size)),
        }
    }

    async fn next_hole(&self, ino: u64, first: u64, end: u64) -> Result<u64> {
        let node = self.inodes.get(ino)?;
        let mut block = first;
        while block < end {
            let page = block..end.min(block.saturating_add(PAGE));
            // Memory first, as above.
            let dirty: Vec<bool> = {
                let state = node.lock();
                page.clone().map(|block| state.dirty.get(block).is_some()).collect()
            };
            let extents = self.store().extents(ino, page.clone())?;
            for ((block, extent), dirty) in page.clone().zip(extents).zip(dirty) {
                if extent.is_none() && !dirty {
                    return Ok(block);
                }
            }
            block = page.end;
            yield_now().await;
        }
        Ok(end)
    }
}
