//! getattr, setattr, statfs.

use std::sync::Arc;

use lmfs_indexer::{Inode, Kind};

use super::Attributes;
use crate::fs::error::{Error, Result};
use crate::fs::inode::edit::Edit;
use crate::fs::inode::node::Node;
use crate::fs::inode::node::kill_suid_bits;
use crate::fs::types::now;
use crate::fs::types::{Attr, MAX_NAME, SetAttr, SetTime, StatFs, Time};
use crate::store::reserve::{self, Purpose};

/// What a directory shows as its size.
const DIRECTORY_SIZE: u64 = 4096;

/// `st_blocks` counts in these.
const SECTOR: u64 = 512;

/// What `statfs` counts in.
const STATFS_UNIT: u64 = 4096;

impl Attributes {
    /// Attributes as `stat` shows them. Answers from memory and index, whatever else is going on.
    ///
    /// # Errors
    /// ESTALE for an inode that does not exist.
    pub fn getattr(&self, ino: u64) -> Result<Attr> {
        match self.inodes.held(ino) {
            Some(node) => {
                let state = node.lock();
                // Copied, so that the index is not asked under the lock of the node.
                let (inode, dirty) = (state.inode.clone(), state.dirty.bytes());
                drop(state);
                let stored = self.stored(&inode)?;
                Ok(self.attr_of(&inode, stored, dirty))
            }
            None => {
                let inode = self.store().inode(ino)?.ok_or_else(Error::stale)?;
                let stored = self.stored(&inode)?;
                Ok(self.attr_of(&inode, stored, 0))
            }
        }
    }

    fn stored(&self, inode: &Inode) -> Result<u64> {
        if inode.kind == Kind::File {
            Ok(self.store().stored_bytes(inode.ino)?)
        } else {
            Ok(0)
        }
    }

    /// Attributes of an inode whose contents take `stored` bytes in the store and `dirty` in memory.
    pub fn attr_of(&self, inode: &Inode, stored: u64, dirty: u64) -> Attr {
        Attr {
            ino: inode.ino,
            kind: inode.kind,
            perm: inode.perm,
            uid: inode.uid,
            gid: inode.gid,
            rdev: inode.rdev,
            nlink: inode.nlink,
            size: if inode.kind == Kind::Directory {
                DIRECTORY_SIZE
            } else {
                inode.size
            },
            blocks: (stored + dirty).div_ceil(SECTOR),
            blksize: self.block_size,
            atime: inode.atime,
            mtime: inode.mtime,
            ctime: inode.ctime,
            crtime: inode.crtime,
        }
    }

    /// Changes attributes, all but the size. A new owner or group clears the set-user-id and set-group-id bits. One
    /// transaction.
    ///
    /// # Errors
    /// What the store reports.
    pub fn setattr(&self, node: &Arc<Node>, set: &SetAttr) -> Result<()> {
        let nothing = SetAttr {
            size: set.size,
            ..SetAttr::default()
        };
        if *set == nothing {
            return Ok(());
        }
        let ino = node.ino;
        let mut edit = Edit::new([node]);
        // fchmod(2) of a deleted file succeeds, and there is no row left to store it in.
        let gone = edit.state(ino)?.gone;
        apply(edit.inode(ino)?, set);
        if let Some(perm) = set.perm
            && let Some(acl) = self.chmod_acl(ino, perm)?
        {
            edit.push(acl);
        }
        if !gone {
            edit.commit(&self.journal)?;
        }
        Ok(())
    }

    /// Takes the set-group-id bit from a file that its group cannot execute, before somebody outside that group changes
    /// its contents. `is_in` says whether the caller is in a group, or may do as if. (The change itself takes the bits
    /// of executables.)
    ///
    /// # Errors
    /// What the store reports.
    pub fn clear_group_bit(&self, ino: u64, is_in: impl FnOnce(u32) -> bool) -> Result<()> {
        // Where the group may execute the file, the change itself takes the bit.
        let has_bit = |inode: &Inode| inode.kind == Kind::File && inode.perm & 0o2010 == 0o2000;
        let node = self.inodes.get(ino)?;
        let group = {
            let inode = &node.lock().inode;
            has_bit(inode).then_some(inode.gid)
        };
        if group.is_none_or(is_in) {
            return Ok(());
        }
        self.journal.check_writable()?;
        let mut edit = Edit::new([&node]);
        let gone = edit.state(ino)?.gone;
        let inode = edit.inode(ino)?;
        if gone || !has_bit(inode) {
            return Ok(());
        }
        inode.perm &= !0o2000;
        inode.ctime = now();
        edit.commit(&self.journal)
    }

    /// Space and inodes of the store.
    ///
    /// # Errors
    /// What the store reports.
    pub fn statfs(&self) -> Result<StatFs> {
        let totals = self.store().totals();
        let (free, available) = (
            self.store().free_space()?,
            reserve::available(self.store(), Purpose::Data)?,
        );
        Ok(StatFs {
            block_size: STATFS_UNIT as u32,
            blocks: totals.disk_bytes().saturating_add(free) / STATFS_UNIT,
            free: free / STATFS_UNIT,
            available: available / STATFS_UNIT,
            files: totals.inodes.saturating_add(available / STATFS_UNIT),
            files_free: available / STATFS_UNIT,
            name_max: MAX_NAME as u32,
        })
    }
}

fn apply(inode: &mut Inode, set: &SetAttr) {
    let now = now();
    if let Some(perm) = set.perm {
        inode.perm = perm & 0o7777;
    }
    if set.uid.is_some() || set.gid.is_some() {
        inode.uid = set.uid.unwrap_or(inode.uid);
        inode.gid = set.gid.unwrap_or(inode.gid);
        // A mode that is set in the same call says itself which bits stay.
        if inode.kind != Kind::Directory && set.perm.is_none() {
            kill_suid_bits(&mut inode.perm);
        }
    }
    let resolve = |time: SetTime| match time {
        SetTime::Now => now,
        SetTime::At(time) => Time {
            // The kernel passes on what utimensat(2) got.
            nanos: time.nanos.min(999_999_999),
            ..time
        },
    };
    inode.atime = set.atime.map_or(inode.atime, resolve);
    inode.mtime = set.mtime.map_or(inode.mtime, resolve);
    inode.ctime = now;
}
