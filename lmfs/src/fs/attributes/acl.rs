//! POSIX access control lists (man 5 acl). The kernel asks them; here they are kept in step with the permission bits.

use lmfs_indexer::{Change, Inode, Kind};

use super::Attributes;
use crate::fs::error::{Errno, Error, Result};
use crate::posix_acl::Acl;

const ACCESS: &[u8] = b"system.posix_acl_access";
const DEFAULT: &[u8] = b"system.posix_acl_default";

/// Whether an extended attribute is a list.
pub fn is_acl(name: &[u8]) -> bool {
    name == ACCESS || name == DEFAULT
}

fn parse(bytes: &[u8]) -> Result<Acl> {
    Acl::parse(bytes).ok_or(Error::new(Errno::INVAL, "malformed access control list"))
}

/// A list is being set: checks it and brings the permission bits in step. Says whether there is anything to store (an
/// access list that says no more than the bits is not). The set-group-id bit stays for a caller who `is_in` the file's
/// group.
pub fn set(inode: &mut Inode, name: &[u8], value: &[u8], is_in: impl FnOnce(u32) -> bool) -> Result<bool> {
    if !is_acl(name) {
        return Ok(true);
    }
    if inode.kind == Kind::Symlink {
        return Err(Error::new(
            Errno::OPNOTSUPP,
            "a symbolic link has no access control list",
        ));
    }
    if value.is_empty() {
        return Ok(false);
    }
    let acl = parse(value)?;
    if name == DEFAULT {
        return match inode.kind {
            Kind::Directory => Ok(true),
            _ => Err(Error::new(Errno::ACCESS, "only a directory has a default list")),
        };
    }
    inode.perm = inode.perm & 0o7000 | acl.mode();
    // chmod(2) would take the bit, too: the list must be no way around it.
    if inode.perm & 0o2000 != 0 && !is_in(inode.gid) {
        inode.perm &= !0o2000;
    }
    Ok(!acl.is_minimal())
}

impl Attributes {
    /// What a new inode gets from its directory: permission bits under the umask, or the directory's default list.
    pub fn inherit_acl(&self, parent: u64, inode: &mut Inode, umask: u32) -> Result<Vec<Change>> {
        if inode.kind == Kind::Symlink {
            return Ok(Vec::new());
        }
        let Some(default) = self.store().xattr(parent, DEFAULT)? else {
            inode.perm &= !(umask & 0o777);
            return Ok(Vec::new());
        };
        let mut acl = parse(&default)?;
        // A default list takes the place of the umask, which the kernel therefore left to us.
        acl.apply(inode.perm, |ours, bits| ours & bits);
        inode.perm = inode.perm & 0o7000 | acl.mode();
        let put = |name: &[u8], value| Change::PutXattr {
            ino: inode.ino,
            name: name.to_vec(),
            value,
        };
        let mut changes = Vec::new();
        if !acl.is_minimal() {
            changes.push(put(ACCESS, acl.to_bytes()));
        }
        if inode.kind == Kind::Directory {
            // Directories below inherit it in turn. A file cannot hand anything down.
            changes.push(put(DEFAULT, default));
        }
        Ok(changes)
    }

    /// The change that brings an inode's access list in step with new permission bits.
    pub(super) fn chmod_acl(&self, ino: u64, perm: u32) -> Result<Option<Change>> {
        let Some(access) = self.store().xattr(ino, ACCESS)? else {
            return Ok(None);
        };
        let mut acl = parse(&access)?;
        acl.apply(perm, |_, bits| bits);
        Ok(Some(Change::PutXattr {
            ino,
            name: ACCESS.to_vec(),
            value: acl.to_bytes(),
        }))
    }
}
