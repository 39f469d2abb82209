//! unlink, rmdir, and what becomes of an inode without a name.
//!
//! A file that is open when its last name goes becomes an orphan: its rows stay, marked, until the last handle is
//! released, or until the store is opened again after a crash. Anything else is deleted with its last name. The kernel
//! may still ask for the attributes of what was deleted (a removed working directory, an `O_PATH` descriptor), so its node
//! stays in memory as a ghost until the kernel forgets it.

use std::sync::Arc;

use lmfs_indexer::{Change, Kind};

use super::edit::Edit;
use super::node::Node;
use super::types::{Time, now};
use super::{Errno, Error, Filesystem, Result};

impl Filesystem {
    /// Removes a name of anything but a directory. One transaction.
    ///
    /// # Errors
    /// ENOENT, EISDIR; what the store reports.
    pub fn unlink(&self, parent: u64, name: &[u8]) -> Result<()> {
        self.writable()?;
        let _namespace = self.namespace.lock();
        let entry = self.store.dirent(parent, name)?.ok_or_else(Error::not_found)?;
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
        self.writable()?;
        let _namespace = self.namespace.lock();
        let entry = self.store.dirent(parent, name)?.ok_or_else(Error::not_found)?;
        if entry.kind != Kind::Directory {
            return Err(Error::new(Errno::NOTDIR, "not a directory"));
        }
        if !self.store.dir_is_empty(entry.ino)? {
            return Err(Error::new(Errno::NOTEMPTY, "the directory is not empty"));
        }
        self.remove_name(parent, name, entry.ino)
    }

    fn remove_name(&self, parent: u64, name: &[u8], ino: u64) -> Result<()> {
        let (directory, node) = (self.node(parent)?, self.node(ino)?);
        let mut edit = Edit::new([&directory, &node]);
        edit.check_directory(parent)?;
        let time = now();
        edit.touch(parent, time)?;
        edit.push(Change::DelDirent {
            parent,
            name: name.to_vec(),
        });
        let gone = drop_link(&mut edit, parent, ino, time)?;
        self.commit_edit(edit)?;
        if gone {
            self.haunt(node);
        }
        Ok(())
    }

    /// Keeps a deleted inode's attributes for the kernel.
    pub(super) fn haunt(&self, node: Arc<Node>) {
        let ino = node.ino;
        self.write_back.forget(ino);
        self.ghosts.lock().insert(ino, node.clone());
        // The kernel's last words about the inode may have overtaken the release of its last handle.
        if node.lock().forgotten {
            self.ghosts.lock().remove(&ino);
        }
    }

    /// The kernel no longer refers to an inode.
    pub fn forget(&self, ino: u64) {
        if let Some(node) = self.nodes.held(ino) {
            node.lock().forgotten = true;
        }
        self.ghosts.lock().remove(&ino);
    }

    /// Deletes an inode that lost its last name while it was open, now that its last handle is released.
    pub(super) fn delete_nameless(&self, node: &Arc<Node>) -> Result<()> {
        let mut edit = Edit::new([node]);
        let state = edit.state(node.ino)?;
        if state.gone || state.opens > 0 || state.inode.nlink > 0 {
            return Ok(());
        }
        edit.delete(node.ino);
        self.commit_edit(edit)?;
        self.haunt(node.clone());
        Ok(())
    }

    /// Deletes what had no name left when the store was last used.
    pub(super) fn delete_orphans(&self) -> Result<()> {
        if self.options.read_only {
            return Ok(());
        }
        let orphans = self.store.orphans()?;
        if orphans.is_empty() {
            return Ok(());
        }
        tracing::info!(
            files = orphans.len(),
            "deleting files that were open without a name when the store was last used"
        );
        for batch in orphans.chunks(1000) {
            self.commit(batch.iter().map(|ino| Change::DelInode(*ino)).collect())?;
        }
        Ok(())
    }
}

/// Takes one link from an inode that `parent` named. When it was the last, the inode is deleted (true), or marked as an
/// orphan while it is open.
pub fn drop_link(edit: &mut Edit<'_>, parent: u64, ino: u64, time: Time) -> Result<bool> {
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
        edit.push(Change::PutOrphan(ino));
        return Ok(false);
    }
    edit.delete(ino);
    Ok(true)
}
