//! lseek with SEEK_DATA and SEEK_HOLE, block by block.

use super::{Errno, Error, Filesystem, Result, Seek};

/// Extents looked at at a time.
const PAGE: u64 = 256;

impl Filesystem {
    /// The first place at or after `offset` that is data or hole. A block that was ever written to is data; the end of
    /// the file is a hole. Looks at the index once per 256 blocks of data.
    ///
    /// # Errors
    /// ENXIO beyond the end of the file, or for data when there is none.
    pub fn lseek(&self, ino: u64, offset: u64, what: Seek) -> Result<u64> {
        let node = self.node(ino)?;
        let size = node.file()?.inode.size;
        if offset >= size {
            return Err(Error::new(Errno::NXIO, "beyond the end of the file"));
        }
        let first = offset / self.block_size();
        let block = match what {
            Seek::Data => {
                let dirty = node.lock().dirty.next(first);
                let stored = self.store.next_extent(ino, first)?;
                let next = dirty.into_iter().chain(stored).min();
                next.ok_or(Error::new(Errno::NXIO, "no data up to the end of the file"))?
            }
            Seek::Hole => self.next_hole(ino, first, size.div_ceil(self.block_size()))?,
        };
        let at = block.saturating_mul(self.block_size()).max(offset);
        match what {
            Seek::Data if at >= size => Err(Error::new(Errno::NXIO, "no data up to the end of the file")),
            _ => Ok(at.min(size)),
        }
    }

    fn next_hole(&self, ino: u64, first: u64, end: u64) -> Result<u64> {
        let node = self.node(ino)?;
        let mut block = first;
        while block < end {
            let page = block..end.min(block + PAGE);
            for (block, extent) in page.clone().zip(self.store.extents(ino, page.clone())?) {
                if extent.is_none() && node.lock().dirty.get(block).is_none() {
                    return Ok(block);
                }
            }
            block = page.end;
        }
        Ok(end)
    }
}
