//! Extended attributes: user.*, trusted.*, security.* and POSIX ACLs. The kernel checks who may.

use lmfs_indexer::{Change, MAX_XATTR};

use super::Attributes;
use super::virtual_xattr::is_virtual;
use crate::fs::error::{Errno, Error, Result};
use crate::fs::inode::edit::Edit;
use crate::fs::types::now;
use crate::fs::types::{MAX_NAME, XattrMode};
use crate::store::reserve::{self, Purpose};

const TRUSTED: &[u8] = b"trusted.";

/// Most bytes of an inode's names, each with a zero byte, that listxattr(2) can tell (XATTR_LIST_MAX).
const MAX_LIST: usize = 65536;

const NAMESPACES: [&[u8]; 3] = [b"user.", TRUSTED, b"security."];

impl Attributes {
    /// The value of an extended attribute. `user.lmfs.*` are made on the spot and may look at every extent of the file.
    ///
    /// # Errors
    /// ENODATA when there is none; EOPNOTSUPP for a namespace that is not kept.
    pub fn getxattr(&self, ino: u64, name: &[u8]) -> Result<Vec<u8>> {
        if is_virtual(name) {
            return crate::task::wait(self.virtual_xattr(ino, name));
        }
        check(name)?;
        let value = self.store().xattr(ino, name)?;
        value.ok_or(Error::new(Errno::NODATA, "no such attribute"))
    }

    /// The names of an inode's extended attributes; with `all` also of `trusted.*`, which only root sees (man 7 xattr:
    /// the kernel does not look into this list).
    ///
    /// # Errors
    /// What the store reports.
    pub fn listxattr(&self, ino: u64, all: bool) -> Result<Vec<Vec<u8>>> {
        let mut names = self.store().xattrs(ino)?;
        names.retain(|name| all || !name.starts_with(TRUSTED));
        Ok(names)
    }

    /// Sets an extended attribute. An access ACL also sets the permission bits; `is_in` says whether the caller is in a
    /// group, or may do as if: the set-group-id bit stays then.
    ///
    /// # Errors
    /// EEXIST and ENODATA as `mode` says; E2BIG, ERANGE; EPERM for `user.lmfs.*`; EOPNOTSUPP for a namespace that is
    /// not kept; EINVAL for a malformed ACL; ENOSPC for a name that listxattr(2) could not tell any more; what the
    /// store reports.
    pub fn setxattr(
        &self,
        ino: u64,
        name: &[u8],
        value: &[u8],
        mode: XattrMode,
        is_in: impl FnOnce(u32) -> bool,
    ) -> Result<()> {
        self.journal.check_writable()?;
        check(name)?;
        if value.len() > MAX_XATTR {
            return Err(Error::new(Errno::TOOBIG, "an attribute has at most 64 KiB"));
        }
        reserve::ensure(self.store(), Purpose::Names)?;
        let node = self.inodes.get(ino)?;
        let mut edit = Edit::new([&node]);
        if edit.state(ino)?.gone {
            return Err(Error::stale());
        }
        // Looked up under the lock of the node, which every change of its attributes takes.
        let exists = self.store().xattr(ino, name)?.is_some();
        match mode {
            XattrMode::Create if exists => {
                return Err(Error::new(Errno::EXIST, "the attribute exists"));
            }
            XattrMode::Replace if !exists => {
                return Err(Error::new(Errno::NODATA, "no such attribute"));
            }
            _ => {}
        }
        // A name that is replaced is in the list already.
        if !exists {
            self.check_list(ino, name)?;
        }
        let inode = edit.inode(ino)?;
        inode.ctime = now();
        let change = match super::acl::set(inode, name, value, is_in)? {
            true => Change::PutXattr {
                ino,
                name: name.to_vec(),
                value: value.to_vec(),
            },
            false => Change::DelXattr {
                ino,
                name: name.to_vec(),
            },
        };
        edit.push(change);
        edit.commit(&self.journal)?;
        Ok(())
    }

    fn check_list(&self, ino: u64, new: &[u8]) -> Result<()> {
        let names = self.store().xattrs(ino)?;
        let list: usize = names.iter().map(|name| name.len() + 1).sum();
        if list + new.len() + 1 > MAX_LIST {
            return Err(Error::new(
                Errno::NOSPC,
                "the names of an inode's attributes take at most 64 KiB",
            ));
        }
        Ok(())
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// ENODATA when there is none; EPERM for `user.lmfs.*`; EOPNOTSUPP for a namespace that is not kept; what the store
    /// reports.
    pub fn removexattr(&self, ino: u64, name: &[u8]) -> Result<()> {
        self.journal.check_writable()?;
        check(name)?;
        let node = self.inodes.get(ino)?;
        let mut edit = Edit::new([&node]);
        if edit.state(ino)?.gone {
            return Err(Error::stale());
        }
        if self.store().xattr(ino, name)?.is_none() {
            return Err(Error::new(Errno::NODATA, "no such attribute"));
        }
        edit.inode(ino)?.ctime = now();
        edit.push(Change::DelXattr {
            ino,
            name: name.to_vec(),
        });
        edit.commit(&self.journal)?;
        Ok(())
    }
}

fn check(name: &[u8]) -> Result<()> {
    if is_virtual(name) {
        return Err(Error::new(Errno::PERM, "user.lmfs.* cannot be changed"));
    }
    let kept = NAMESPACES.iter().any(|namespace| name.starts_with(namespace)) || super::acl::is_acl(name);
    if !kept {
        return Err(Error::new(
            Errno::OPNOTSUPP,
            "attributes of this namespace are not kept",
        ));
    }
    if name.len() > MAX_NAME {
        return Err(Error::new(
            Errno::RANGE,
            "the name of an attribute has at most 255 bytes",
        ));
    }
    Ok(())
}
