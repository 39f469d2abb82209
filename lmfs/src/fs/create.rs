//! lookup, create, mknod, mkdir, symlink, O_TMPFILE.

use std::sync::atomic::Ordering;

use lmfs_indexer::{Change, Dirent, Inode, Kind, MAX_TARGET};

use super::edit::Edit;
use super::types::now;
use super::{Attr, Caller, Create, Errno, Error, Filesystem, MAX_NAME, Result};
use crate::room::{self, Use};

impl Filesystem {
    /// The inode that `name` leads to in the directory `parent`. The kernel asks for "." of any inode, and for ".." of a
    /// directory, when it was given a file handle and has forgotten the inode.
    ///
    /// # Errors
    /// ENOENT, ENAMETOOLONG, ENOTDIR; ESTALE for "." and ".." of what was deleted.
    pub fn lookup(&self, parent: u64, name: &[u8]) -> Result<Attr> {
        check_length(name)?;
        let ino = match name {
            b"." => self.node(parent)?.live()?.inode.ino,
            b".." => {
                let node = self.node(parent)?;
                let inode = &node.live()?.inode;
                if inode.kind != Kind::Directory {
                    return Err(Error::new(Errno::NOTDIR, "not a directory"));
                }
                inode.parent
            }
            _ => self.store.dirent(parent, name)?.ok_or_else(Error::not_found)?.ino,
        };
        self.getattr(ino)
    }

    /// Makes a file, directory, symbolic link or device under a name that is free. It belongs to the caller; in a
    /// directory with the set-group-id bit it has the directory's group. One transaction.
    ///
    /// # Errors
    /// EEXIST, ENAMETOOLONG, EINVAL for an impossible name, ENOENT for a directory that was removed; what the store
    /// reports.
    pub fn create(&self, parent: u64, name: &[u8], what: Create, caller: Caller) -> Result<Attr> {
        self.writable()?;
        check_name(name)?;
        if what.target.len() > MAX_TARGET {
            return Err(Error::new(
                Errno::NAMETOOLONG,
                "the target of a symbolic link is too long",
            ));
        }
        room::check(&self.store, Use::Names)?;
        let _namespace = self.namespace.lock();
        if self.store.dirent(parent, name)?.is_some() {
            return Err(Error::new(Errno::EXIST, "the name exists"));
        }
        let directory = self.node(parent)?;
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
        let acls = self.inherit_acl(parent, &mut inode, what.umask)?;
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
        self.commit_edit(edit)?;
        Ok(self.attr_of(&inode, 0, 0))
    }

    /// Makes a file without a name and opens it; says its attributes and the handle's number. It is deleted with its last
    /// handle, or after a crash, unless it is `linkable` and got a name by [`Filesystem::link`]. One transaction.
    ///
    /// # Errors
    /// ENOENT for a directory that was removed; what the store reports.
    pub fn tmpfile(&self, parent: u64, what: Create, caller: Caller, linkable: bool) -> Result<(Attr, u64)> {
        self.writable()?;
        room::check(&self.store, Use::Names)?;
        let directory = self.node(parent)?;
        let mut edit = Edit::new([&directory]);
        edit.check_directory(parent)?;
        let mut inode = self.new_inode(&mut edit, parent, &what, caller)?;
        inode.nlink = 0;
        let acls = self.inherit_acl(parent, &mut inode, what.umask)?;
        edit.push(Change::PutInode(inode.clone()));
        for change in acls {
            edit.push(change);
        }
        edit.push(Change::PutOrphan(inode.ino));
        self.commit_edit(edit)?;
        let handle = self.open(inode.ino)?;
        self.node(inode.ino)?.lock().linkable = linkable;
        Ok((self.attr_of(&inode, 0, 0), handle))
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
        let ino = self.next_ino.fetch_add(1, Ordering::Relaxed);
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
        let inode = self.inode(ino)?;
        match inode.kind {
            Kind::Symlink => Ok(inode.target),
            _ => Err(Error::new(Errno::INVAL, "not a symbolic link")),
        }
    }
}

fn check_length(name: &[u8]) -> Result<()> {
    if name.len() > MAX_NAME {
        return Err(Error::new(Errno::NAMETOOLONG, "a name has at most 255 bytes"));
    }
    Ok(())
}

/// Refuses what no directory may hold.
pub fn check_name(name: &[u8]) -> Result<()> {
    check_length(name)?;
    if matches!(name, b"" | b"." | b"..") || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
        return Err(Error::new(Errno::INVAL, "impossible name"));
    }
    Ok(())
}
