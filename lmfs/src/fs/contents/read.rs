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
    ino: u64,
    block: u64,
    /// Where in the block it starts.
    start: usize,
    /// Where in the answer it starts.
    at: usize,
    len: usize,
    dirty: Option<Arc<DirtyBlock>>,
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
        let mut out = vec![0; len];
        let mut later = Vec::new();
        for piece in pieces {
            // All decodes are asked for before the first is waited for, so that they run side by side.
            if let Some(extent) = self.piece_at_once(&piece, &mut out)? {
                let fetch = self.reader.fetch(ino, piece.block, &extent, asker);
                later.push((piece, extent, fetch));
            }
        }
        let mut result = Ok(());
        for (piece, extent, fetch) in later {
            let loaded = fetch.await;
            match self.reader.follow(ino, piece.block, extent, loaded, asker).await {
                Ok(found) => piece.fill(&mut out, found.as_ref())?,
                // The others are awaited all the same: they were asked for, and their answers stay in the cache.
                Err(error) => result = result.and(Err(error.into())),
            }
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
                ino,
                block: at / bs,
                start: fits(start)?,
                at: fits(at - offset)?,
                len: fits(len)?,
                dirty: state.dirty.get(at / bs).cloned(),
            });
            at += len;
        }
        let len = end.saturating_sub(offset) as usize;
        Ok((len, pieces))
    }

    /// Fills a piece from what is in memory, or says which block it needs.
    fn piece_at_once(&self, piece: &Piece, out: &mut [u8]) -> Result<Option<Extent>> {
        let covered = piece
            .dirty
            .as_ref()
            .is_some_and(|dirty| dirty.covers(piece.start..piece.start + piece.len));
        if !covered && let Some(extent) = self.reader.extent(piece.ino, piece.block)? {
            match self.reader.cached(piece.ino, piece.block, &extent) {
                Some(block) => piece.fill(out, Some(&(extent, block)))?,
                None => return Ok(Some(extent)),
            }
        } else {
            piece.fill(out, None)?;
        }
        Ok(None)
    }
}

impl Piece {
    /// Fills the piece's part of the answer, which is zeros so far: the stored bytes, the dirty ones over them.
    fn fill(&self, out: &mut [u8], stored: Option<&(Extent, Block)>) -> Result<()> {
        let beyond = || Error::new(Errno::IO, "a block's share of a read lies beyond the read");
        let out = out.get_mut(self.at..self.at + self.len).ok_or_else(beyond)?;
        if let Some((extent, block)) = stored {
            let raw = counted(extent, block);
            let end = raw.len().min(self.start + self.len);
            // What lies beyond the bytes that count stays zero.
            let from = raw.get(self.start.min(end)..end).ok_or_else(beyond)?;
            out.get_mut(..from.len()).ok_or_else(beyond)?.copy_from_slice(from);
        }
        if let Some(dirty) = &self.dirty {
            dirty.overlay(self.start, out);
        }
        Ok(())
    }
}
