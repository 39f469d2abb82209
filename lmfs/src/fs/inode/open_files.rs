//! Open files. While a file is open its node stays in memory, and its contents stay even without a name.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lmfs_indexer::Kind;

use super::handles::Handles;
use super::node::Node;
use crate::fs::error::{Errno, Error, Result};
use crate::fs::reader::Reader;
use crate::fs::reader::read_ahead::ReadAhead;

/// All open files.
#[derive(Default)]
pub struct OpenFiles(Handles<OpenFile>);

/// An open file.
struct OpenFile {
    node: Arc<Node>,
    pattern: ReadAhead,
    /// How many losses of the file its user was told of.
    told: AtomicU64,
}

impl OpenFiles {
    /// Opens a file and says the handle's number.
    ///
    /// # Errors
    /// EISDIR, ESTALE.
    pub fn open(&self, node: Arc<Node>) -> Result<u64> {
        let told = {
            // Counted in the same breath as the check that the file is still there: a removal sees the one or the
            // other.
            let mut state = node.live()?;
            if state.inode.kind == Kind::Directory {
                return Err(Error::new(Errno::ISDIR, "is a directory"));
            }
            state.opens += 1;
            state.lost.known()
        };
        Ok(self.0.insert(OpenFile {
            node,
            pattern: ReadAhead::default(),
            told: told.into(),
        }))
    }

    /// Closes a file. Says which file has no name and no other handle, and is to be deleted.
    ///
    /// # Errors
    /// EBADF.
    pub fn release(&self, fh: u64) -> Result<Option<Arc<Node>>> {
        let file = self.0.remove(fh)?;
        let is_last_of_unlinked = {
            let mut state = file.node.lock();
            let uncounted = Error::new(Errno::IO, "a file that is not open was closed");
            state.opens = state.opens.checked_sub(1).ok_or(uncounted)?;
            state.opens == 0 && state.inode.nlink == 0 && !state.gone
        };
        Ok(is_last_of_unlinked.then(|| file.node.clone()))
    }

    /// Notes a read through a handle, so that a sequence of reads finds its next blocks decoded.
    pub fn note_read(&self, reader: &Reader, fh: u64, offset: u64, size: u32) {
        if let Ok(file) = self.0.get(fh) {
            let len = file.node.lock().inode.size;
            reader.read_ahead((file.node.ino, len), &file.pattern, offset, u64::from(size));
        }
    }

    /// For whoever writes or syncs through a handle.
    ///
    /// # Errors
    /// EBADF; EIO, once, when bytes of the file had to be given up since the handle was opened, or before if nobody was
    /// told.
    pub fn tell_lost(&self, fh: u64) -> Result<()> {
        let file = self.0.get(fh)?;
        let mut state = file.node.lock();
        let (told, result) = state.lost.tell(file.told.load(Ordering::Relaxed));
        file.told.store(told, Ordering::Relaxed);
        result
    }

    /// For whoever closes one descriptor of a handle: there may be more, and nobody may be looking (a child that was
    /// forked closes its copies). So [`OpenFiles::tell_lost`] will say it again.
    ///
    /// # Errors
    /// As for [`OpenFiles::tell_lost`].
    pub fn tell_lost_at_close(&self, fh: u64) -> Result<()> {
        let file = self.0.get(fh)?;
        let mut state = file.node.lock();
        state.lost.tell(file.told.load(Ordering::Relaxed)).1
    }

    /// How many files are open.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}
