//! read: dirty bytes, else the cache, else one decode for all who wait for the block.

use std::sync::Arc;

use lmfs_indexer::Extent;

use super::Contents;
use crate::cache::Block;
use crate::fs::error::{Errno, Error, Result};
use crate::fs::inode::buffer::DirtyBlock;
use crate::fs::reader::counted;
use crate::task::Asker;

/// One block's share of a read.
struct Piece {
    block: u64,
    /// Where in the block it starts.
    start: usize,
    len: usize,
    dirty: Option<Arc<DirtyBlock>>,
}

/// Where a piece's stored bytes come from: memory, or a decode that was asked for.
enum Source<F> {
    Here(Option<(Extent, Block)>),
    Later(Extent, F),
}

impl Contents {
    /// Reads up to `size` bytes at `offset`, fewer only at the end of the file. All blocks that are not in memory are
    /// asked for at once; the future waits for their decodes and is ready at its first poll if there are none. Who
    /// drops it takes back what it asked for.
    ///
    /// # Errors
    /// EIO when a block of the range cannot be read.
    pub async fn read(&self, ino: u64, offset: u64, size: u32, asker: Asker) -> Result<Vec<u8>> {
        let (len, pieces) = self.plan(ino, offset, u64::from(size))?;
        let extents = self.extents(ino, &pieces)?;
        // All decodes are asked for before the first is waited for, so that they run side by side.
        let source = |(piece, extent): (&Piece, Option<Extent>)| match extent {
            None => Source::Here(None),
            Some(extent) => match self.reader.cached(ino, piece.block, &extent) {
                Some(block) => Source::Here(Some((extent, block))),
                None => Source::Later(extent, self.reader.fetch(ino, piece.block, &extent, asker)),
            },
        };
        let sources: Vec<_> = pieces.iter().zip(extents).map(source).collect();
        let mut out = Vec::with_capacity(len);
        let mut result = Ok(());
        for (piece, source) in pieces.iter().zip(sources) {
            let stored = match source {
                Source::Here(stored) => Ok(stored),
                Source::Later(extent, fetch) => {
                    let loaded = fetch.await;
                    self.reader.follow(ino, piece.block, extent, loaded, asker).await
                }
            };
            // After an error the others are awaited all the same: they were asked for, and their answers stay in the
            // cache.
            result = result.and_then(|()| piece.append(&mut out, stored?.as_ref()));
        }
        result.map(|()| out)
    }

    /// Cuts a read at the end of the file and into blocks, with the dirty bytes as they are now.
    fn plan(&self, ino: u64, offset: u64, size: u64) -> Result<(usize, Vec<Piece>)> {
        let node = self.inodes.get(ino)?;
        let state = node.file()?;
        let end = offset.saturating_add(size).min(state.inode.size);
        let bs = self.block_size;
        let mut pieces = Vec::new();
        let mut at = offset;
        while at < end {
            let start = at % bs;
            let len = (bs - start).min(end - at);
            let fits = |n: u64| usize::try_from(n).map_err(|_| Error::new(Errno::INVAL, "read too large"));
            pieces.push(Piece {
                block: at / bs,
                start: fits(start)?,
                len: fits(len)?,
                dirty: state.dirty.get(at / bs).cloned(),
            });
            at += len;
        }
        let len = end.saturating_sub(offset) as usize;
        Ok((len, pieces))
    }

    /// Where the stored bytes of each piece lie; `None` for those that need none. They are looked up together, since
    /// neighbours share rows of the index.
    fn extents(&self, ino: u64, pieces: &[Piece]) -> Result<Vec<Option<Extent>>> {
        let mut needed = pieces
            .iter()
            .filter(|piece| !piece.is_covered())
            .map(|piece| piece.block);
        let Some(first) = needed.next() else {
            return Ok(vec![None; pieces.len()]);
        };
        let end = needed.next_back().unwrap_or(first) + 1;
        let found = self.reader.extents(ino, first..end)?;
        let missing = || Error::new(Errno::IO, "the index says nothing of a block that it was asked for");
        let of = |piece: &Piece| match piece.is_covered() {
            true => Ok(None),
            false => found.get((piece.block - first) as usize).copied().ok_or_else(missing),
        };
        pieces.iter().map(of).collect()
    }
}

impl Piece {
    /// Whether all of it was written lately and is in memory.
    fn is_covered(&self) -> bool {
        let dirty = self.dirty.as_ref();
        dirty.is_some_and(|dirty| dirty.covers(self.start..self.start + self.len))
    }

    /// Appends the piece to an answer: the stored bytes, the dirty ones over them, zeros where there are neither.
    fn append(&self, out: &mut Vec<u8>, stored: Option<&(Extent, Block)>) -> Result<()> {
        let start = out.len();
        if let Some((extent, block)) = stored {
            let raw = counted(extent, block);
            let end = raw.len().min(self.start + self.len);
            out.extend_from_slice(raw.get(self.start.min(end)..end).ok_or_else(beyond)?);
        }
        out.resize(start + self.len, 0);
        if let Some(dirty) = &self.dirty {
            dirty.overlay(self.start, out.get_mut(start..).ok_or_else(beyond)?);
        }
        Ok(())
    }
}

fn beyond() -> Error {
    Error::new(Errno::IO, "a block's share of a read lies beyond the read")
}
