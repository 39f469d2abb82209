//! The operations, each by the part that does it. Where an operation takes several parts, they are joined here.

use super::Filesystem;
use super::attributes::virtual_xattr;
use super::error::Result;
use super::types::{
    Allocate, Attr, Caller, Create, DirEntry, FilePosition, RenameMode, Seek, SetAttr, StatFs, XattrMode,
};
use crate::task::{Asker, wait};

/// Names.
impl Filesystem {
    /// The inode that `name` leads to in the directory `parent`. The kernel asks for "." of any inode, and for ".." of
    /// a directory, when it was given a file handle and has forgotten the inode.
    ///
    /// # Errors
    /// ENOENT, ENAMETOOLONG, ENOTDIR; ESTALE for "." and ".." of what was deleted.
    pub fn lookup(&self, parent: u64, name: &[u8]) -> Result<Attr> {
        self.namespace.lookup(parent, name)
    }

    /// Makes a file, directory, symbolic link or device under a name that is free. It belongs to the caller; in a
    /// directory with the set-group-id bit it has the directory's group. One transaction.
    ///
    /// # Errors
    /// EEXIST, ENAMETOOLONG, EINVAL for an impossible name, ENOENT for a directory that was removed; what the store
    /// reports.
    pub fn create(&self, parent: u64, name: &[u8], what: Create, caller: Caller) -> Result<Attr> {
        self.namespace.create(parent, name, what, caller)
    }

    /// Makes a file without a name and opens it; says its attributes and the handle's number. It is deleted with its
    /// last handle, or after a crash, unless it is `linkable` and got a name by [`Filesystem::link`]. One transaction.
    ///
    /// # Errors
    /// ENOENT for a directory that was removed; what the store reports.
    pub fn tmpfile(&self, parent: u64, what: Create, caller: Caller, linkable: bool) -> Result<(Attr, u64)> {
        let (attr, node) = self.namespace.tmpfile(parent, what, caller, linkable)?;
        Ok((attr, self.open_files.open(node)?))
    }

    /// Gives a file one more name. One transaction.
    ///
    /// # Errors
    /// EPERM for a directory, ENOENT for a file without a name that was not made to get one, EEXIST, EMLINK; what the
    /// store reports.
    pub fn link(&self, ino: u64, parent: u64, name: &[u8]) -> Result<Attr> {
        self.namespace.link(ino, parent, name)
    }

    /// Removes a name of anything but a directory. One transaction.
    ///
    /// # Errors
    /// ENOENT, EISDIR; what the store reports.
    pub fn unlink(&self, parent: u64, name: &[u8]) -> Result<()> {
        self.namespace.unlink(parent, name)
    }

    /// Removes an empty directory. One transaction.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR, ENOTEMPTY; what the store reports.
    pub fn rmdir(&self, parent: u64, name: &[u8]) -> Result<()> {
        self.namespace.rmdir(parent, name)
    }

    /// Whether a rename would have to store the source's written data first.
    pub fn rename_would_block(&self, parent: u64, name: &[u8]) -> bool {
        self.namespace.rename_would_block(parent, name)
    }

    /// Moves a name. What has the new name already is replaced in the same transaction, whole or not at all; data
    /// written to the source is stored before, so that the new name never leads to less than was written. Waits for a
    /// flush when [`Filesystem::rename_would_block`].
    ///
    /// # Errors
    /// ENOENT, EEXIST, ENOTDIR, EISDIR, ENOTEMPTY as rename(2) says; EINVAL for a directory that would move into
    /// itself; what the store reports.
    pub async fn rename_async(
        &self,
        parent: u64,
        name: &[u8],
        new_parent: u64,
        new_name: &[u8],
        mode: RenameMode,
        asker: Asker,
    ) -> Result<()> {
        self.namespace
            .rename(parent, name, new_parent, new_name, mode, asker)
            .await
    }

    /// Target of a symbolic link.
    ///
    /// # Errors
    /// EINVAL for anything else.
    pub fn readlink(&self, ino: u64) -> Result<Vec<u8>> {
        self.namespace.readlink(ino)
    }

    /// Opens a directory and says the handle's number.
    ///
    /// # Errors
    /// ENOTDIR, ESTALE.
    pub fn opendir(&self, ino: u64) -> Result<u64> {
        self.namespace.opendir(ino)
    }

    /// Lists entries from `offset` on (0, or any entry's `offset`, of this handle or of another), until `emit` returns
    /// false, which means that it did not take the entry. At offset 0 the listing begins anew.
    ///
    /// # Errors
    /// EBADF; what the store reports.
    pub fn readdir(&self, fh: u64, offset: u64, emit: impl FnMut(DirEntry) -> bool) -> Result<()> {
        self.namespace.readdir(fh, offset, emit)
    }

    /// Closes a directory.
    ///
    /// # Errors
    /// EBADF.
    pub fn releasedir(&self, fh: u64) -> Result<()> {
        self.namespace.releasedir(fh)
    }

    /// The kernel no longer refers to an inode.
    pub fn forget(&self, ino: u64) {
        self.inodes.forget(ino);
    }
}

/// Attributes.
impl Filesystem {
    /// Attributes as `stat` shows them. Answers from memory and index, whatever else is going on.
    ///
    /// # Errors
    /// ESTALE for an inode that does not exist.
    pub fn getattr(&self, ino: u64) -> Result<Attr> {
        self.attributes.getattr(ino)
    }

    /// Changes attributes: the size in a transaction of its own, all else in one. A new owner or group clears the
    /// set-user-id and set-group-id bits; so does a new size with `kill_suid`.
    ///
    /// # Errors
    /// EISDIR or EINVAL for the size of anything but a file, EFBIG; what the store reports.
    pub fn setattr(&self, ino: u64, set: SetAttr, kill_suid: bool) -> Result<Attr> {
        self.journal.check_writable()?;
        let node = self.inodes.get(ino)?;
        if let Some(size) = set.size {
            self.contents.set_size(&node, size, kill_suid)?;
        }
        self.attributes.setattr(&node, &set)?;
        self.attributes.getattr(ino)
    }

    /// Takes the set-group-id bit from a file that its group cannot execute, before somebody outside that group changes
    /// its contents. `is_in` says whether the caller is in a group, or may do as if. (The change itself takes the bits
    /// of executables.)
    ///
    /// # Errors
    /// What the store reports.
    pub fn clear_group_bit(&self, ino: u64, is_in: impl FnOnce(u32) -> bool) -> Result<()> {
        self.attributes.clear_group_bit(ino, is_in)
    }

    /// Space and inodes of the store.
    ///
    /// # Errors
    /// What the store reports.
    pub fn statfs(&self) -> Result<StatFs> {
        self.attributes.statfs()
    }

    /// The value of an extended attribute. `user.lmfs.*` are made on the spot and may look at every extent of the file.
    ///
    /// # Errors
    /// ENODATA when there is none; EOPNOTSUPP for a namespace that is not kept.
    pub fn getxattr(&self, ino: u64, name: &[u8]) -> Result<Vec<u8>> {
        if virtual_xattr::is_virtual(name) {
            return wait(self.virtual_xattr(ino, name));
        }
        self.attributes.getxattr(ino, name)
    }

    /// The value of an attribute that is made on the spot ([`virtual_xattr::is_virtual`]). Looks at every extent, and
    /// gives way to others between.
    ///
    /// # Errors
    /// ENODATA, ESTALE; what the store reports.
    pub async fn virtual_xattr(&self, ino: u64, name: &[u8]) -> Result<Vec<u8>> {
        self.attributes.virtual_xattr(ino, name).await
    }

    /// The names of an inode's extended attributes; with `all` also of `trusted.*`, which only root sees (man 7 xattr:
    /// the kernel does not look into this list).
    ///
    /// # Errors
    /// What the store reports.
    pub fn listxattr(&self, ino: u64, all: bool) -> Result<Vec<Vec<u8>>> {
        self.attributes.listxattr(ino, all)
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
        self.attributes.setxattr(ino, name, value, mode, is_in)
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// ENODATA when there is none; EPERM for `user.lmfs.*`; EOPNOTSUPP for a namespace that is not kept; what the store
    /// reports.
    pub fn removexattr(&self, ino: u64, name: &[u8]) -> Result<()> {
        self.attributes.removexattr(ino, name)
    }
}

/// Contents.
impl Filesystem {
    /// Opens a file and says the handle's number. While it is open its contents stay, even without a name.
    ///
    /// # Errors
    /// EISDIR, ESTALE.
    pub fn open(&self, ino: u64) -> Result<u64> {
        self.open_files.open(self.inodes.get(ino)?)
    }

    /// The last descriptor of a handle is closed. A file without a name and without other handles is deleted.
    ///
    /// # Errors
    /// EBADF; what the store reports.
    pub fn release(&self, fh: u64) -> Result<()> {
        match self.open_files.release(fh)? {
            // One that is left behind is deleted when the store is opened again.
            Some(unlinked) if self.journal.check_writable().is_ok() => self.namespace.delete_unlinked(&unlinked),
            _ => Ok(()),
        }
    }

    /// Reads up to `size` bytes at `offset`, fewer only at the end of the file. All blocks that are not in memory are
    /// asked for at once; the future waits for their decodes and is ready at its first poll if there are none. Who
    /// drops it takes back what it asked for.
    ///
    /// # Errors
    /// EIO when a block of the range cannot be read.
    pub async fn read(&self, ino: u64, offset: u64, size: u32, asker: Asker) -> Result<Vec<u8>> {
        self.contents.read(ino, offset, size, asker).await
    }

    /// Notes a read through a handle, so that a sequence of reads finds its next blocks decoded.
    pub fn note_read(&self, fh: u64, offset: u64, size: u32) {
        self.open_files.note_read(&self.reader, fh, offset, size);
    }

    /// Writes `data` at `offset` if there is room in memory, and says how many bytes it took: all. `None`: it has to
    /// wait for room, and [`Filesystem::write_async`] does.
    ///
    /// # Errors
    /// As for [`Filesystem::write_async`].
    pub fn write_now(&self, ino: u64, offset: u64, data: &[u8], kill_suid: bool) -> Result<Option<u32>> {
        let node = self.inodes.get(ino)?;
        self.write_back.write_now(&node, offset, data, kill_suid)
    }

    /// Writes `data` at `offset` and says how many bytes it took: all. The bytes are durable after fsync, or on their
    /// own within seconds. With `kill_suid` the set-user-id and set-group-id bits are cleared. Waits for room in
    /// memory.
    ///
    /// # Errors
    /// EFBIG beyond the largest size; ENOSPC when the store is full and memory for dirty bytes, too; EIO when that
    /// memory is full of blocks that cannot be stored because the rest of them cannot be read, and this would be one
    /// more.
    pub async fn write_async(&self, ino: u64, offset: u64, data: &[u8], kill_suid: bool, asker: Asker) -> Result<u32> {
        let node = self.inodes.get(ino)?;
        self.write_back.write(&node, offset, data, kill_suid, asker).await
    }

    /// Whether a file has written bytes that are not in the log yet.
    pub fn is_dirty(&self, ino: u64) -> bool {
        self.write_back.is_dirty(ino)
    }

    /// Whether [`Filesystem::flush_async`] takes no longer than a change of a name, unless it waits for a decode.
    pub fn flush_is_quick(&self, ino: u64) -> bool {
        self.inodes.held(ino).is_none_or(|node| self.write_back.is_quick(&node))
    }

    /// A descriptor is being closed: stores what is dirty, so that close tells of a full disk. Does not make it
    /// durable. May wait for the log and for a decode.
    ///
    /// # Errors
    /// ENOSPC or EIO when written bytes could not be stored; they stay in memory and are tried again.
    pub async fn flush_async(&self, ino: u64, asker: Asker) -> Result<()> {
        match self.inodes.held(ino) {
            Some(node) => self.write_back.flush(&node, asker).await,
            None => Ok(()),
        }
    }

    /// Makes a file's contents and metadata, and the names that lead to it, durable. Waits for the disk.
    ///
    /// # Errors
    /// ENOSPC or EIO; what could not be stored stays in memory and is tried again.
    pub async fn fsync_async(&self, ino: u64, asker: Asker) -> Result<()> {
        if self.options.read_only {
            return Ok(());
        }
        self.flush_async(ino, asker).await?;
        self.journal.synced().await
    }

    /// Makes a directory's entries durable, as all that was committed before. Waits for the disk.
    ///
    /// # Errors
    /// What the store reports.
    pub async fn fsyncdir(&self) -> Result<()> {
        if self.options.read_only {
            return Ok(());
        }
        self.journal.synced().await
    }

    /// For whoever writes or syncs through a handle.
    ///
    /// # Errors
    /// EBADF; EIO, once, when bytes of the file had to be given up since the handle was opened, or before if nobody was
    /// told.
    pub fn tell_lost(&self, fh: u64) -> Result<()> {
        self.open_files.tell_lost(fh)
    }

    /// For whoever closes one descriptor of a handle. [`Filesystem::tell_lost`] will say it again.
    ///
    /// # Errors
    /// As for [`Filesystem::tell_lost`].
    pub fn tell_lost_at_close(&self, fh: u64) -> Result<()> {
        self.open_files.tell_lost_at_close(fh)
    }

    /// Allocates, punches a hole into, or zeroes `length` bytes at `offset`, in one transaction. Whole blocks become
    /// holes, the edges are written with zeros. Allocating checks that there is room now and reserves none: a store
    /// that never overwrites in place cannot promise it. With `kill_suid` the set-user-id and set-group-id bits are
    /// cleared.
    ///
    /// # Errors
    /// EINVAL for no length, EFBIG, ENOSPC; what the store reports.
    pub fn fallocate(&self, ino: u64, offset: u64, length: u64, mode: Allocate, kill_suid: bool) -> Result<()> {
        self.contents.fallocate(ino, offset, length, mode, kill_suid)
    }

    /// Copies up to `length` bytes and says how many: fewer at the end of the source, because it is much, or because
    /// the rest fails, which the next call tells. Blocks that the copy covers whole are not decoded. Waits for the log,
    /// and for decodes of the rest. With `kill_suid` the target's set-user-id and set-group-id bits are cleared.
    ///
    /// # Errors
    /// EIO when the source cannot be read; as for write. Nothing was copied then.
    pub async fn copy_file_range_async(
        &self,
        from: FilePosition,
        to: FilePosition,
        length: u64,
        kill_suid: bool,
        asker: Asker,
    ) -> Result<u32> {
        self.contents.copy_file_range(from, to, length, kill_suid, asker).await
    }

    /// The first place at or after `offset` that is data or hole. A block that was ever written to is data; the end of
    /// the file is a hole. Gives way to others now and then.
    ///
    /// # Errors
    /// ENXIO beyond the end of the file, or for data when there is none.
    pub async fn lseek_async(&self, ino: u64, offset: u64, what: Seek) -> Result<u64> {
        self.contents.lseek(ino, offset, what).await
    }
}
