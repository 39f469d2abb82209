//! The operations, one by one: kernel types in, filesystem types out and back.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, FileHandle, INodeNo, IoctlFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags,
    ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl,
    ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use super::answer::{guarded, later, later_if, now, refuse};
use super::convert::set_time;
use super::reply::{Opened, XattrValue};
use super::request::{
    Name, allocation, caller, is_in, is_root, kills, link_to, made, node, rename_mode, seek, xattr_mode,
};
use super::{capabilities, list};
use crate::fs::{Filesystem, Kind, Place, SetAttr};

/// The kernel's view of a filesystem.
pub struct Adapter {
    fs: Arc<Filesystem>,
}

impl Adapter {
    /// An adapter for `fs`.
    pub fn new(fs: Arc<Filesystem>) -> Adapter {
        Adapter { fs }
    }
}

/// `operation!(HOW NAME(FS, REQUEST, ARGUMENTS...; REPLY) => RESULT)`: the method `NAME` of [`fuser::Filesystem`] evaluates
/// RESULT, with the filesystem as FS, and answers REPLY with it, either `now`, or `later` on a thread that may wait.
macro_rules! operation {
    ($how:ident $name:ident($fs:ident, $req:ident $(, $argument:ident: $type:ty)*; $reply:ty) => $run:expr) => {
        fn $name(&self, $req: &Request, $($argument: $type,)* reply: $reply) {
            $how(&self.fs, stringify!($name), reply, move |$fs: &Filesystem| $run);
        }
    };
}

impl fuser::Filesystem for Adapter {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> io::Result<()> {
        capabilities::negotiate(config, self.fs.options().block_size);
        Ok(())
    }

    // Names.

    operation!(now lookup(fs, _req, parent: INodeNo, name: &OsStr; ReplyEntry) => fs.lookup(parent.0, name.as_bytes()));

    fn forget(&self, _req: &Request, ino: INodeNo, _nlookup: u64) {
        self.fs.forget(ino.0);
    }

    operation!(now mknod(fs, req, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, rdev: u32; ReplyEntry) =>
        fs.create(parent.0, name.as_bytes(), node(mode, umask, rdev)?, caller(req)));

    operation!(now mkdir(fs, req, parent: INodeNo, name: &OsStr, mode: u32, umask: u32; ReplyEntry) =>
        fs.create(parent.0, name.as_bytes(), made(Kind::Directory, mode, umask), caller(req)));

    operation!(now symlink(fs, req, parent: INodeNo, name: &OsStr, target: &Path; ReplyEntry) =>
        fs.create(parent.0, name.as_bytes(), link_to(target), caller(req)));

    operation!(now create(fs, req, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, _flags: i32; ReplyCreate) => {
        let attr = fs.create(parent.0, name.as_bytes(), made(Kind::File, mode, umask), caller(req))?;
        Ok((attr, Opened::file(fs.open(attr.ino)?)))
    });

    operation!(now unlink(fs, _req, parent: INodeNo, name: &OsStr; ReplyEmpty) => fs.unlink(parent.0, name.as_bytes()));

    operation!(now rmdir(fs, _req, parent: INodeNo, name: &OsStr; ReplyEmpty) => fs.rmdir(parent.0, name.as_bytes()));

    operation!(now link(fs, _req, ino: INodeNo, parent: INodeNo, name: &OsStr; ReplyEntry) =>
        fs.link(ino.0, parent.0, name.as_bytes()));

    fn rename(
        &self,
        _req: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (from, to) = (Name::new(parent, name), Name::new(newparent, newname));
        let waits = self.fs.rename_waits(from.parent, &from.name);
        later_if(waits, &self.fs, "rename", reply, move |fs| {
            fs.rename(from.parent, &from.name, to.parent, &to.name, rename_mode(flags)?)
        });
    }

    // Attributes.

    operation!(now getattr(fs, _req, ino: INodeNo, _fh: Option<FileHandle>; ReplyAttr) => fs.getattr(ino.0));

    operation!(now setattr(
        fs, req, ino: INodeNo, mode: Option<u32>, uid: Option<u32>, gid: Option<u32>, size: Option<u64>,
        atime: Option<TimeOrNow>, mtime: Option<TimeOrNow>, _ctime: Option<SystemTime>, _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>, _chgtime: Option<SystemTime>, _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>; ReplyAttr
    ) => {
        let perm = mode.map(|mode| mode & 0o7777);
        let set = SetAttr { perm, uid, gid, size, atime: atime.map(set_time), mtime: mtime.map(set_time) };
        fs.setattr(ino.0, set, kills(req))
    });

    operation!(now readlink(fs, _req, ino: INodeNo; ReplyData) => fs.readlink(ino.0));

    operation!(now statfs(fs, _req, _ino: INodeNo; ReplyStatfs) => fs.statfs());

    operation!(now setxattr(
        fs, req, ino: INodeNo, name: &OsStr, value: &[u8], flags: i32, _position: u32; ReplyEmpty
    ) => fs.setxattr(ino.0, name.as_bytes(), value, xattr_mode(flags)?, is_in(req)));

    fn getxattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, room: u32, reply: ReplyXattr) {
        let name = name.as_bytes().to_vec();
        later_if(Filesystem::is_virtual(&name), &self.fs, "getxattr", reply, move |fs| {
            Ok(XattrValue {
                value: fs.getxattr(ino.0, &name)?,
                room,
            })
        });
    }

    operation!(now listxattr(fs, req, ino: INodeNo, room: u32; ReplyXattr) => {
        let names = fs.listxattr(ino.0, is_root(req))?.into_iter();
        Ok(XattrValue { value: names.flat_map(|name| name.into_iter().chain([0])).collect(), room })
    });

    operation!(now removexattr(fs, _req, ino: INodeNo, name: &OsStr; ReplyEmpty) => fs.removexattr(ino.0, name.as_bytes()));

    // Contents.

    // Without O_TRUNC: the kernel truncates by setattr.
    operation!(now open(fs, _req, ino: INodeNo, _flags: OpenFlags; ReplyOpen) => fs.open(ino.0).map(Opened::file));

    fn read(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = || {
            self.fs.read(ino.0, offset, size, move |result| match result {
                Ok(data) => reply.data(&data),
                Err(error) => refuse("read", reply, &error),
            });
            self.fs.has_read(fh.0, offset, size);
            Ok(())
        };
        // On a panic the reply is dropped, which answers EIO.
        let _ = guarded(&self.fs, "read", read);
    }

    fn write(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let kill = write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
        // Pages of a mapping are written by the kernel, under some handle of the file; it would throw them away.
        let asked = !write_flags.contains(WriteFlags::FUSE_WRITE_CACHE);
        let write = move |fs: &Filesystem, data: &[u8]| {
            if asked {
                fs.tell_lost(fh.0)?;
            }
            fs.write(ino.0, offset, data, kill)
        };
        if self.fs.write_waits() {
            let data = data.to_vec();
            later(&self.fs, "write", reply, move |fs| write(fs, &data));
        } else {
            now(&self.fs, "write", reply, |fs| write(fs, data));
        }
    }

    fn flush(&self, _req: &Request, ino: INodeNo, fh: FileHandle, _lock_owner: LockOwner, reply: ReplyEmpty) {
        later_if(self.fs.is_dirty(ino.0), &self.fs, "flush", reply, move |fs| {
            fs.flush(ino.0)?;
            fs.tell_lost_at_close(fh.0)
        });
    }

    operation!(now release(
        fs, _req, _ino: INodeNo, fh: FileHandle, _flags: OpenFlags, _lock_owner: Option<LockOwner>, _flush: bool; ReplyEmpty
    ) => fs.release(fh.0));

    operation!(later fsync(fs, _req, ino: INodeNo, fh: FileHandle, _datasync: bool; ReplyEmpty) => {
        fs.fsync(ino.0)?;
        fs.tell_lost(fh.0)
    });

    operation!(now fallocate(
        fs, req, ino: INodeNo, _fh: FileHandle, offset: u64, length: u64, mode: i32; ReplyEmpty
    ) => fs.fallocate(ino.0, offset, length, allocation(mode)?, kills(req)));

    operation!(later lseek(fs, _req, ino: INodeNo, _fh: FileHandle, offset: i64, whence: i32; ReplyLseek) => {
        let (from, what) = seek(offset, whence)?;
        fs.lseek(ino.0, from, what)
    });

    fn copy_file_range(
        &self,
        req: &Request,
        ino_in: INodeNo,
        _fh_in: FileHandle,
        offset_in: u64,
        ino_out: INodeNo,
        fh_out: FileHandle,
        offset_out: u64,
        length: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let place = |ino: INodeNo, offset| Place { ino: ino.0, offset };
        let (from, to, kill) = (place(ino_in, offset_in), place(ino_out, offset_out), kills(req));
        later(&self.fs, "copy_file_range", reply, move |fs| {
            fs.tell_lost(fh_out.0)?;
            fs.copy_file_range(from, to, length, kill)
        });
    }

    fn ioctl(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _flags: IoctlFlags,
        _cmd: u32,
        _in_data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(fuser::Errno::ENOTTY);
    }

    // Directories.

    operation!(now opendir(fs, _req, ino: INodeNo, _flags: OpenFlags; ReplyOpen) => fs.opendir(ino.0).map(Opened::directory));

    fn readdir(&self, _req: &Request, _ino: INodeNo, fh: FileHandle, offset: u64, reply: ReplyDirectory) {
        list::names(&self.fs, fh.0, offset, reply);
    }

    fn readdirplus(&self, _req: &Request, _ino: INodeNo, fh: FileHandle, offset: u64, reply: ReplyDirectoryPlus) {
        list::names_with_attributes(&self.fs, fh.0, offset, reply);
    }

    operation!(now releasedir(fs, _req, _ino: INodeNo, fh: FileHandle, _flags: OpenFlags; ReplyEmpty) => {
        fs.releasedir(fh.0);
        Ok(())
    });

    operation!(later fsyncdir(fs, _req, _ino: INodeNo, _fh: FileHandle, _datasync: bool; ReplyEmpty) => fs.fsyncdir());
}
