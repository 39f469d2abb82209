//! Open files: open, release, flush (close) and fsync.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lmfs_indexer::Kind;
use parking_lot::Mutex;

use super::dir::DirHandle;
use super::node::Node;
use super::read_ahead::ReadAhead;
use super::{Errno, Error, Filesystem, Result};
use crate::task::Asker;
#[cfg(test)]
use crate::task::wait;

/// Open files and directories by handle number.
#[derive(Default)]
pub struct Handles {
    next: AtomicU64,
    files: Mutex<HashMap<u64, Arc<FileHandle>>>,
    pub(super) dirs: Mutex<HashMap<u64, Arc<DirHandle>>>,
}

/// An open file.
pub struct FileHandle {
    node: Arc<Node>,
    pattern: ReadAhead,
    /// Of how many losses of the file its user was told.
    told: AtomicU64,
}

impl Handles {
    /// A number that no handle had before.
    pub fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Number of open files.
    pub fn open_files(&self) -> usize {
        self.files.lock().len()
    }

    fn file(&self, fh: u64) -> Result<Arc<FileHandle>> {
        let handle = self.files.lock().get(&fh).cloned();
        handle.ok_or(Error::new(Errno::BADF, "no such handle"))
    }
}

impl Filesystem {
    /// Opens a file and says the handle's number. While it is open its contents stay, even without a name.
    ///
    /// # Errors
    /// EISDIR, ESTALE.
    pub fn open(&self, ino: u64) -> Result<u64> {
        let node = self.node(ino)?;
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
        let fh = self.handles.number();
        let handle = FileHandle {
            node,
            pattern: ReadAhead::default(),
            told: told.into(),
        };
        self.handles.files.lock().insert(fh, Arc::new(handle));
        Ok(fh)
    }

    /// Notes a read through a handle, so that a sequence of reads finds its next blocks decoded.
    pub fn has_read(&self, fh: u64, offset: u64, size: u32) {
        if let Ok(handle) = self.handles.file(fh) {
            self.read_ahead(&handle.node, &handle.pattern, offset, u64::from(size));
        }
    }

    /// A descriptor is being closed: stores what is dirty, so that close tells of a full disk. Does not make it
    /// durable. May wait for the log and for a decode.
    ///
    /// # Errors
    /// ENOSPC or EIO when written bytes could not be stored; they stay in memory and are tried again.
    pub async fn flush_async(&self, ino: u64, asker: Asker) -> Result<()> {
        match self.nodes.held(ino) {
            Some(node) => self.write_back.flush(&node, asker).await,
            None => Ok(()),
        }
    }

    /// [`Filesystem::flush_async`] on a thread that may wait.
    ///
    /// # Errors
    /// As there.
    #[cfg(test)]
    pub fn flush(&self, ino: u64) -> Result<()> {
        wait(self.flush_async(ino, Asker::DAEMON))
    }

    /// For whoever writes or syncs through a handle.
    ///
    /// # Errors
    /// EBADF; EIO, once, when bytes of the file had to be given up since the handle was opened, or before if nobody was
    /// told.
    pub fn tell_lost(&self, fh: u64) -> Result<()> {
        let handle = self.handles.file(fh)?;
        let mut state = handle.node.lock();
        let (told, result) = state.lost.tell(handle.told.load(Ordering::Relaxed));
        handle.told.store(told, Ordering::Relaxed);
        result
    }

    /// For whoever closes one descriptor of a handle: there may be more, and nobody may be looking (a child that was
    /// forked closes its copies). So [`Filesystem::tell_lost`] will say it again.
    ///
    /// # Errors
    /// As for [`Filesystem::tell_lost`].
    pub fn tell_lost_at_close(&self, fh: u64) -> Result<()> {
        let handle = self.handles.file(fh)?;
        let mut state = handle.node.lock();
        state.lost.tell(handle.told.load(Ordering::Relaxed)).1
    }

    /// The last descriptor of a handle is closed. A file without a name and without other handles is deleted.
    ///
    /// # Errors
    /// EBADF; what the store reports.
    pub fn release(&self, fh: u64) -> Result<()> {
        let handle = self.handles.files.lock().remove(&fh);
        let handle = handle.ok_or(Error::new(Errno::BADF, "no such handle"))?;
        let last_of_nameless = {
            let mut state = handle.node.lock();
            state.opens = state.opens.saturating_sub(1);
            state.opens == 0 && state.inode.nlink == 0 && !state.gone
        };
        // One that is left behind is deleted when the store is opened again.
        if last_of_nameless && self.writable().is_ok() {
            self.delete_nameless(&handle.node)?;
        }
        Ok(())
    }

    /// Makes a file's contents and metadata, and the names that lead to it, durable. Waits for the disk.
    ///
    /// # Errors
    /// ENOSPC or EIO; what could not be stored stays in memory and is tried again.
    pub async fn fsync_async(&self, ino: u64, asker: Asker) -> Result<()> {
        if self.options.read_only {
            return Ok(());
        }
        if let Some(node) = self.nodes.held(ino) {
            self.write_back.flush(&node, asker).await?;
        }
        self.journal.synced().await
    }

    /// [`Filesystem::fsync_async`] on a thread that may wait.
    ///
    /// # Errors
    /// As there.
    #[cfg(test)]
    pub fn fsync(&self, ino: u64) -> Result<()> {
        wait(self.fsync_async(ino, Asker::DAEMON))
    }

    /// Makes a directory's entries durable, as all that was committed before. Waits for the disk.
    ///
    /// # Errors
    /// What the store reports.
    pub async fn fsyncdir(&self) -> Result<()> {
        if self.options.read_only {
            Ok(())
        } else {
            self.journal.synced().await
        }
    }
}
