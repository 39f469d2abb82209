//! read: dirty bytes, else the cache, else one decode in the pool, from where the reader is answered.

use std::sync::Arc;

use lmfs_indexer::{BlockRef, Extent};
use parking_lot::Mutex;

use super::buffer::DirtyBlock;
use super::loader::cost;
use super::{Error, Filesystem, Result};
use crate::cache::{Block, LoadError, LoadErrorKind, Loaded};

/// How often a block is looked up again that was moved between looking it up and reading it.
const RETRIES: u32 = 16;

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

type Done = Box<dyn FnOnce(Result<Vec<u8>>) + Send>;

/// A read under way. Whoever brings the last piece answers it.
struct Reading {
    fs: std::sync::Weak<Filesystem>,
    state: Mutex<Progress>,
}

struct Progress {
    out: Vec<u8>,
    missing: usize,
    error: Option<Error>,
    done: Option<Done>,
}

impl Filesystem {
    /// Reads up to `size` bytes at `offset` and hands them to `done`, fewer only at the end of the file: on this thread
    /// if all is in memory, else on the thread that decodes the last block missing. Never waits for a decode.
    ///
    /// `done` gets EIO when a block of the range cannot be read.
    pub fn read(&self, ino: u64, offset: u64, size: u32, done: impl FnOnce(Result<Vec<u8>>) + Send + 'static) {
        match self.plan(ino, offset, u64::from(size)) {
            Err(error) => done(Err(error)),
            Ok((len, pieces)) => self.start_reading(len, pieces, Box::new(done)),
        }
    }

    /// Like [`Filesystem::read`], but waits.
    ///
    /// # Errors
    /// EIO when a block of the range cannot be read.
    pub fn read_wait(&self, ino: u64, offset: u64, size: u32) -> Result<Vec<u8>> {
        let (send, receive) = std::sync::mpsc::sync_channel(1);
        self.read(ino, offset, size, move |result| {
            // The receiver waits below; it is gone only if this thread is.
            let _ = send.send(result);
        });
        let lost = |_| Error::new(super::Errno::IO, "shutting down");
        receive.recv().map_err(lost)?
    }

    /// Cuts a read at the end of the file and into blocks, with the dirty bytes as they are now.
    fn plan(&self, ino: u64, offset: u64, size: u64) -> Result<(usize, Vec<Piece>)> {
        let node = self.node(ino)?;
        let state = node.file()?;
        let end = offset.saturating_add(size).min(state.inode.size);
        let bs = self.block_size();
        let mut pieces = Vec::new();
        let mut at = offset;
        while at < end {
            let start = at % bs;
            let len = (bs - start).min(end - at);
            let fits = |n: u64| usize::try_from(n).map_err(|_| Error::new(super::Errno::INVAL, "read too large"));
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
        let len = usize::try_from(end.saturating_sub(offset)).unwrap_or(0);
        Ok((len, pieces))
    }

    fn start_reading(&self, len: usize, pieces: Vec<Piece>, done: Done) {
        let mut out = vec![0; len];
        let mut later = Vec::new();
        for piece in pieces {
            match self.piece_at_once(&piece, &mut out) {
                Ok(None) => {}
                Ok(Some(extent)) => later.push((piece, extent)),
                Err(error) => return done(Err(error)),
            }
        }
        if later.is_empty() {
            return done(Ok(out));
        }
        let reading = Arc::new(Reading {
            fs: self.me.clone(),
            state: Mutex::new(Progress {
                out,
                missing: later.len(),
                error: None,
                done: Some(done),
            }),
        });
        for (piece, extent) in later {
            reading.clone().fetch(self, piece, extent, RETRIES);
        }
    }

    /// Fills a piece from what is in memory, or says which block it needs.
    fn piece_at_once(&self, piece: &Piece, out: &mut [u8]) -> Result<Option<Extent>> {
        let covered = piece
            .dirty
            .as_ref()
            .is_some_and(|dirty| dirty.covers(piece.start..piece.start + piece.len));
        if !covered && let Some(extent) = self.extent(piece.ino, piece.block)? {
            match self.blocks.cached(&extent.r) {
                Some(block) => piece.fill(out, Some((&block, &extent))),
                None => return Ok(Some(extent)),
            }
        } else {
            piece.fill(out, None);
        }
        Ok(None)
    }

    pub(super) fn extent(&self, ino: u64, block: u64) -> Result<Option<Extent>> {
        let extents = self.store.extents(ino, block..block + 1)?;
        Ok(extents.into_iter().next().flatten())
    }

    /// What the log holds of a block, without dirty bytes; empty for a hole. Waits for the decode.
    pub fn read_block_wait(&self, ino: u64, block: u64) -> std::result::Result<Vec<u8>, LoadError> {
        let mut seen: Option<BlockRef> = None;
        for _ in 0..RETRIES {
            let extent = self
                .extent(ino, block)
                .map_err(|error| LoadError::new(LoadErrorKind::Failed, error))?;
            let Some(extent) = extent else {
                return Ok(Vec::new());
            };
            match self.blocks.fetch_wait(extent.r, cost(&extent)) {
                Ok(raw) => {
                    let len = raw.len().min(extent.raw_len as usize);
                    return Ok(raw.get(..len).unwrap_or_default().to_vec());
                }
                Err(error) if error.kind == LoadErrorKind::Moved && seen != Some(extent.r) => seen = Some(extent.r),
                Err(error) => return Err(error),
            }
        }
        Err(LoadError::new(LoadErrorKind::Failed, "the block keeps moving"))
    }
}

impl Piece {
    /// Fills the piece's part of the answer, which is zeros so far: the stored bytes, the dirty ones over them.
    fn fill(&self, out: &mut [u8], stored: Option<(&Block, &Extent)>) {
        let Some(out) = out.get_mut(self.at..self.at + self.len) else {
            return;
        };
        if let Some((raw, extent)) = stored {
            let end = raw.len().min(extent.raw_len as usize).min(self.start + self.len);
            let from = raw.get(self.start.min(end)..end).unwrap_or_default();
            if let Some(to) = out.get_mut(..from.len()) {
                to.copy_from_slice(from);
            }
        }
        if let Some(dirty) = &self.dirty {
            dirty.overlay(self.start, out);
        }
    }
}

impl Reading {
    fn fetch(self: Arc<Self>, fs: &Filesystem, piece: Piece, extent: Extent, retries: u32) {
        fs.blocks.fetch(extent.r, cost(&extent), move |loaded| {
            self.arrived(piece, extent, loaded, retries)
        });
    }

    fn arrived(self: Arc<Self>, piece: Piece, extent: Extent, loaded: Loaded, retries: u32) {
        match loaded {
            Ok(block) => self.finish(|out| piece.fill(out, Some((&block, &extent))), None),
            Err(error) if error.kind == LoadErrorKind::Moved && retries > 0 => self.again(piece, extent.r, retries - 1),
            Err(error) => self.finish(|_| (), Some(error.into())),
        }
    }

    /// The block was packed, moved or overwritten since it was looked up: it is looked up again.
    fn again(self: Arc<Self>, piece: Piece, old: BlockRef, retries: u32) {
        let Some(fs) = self.fs.upgrade() else {
            return self.finish(|_| (), Some(Error::new(super::Errno::IO, "shutting down")));
        };
        match fs.extent(piece.ino, piece.block) {
            Ok(Some(extent)) if extent.r != old => self.fetch(&fs, piece, extent, retries),
            Ok(Some(_)) => {
                let message = "a block's segment is gone, but its extent still points there";
                self.finish(|_| (), Some(Error::new(super::Errno::IO, message)));
            }
            Ok(None) => self.finish(|out| piece.fill(out, None), None),
            Err(error) => self.finish(|_| (), Some(error)),
        }
    }

    fn finish(&self, fill: impl FnOnce(&mut [u8]), error: Option<Error>) {
        let mut state = self.state.lock();
        fill(&mut state.out);
        state.error = state.error.take().or(error);
        state.missing = state.missing.saturating_sub(1);
        if state.missing > 0 {
            return;
        }
        let out = std::mem::take(&mut state.out);
        let result = state.error.take().map_or(Ok(out), Err);
        let done = state.done.take();
        drop(state);
        if let Some(done) = done {
            done(result);
        }
    }
}
