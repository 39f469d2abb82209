//! lookup, create, mknod, mkdir, symlink, O_TMPFILE.

use std::sync::Arc;

use lmfs_indexer::{Change, Dirent, Inode, Kind, MAX_TARGET};

use super::Namespace;
use super::name::{check_length, check_name};
use crate::fs::error::{Errno, Error, Result};
use crate::fs::inode::edit::Edit;
use crate::fs::inode::node::Node;
use crate::fs::types::now;
use crate::fs::types::{Attr, Caller, Create};
use crate::store::reserve::{self, Purpose};

impl Namespace {
    /// The inode that `name` leads to in the directory `parent`. The kernel asks for "." of any inode, and for ".." of
    /// a directory, when it was given a file handle and has forgotten the inode.
    ///
    /// # Errors
    /// ENOENT, ENAMETOOLONG, ENOTDIR; ESTALE for "." and ".." of what was deleted.
    pub fn lookup(&self, parent: u64, name: &[u8]) -> Result<Attr> {
        check_length(name)?;
        let ino = match name {
            b"." => self.inodes.get(parent)?.live()?.inode.ino,
            b".." => {
                let node = self.inodes.get(parent)?;
                let inode = &node.live()?.inode;
                if inode.kind != Kind::Directory {
                    return Err(Error::new(Errno::NOTDIR, "not a directory"));
                }
                inode.parent
            }
            _ => self.store().dirent(parent, name)?.ok_or_else(Error::not_found)?.ino,
        };
        self.attributes.getattr(ino)
    }

    /// Makes a file, directory, symbolic link or device under a name that is free. It belongs to the caller; in a
    /// directory with the set-group-id bit it has the directory's group. One transaction.
    ///
    /// # Errors
    /// EEXIST, ENAMETOOLONG, EINVAL for an impossible name, ENOENT for a directory that was removed; what the store
    /// reports.
    pub fn create(&self, parent: u64, name: &[u8], what: Create, caller: Caller) -> Result<Attr> {
        self.journal.check_writable()?;
        check_name(name)?;
        if what.target.len() > MAX_TARGET {
            return Err(Error::new(
                Errno::NAMETOOLONG,
                "the target of a symbolic link is too long",
            ));
        }
        // The last of the disk is for deleting, which appends as well.
        reserve::ensure(self.store(), Purpose::Names)?;
        let _namespace = self.lock.lock();
        if self.store().dirent(parent, name)?.is_some() {
            return Err(Error::new(Errno::EXIST, "the name exists"));
        }
        let directory = self.inodes.get(parent)?;
        let mut edit = Edit::new([&directory]);
        edit.check_directory(parent)?;
        let mut inode = self.new_inode(&mut edit, parent, &what, caller)?;
        let above = edit.inode(parent)?;
        if inode.kind == Kind::Directory {
            above.nlink = above
                .nlink
                .checked_add(1)
                .ok_or(Error::new(Errno::MLINK, "too many directories"))?;
        }
        edit.touch(parent, inode.ctime)?;
        let acls = self.attributes.inherit_acl(parent, &mut inode, what.umask)?;
        let entry = Dirent {
            ino: inode.ino,
            kind: inode.kind,
        };
        edit.push(Change::PutInode(inode.clone()));
        for change in acls {
            edit.push(change);
        }
        edit.push(Change::PutDirent {
            parent,
            name: name.to_vec(),
            entry,
        });
        edit.commit(&self.journal)?;
        Ok(self.attributes.attr_of(&inode, 0, 0))
    }

    /// Makes a file without a name. It is deleted with its last handle, or after a crash, unless it is `linkable` and
    /// got a name by [`Namespace::link`]. One transaction.
    ///
    /// # Errors
    /// ENOENT for a directory that was removed; what the store reports.
    pub fn tmpfile(&self, parent: u64, what: Create, caller: Caller, linkable: bool) -> Result<(Attr, Arc<Node>)> {
        self.journal.check_writable()?;
        reserve::ensure(self.store(), Purpose::Names)?;
        let directory = self.inodes.get(parent)?;
        let mut edit = Edit::new([&directory]);
        edit.check_directory(parent)?;
        let mut inode = self.new_inode(&mut edit, parent, &what, caller)?;
        inode.nlink = 0;
        let acls = self.attributes.inherit_acl(parent, &mut inode, what.umask)?;
        edit.push(Change::PutInode(inode.clone()));
        for change in acls {
            edit.push(change);
        }
        // So that recovery deletes it after a crash, as it has no name to be found by.
        edit.push(Change::PutOrphan(inode.ino));
        edit.commit(&self.journal)?;
        // Who opens the node keeps it in memory, where it says that it may get a name.
        let node = self.inodes.get(inode.ino)?;
        node.lock().linkable = linkable;
        Ok((self.attributes.attr_of(&inode, 0, 0), node))
    }

    /// A whiteout in `parent`, which the transaction makes: what a renamed name leads to (`RENAME_WHITEOUT`).
    pub(super) fn whiteout(&self, edit: &mut Edit<'_>, parent: u64, owner: Caller) -> Result<Dirent> {
        let what = Create::new(Kind::CharDevice, 0);
        let inode = self.new_inode(edit, parent, &what, owner)?;
        let entry = Dirent {
            ino: inode.ino,
            kind: inode.kind,
        };
        edit.push(Change::PutInode(inode));
        Ok(entry)
    }

    /// A new inode in the directory `parent`, which is part of the edit.
    fn new_inode(&self, edit: &mut Edit<'_>, parent: u64, what: &Create, caller: Caller) -> Result<Inode> {
        let ino = self.inodes.new_ino();
        let above = &edit.state(parent)?.inode;
        let directory = what.kind == Kind::Directory;
        let mut inode = Inode {
            uid: caller.uid,
            gid: caller.gid,
            rdev: what.rdev,
            size: what.target.len() as u64,
            parent: if directory { parent } else { 0 },
            target: what.target.clone(),
            ..Inode::new(ino, what.kind, what.perm & 0o7777, now())
        };
        // As on Linux: the group goes down the tree, and directories hand the bit on.
        if above.perm & 0o2000 != 0 {
            inode.gid = above.gid;
            if directory {
                inode.perm |= 0o2000;
            }
        }
        Ok(inode)
    }

    /// Target of a symbolic link.
    ///
    /// # Errors
    /// EINVAL for anything else.
    pub fn readlink(&self, ino: u64) -> Result<Vec<u8>> {
        let inode = self.inodes.inode(ino)?;
        match inode.kind {
            Kind::Symlink => Ok(inode.target),
            _ => Err(Error::new(Errno::INVAL, "not a symbolic link")),
        }
    }
}
