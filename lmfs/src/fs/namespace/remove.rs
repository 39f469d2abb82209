//! unlink, rmdir, and what becomes of an inode without a name.
//!
//! A file that is open when its last name goes becomes an orphan: its rows stay, marked, until the last handle is
//! released, or until the store is opened again after a crash. Anything else is deleted with its last name. The kernel
//! may still ask for the attributes of what was deleted (a removed working directory, an `O_PATH` descriptor), so its
//! node stays in memory until the kernel forgets it.

use std::sync::Arc;

use lmfs_indexer::{Change, Kind};

use super::Namespace;
use crate::fs::error::{Errno, Error, Result};
use crate::fs::inode::edit::Edit;
use crate::fs::inode::node::Node;
use crate::fs::types::{Time, now};

impl Namespace {
    /// Removes a name of anything but a directory. One transaction.
    ///
    /// # Errors
    /// ENOENT, EISDIR; what the store reports.
    pub fn unlink(&self, parent: u64, name: &[u8]) -> Result<()> {
        self.journal.check_writable()?;
        let _namespace = self.lock.lock();
        let entry = self.store().dirent(parent, name)?.ok_or_else(Error::not_found)?;
        if entry.kind == Kind::Directory {
            return Err(Error::new(Errno::ISDIR, "is a directory"));
        }
        self.remove_name(parent, name, entry.ino)
    }

    /// Removes an empty directory. One transaction.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR, ENOTEMPTY; what the store reports.
    pub fn rmdir(&self, parent: u64, name: &[u8]) -> Result<()> {
        self.journal.check_writable()?;
        let _namespace = self.lock.lock();
        let entry = self.store().dirent(parent, name)?.ok_or_else(Error::not_found)?;
        if entry.kind != Kind::Directory {
            return Err(Error::new(Errno::NOTDIR, "not a directory"));
        }
        // Under the lock of the namespace, so that nothing is made in it before it is gone.
        if !self.store().dir_is_empty(entry.ino)? {
            return Err(Error::new(Errno::NOTEMPTY, "the directory is not empty"));
        }
        self.remove_name(parent, name, entry.ino)
    }

    fn remove_name(&self, parent: u64, name: &[u8], ino: u64) -> Result<()> {
        let (directory, node) = (self.inodes.get(parent)?, self.inodes.get(ino)?);
        let mut edit = Edit::new([&directory, &node]);
        edit.check_directory(parent)?;
        let time = now();
        edit.touch(parent, time)?;
        edit.push(Change::DelDirent {
            parent,
            name: name.to_vec(),
        });
        let gone = drop_link(&mut edit, parent, ino, time)?;
        edit.commit(&self.journal)?;
        if gone {
            self.retain_unlinked(node);
        }
        Ok(())
    }

    /// Drops what was written to a deleted inode, and keeps its attributes for the kernel.
    pub(super) fn retain_unlinked(&self, node: Arc<Node>) {
        self.write_back.forget(node.ino);
        self.inodes.retain_unlinked(node);
    }

    /// Deletes an inode that lost its last name while it was open, now that its last handle is released.
    pub fn delete_unlinked(&self, node: &Arc<Node>) -> Result<()> {
        let mut edit = Edit::new([node]);
        let state = edit.state(node.ino)?;
        // It may have been opened or linked since the handle was released.
        if state.gone || state.opens > 0 || state.inode.nlink > 0 {
            return Ok(());
        }
        edit.delete(node.ino);
        edit.commit(&self.journal)?;
        self.retain_unlinked(node.clone());
        Ok(())
    }

    /// Deletes what had no name left when the store was last used.
    pub fn delete_orphans(&self) -> Result<()> {
        if self.journal.is_read_only() {
            return Ok(());
        }
        let orphans = self.store().orphans()?;
        if orphans.is_empty() {
            return Ok(());
        }
        tracing::info!(
            files = orphans.len(),
            "deleting files that were open without a name when the store was last used"
        );
        // A transaction is one record, and a record is bounded.
        for batch in orphans.chunks(1000) {
            self.journal
                .commit(batch.iter().map(|ino| Change::DelInode(*ino)).collect())?;
        }
        Ok(())
    }
}

/// Takes one link from an inode that `parent` named. When it was the last, the inode is deleted (true), or marked as an
/// orphan while it is open.
pub fn drop_link(edit: &mut Edit<'_>, parent: u64, ino: u64, time: Time) -> Result<bool> {
    // The kernel asked for the inode to remove it, so it refers to it again.
    edit.state(ino)?.forgotten = false;
    let inode = edit.inode(ino)?;
    inode.ctime = time;
    if inode.kind == Kind::Directory {
        inode.nlink = 0;
        let above = edit.inode(parent)?;
        above.nlink = above.nlink.saturating_sub(1);
    } else {
        inode.nlink = inode.nlink.saturating_sub(1);
        if inode.nlink > 0 {
            return Ok(false);
        }
    }
    if edit.state(ino)?.opens > 0 {
        // Recovery deletes it if the last handle is never released.
        edit.push(Change::PutOrphan(ino));
        return Ok(false);
    }
    edit.delete(ino);
    Ok(true)
}
