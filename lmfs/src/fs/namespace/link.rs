//! link: one more name for a file.

use lmfs_indexer::{Change, Dirent, Kind};

use super::Namespace;
use super::name::check_name;
use crate::fs::error::{Errno, Error, Result};
use crate::fs::inode::edit::Edit;
use crate::fs::types::Attr;
use crate::fs::types::now;
use crate::store::reserve::{self, Purpose};

impl Namespace {
    /// Gives a file one more name. One transaction.
    ///
    /// # Errors
    /// EPERM for a directory, ENOENT for a file without a name that was not made to get one, EEXIST, EMLINK; what the
    /// store reports.
    pub fn link(&self, ino: u64, parent: u64, name: &[u8]) -> Result<Attr> {
        self.journal.check_writable()?;
        check_name(name)?;
        reserve::ensure(self.store(), Purpose::Names)?;
        let _namespace = self.lock.lock();
        if self.store().dirent(parent, name)?.is_some() {
            return Err(Error::new(Errno::EXIST, "the name exists"));
        }
        let (directory, node) = (self.inodes.get(parent)?, self.inodes.get(ino)?);
        let mut edit = Edit::new([&directory, &node]);
        edit.check_directory(parent)?;
        let state = edit.state(ino)?;
        let unlinked = state.inode.nlink == 0;
        if state.gone || (unlinked && !state.linkable) {
            return Err(Error::not_found());
        }
        let kind = state.inode.kind;
        if kind == Kind::Directory {
            return Err(Error::new(Errno::PERM, "a directory has one name"));
        }
        let time = now();
        let inode = edit.inode(ino)?;
        inode.nlink = inode
            .nlink
            .checked_add(1)
            .ok_or(Error::new(Errno::MLINK, "too many links"))?;
        inode.ctime = time;
        edit.touch(parent, time)?;
        if unlinked {
            edit.push(Change::DelOrphan(ino));
        }
        let entry = Dirent { ino, kind };
        edit.push(Change::PutDirent {
            parent,
            name: name.to_vec(),
            entry,
        });
        edit.commit(&self.journal)?;
        // A file that loses its last name gets none again.
        node.lock().linkable = false;
        self.attributes.getattr(ino)
    }
}
