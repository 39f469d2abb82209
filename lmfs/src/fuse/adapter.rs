//! The operations, one by one: kernel types in, filesystem types out and back.

use std::ffi::OsStr;
use std::future::Future;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, FileHandle, INodeNo, IoctlFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags,
    ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl,
    ReplyLseek, ReplyOpen, ReplyStatfs, ReplyStatx, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use super::answer::{self, now, soon};
use super::convert::set_time;
use super::killed::Watch;
use super::reply::{Answer, OpenReply, XattrValue};
use super::request::{
    Name, allocation, asker, caller, is_in, is_root, kills, link_to, made, node, rename_mode, seek, xattr_mode,
};
use super::{capabilities, list};
use crate::fs::{self, FilePosition, Filesystem, Kind, SetAttr, virtual_xattr};
use crate::task::Asker;

/// The kernel's view of a filesystem.
pub struct Adapter {
    fs: Arc<Filesystem>,
    watch: Watch,
}

impl Adapter {
    /// An adapter for `fs`. Requests that wait end when `watch` finds their callers killed.
    pub fn new(fs: Arc<Filesystem>, watch: Watch) -> Adapter {
        Adapter { fs, watch }
    }

    /// Runs `run` with the filesystem and answers when it has ended; no thread is held while it waits.
    fn later<R: Answer<T>, T: Send + 'static, F: Future<Output = fs::Result<T>> + Send + 'static>(
        &self,
        operation: &'static str,
        req: &Request,
        reply: R,
        run: impl FnOnce(Arc<Filesystem>, Asker) -> F,
    ) {
        let asker = asker(req);
        let request = answer::Request { operation, asker };
        answer::later(&self.fs, &self.watch, request, reply, run(self.fs.clone(), asker));
    }
}

/// `operation!(HOW NAME(FS, REQUEST, ARGUMENTS...; REPLY) => RESULT)`: the method `NAME` of [`fuser::Filesystem`]
/// evaluates RESULT, with the filesystem as FS, and answers REPLY with it: `now`, or `later`, and then RESULT may
/// await.
macro_rules! operation {
    (now $name:ident($fs:ident, $req:ident $(, $argument:ident: $type:ty)*; $reply:ty) => $run:expr) => {
        fn $name(&self, $req: &Request, $($argument: $type,)* reply: $reply) {
            now(&self.fs, stringify!($name), reply, move |$fs: &Filesystem| $run);
        }
    };
    (later $name:ident($fs:ident, $asker:ident $(, $argument:ident: $type:ty)*; $reply:ty) => $run:expr) => {
        fn $name(&self, req: &Request, $($argument: $type,)* reply: $reply) {
            self.later(stringify!($name), req, reply, move |$fs, $asker| async move { $run });
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
        Ok((attr, OpenReply::file(fs.open(attr.ino)?)))
    });

    operation!(now tmpfile(fs, req, parent: INodeNo, mode: u32, umask: u32, flags: i32; ReplyCreate) => {
        let linkable = flags & libc::O_EXCL == 0;
        let (attr, handle) = fs.tmpfile(parent.0, made(Kind::File, mode, umask), caller(req), linkable)?;
        Ok((attr, OpenReply::file(handle)))
    });

    operation!(now unlink(fs, _req, parent: INodeNo, name: &OsStr; ReplyEmpty) => fs.unlink(parent.0, name.as_bytes()));

    operation!(now rmdir(fs, _req, parent: INodeNo, name: &OsStr; ReplyEmpty) => fs.rmdir(parent.0, name.as_bytes()));

    operation!(now link(fs, _req, ino: INodeNo, parent: INodeNo, name: &OsStr; ReplyEntry) =>
        fs.link(ino.0, parent.0, name.as_bytes()));

    fn rename(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (from, to) = (Name::new(parent, name), Name::new(newparent, newname));
        let (fs, asker, owner) = (self.fs.clone(), asker(req), caller(req));
        let waits = self.fs.rename_would_block(from.parent, &from.name);
        let run = async move {
            let mode = rename_mode(flags, owner)?;
            fs.rename_async(from.parent, &from.name, to.parent, &to.name, mode, asker)
                .await
        };
        let request = answer::Request {
            operation: "rename",
            asker,
        };
        // What has to store data first does that elsewhere, and not on the thread that takes requests.
        if waits {
            answer::later(&self.fs, &self.watch, request, reply, run);
        } else {
            soon(&self.fs, &self.watch, request, reply, run);
        }
    }

    // Attributes.

    operation!(now getattr(fs, _req, ino: INodeNo, _fh: Option<FileHandle>; ReplyAttr) => fs.getattr(ino.0));

    operation!(now statx(fs, _req, ino: INodeNo, _fh: Option<FileHandle>, _mask: u32; ReplyStatx) => fs.getattr(ino.0));

    operation!(now setattr(
        fs, req, ino: INodeNo, mode: Option<u32>, uid: Option<u32>, gid: Option<u32>, size: Option<u64>,
        atime: Option<TimeOrNow>, mtime: Option<TimeOrNow>, _ctime: Option<SystemTime>, _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>, _chgtime: Option<SystemTime>, _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>; ReplyAttr
    ) => {
        let perm = mode.map(|mode| mode & 0o7777);
        let set = SetAttr { perm, uid, gid, size, atime: atime.map(set_time), mtime: mtime.map(set_time) };
        if size.is_some() {
            fs.clear_group_bit(ino.0, is_in(req))?;
        }
        fs.setattr(ino.0, set, kills(req))
    });

    operation!(now readlink(fs, _req, ino: INodeNo; ReplyData) => fs.readlink(ino.0));

    operation!(now statfs(fs, _req, _ino: INodeNo; ReplyStatfs) => fs.statfs());

    operation!(now setxattr(
        fs, req, ino: INodeNo, name: &OsStr, value: &[u8], flags: i32, _position: u32; ReplyEmpty
    ) => fs.setxattr(ino.0, name.as_bytes(), value, xattr_mode(flags)?, is_in(req)));

    fn getxattr(&self, req: &Request, ino: INodeNo, name: &OsStr, room: u32, reply: ReplyXattr) {
        let name = name.as_bytes();
        if !virtual_xattr::is_virtual(name) {
            return now(&self.fs, "getxattr", reply, |fs| {
                let value = fs.getxattr(ino.0, name)?;
                Ok(XattrValue { value, room })
            });
        }
        let name = name.to_vec();
        self.later("getxattr", req, reply, move |fs, _| async move {
            let value = fs.virtual_xattr(ino.0, &name).await?;
            Ok(XattrValue { value, room })
        });
    }

    operation!(now listxattr(fs, req, ino: INodeNo, room: u32; ReplyXattr) => {
        let names = fs.listxattr(ino.0, is_root(req))?.into_iter();
        Ok(XattrValue { value: names.flat_map(|name| name.into_iter().chain([0])).collect(), room })
    });

    operation!(now removexattr(fs, _req, ino: INodeNo, name: &OsStr; ReplyEmpty) =>
        fs.removexattr(ino.0, name.as_bytes()));

    // Contents.

    // Without O_TRUNC: the kernel truncates by setattr.
    operation!(now open(fs, _req, ino: INodeNo, _flags: OpenFlags; ReplyOpen) => fs.open(ino.0).map(OpenReply::file));

    fn read(
        &self,
        req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let (fs, asker) = (self.fs.clone(), asker(req));
        let request = answer::Request {
            operation: "read",
            asker,
        };
        let run = async move { fs.read(ino.0, offset, size, asker).await };
        soon(&self.fs, &self.watch, request, reply, run);
        // The reader has its answer, or waits for it; what it will want next comes after that.
        let ahead = || {
            self.fs.note_read(fh.0, offset, size);
            Ok(())
        };
        let _ = answer::guarded(&self.fs, "read-ahead", ahead);
    }

    fn write(
        &self,
        req: &Request,
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
        let is_in = is_in(req);
        // Pages of a mapping are written by the kernel, under some handle of the file; it would throw them away.
        let asked = !write_flags.contains(WriteFlags::FUSE_WRITE_CACHE);
        let at_once = answer::guarded(&self.fs, "write", || {
            if asked {
                self.fs.tell_lost(fh.0)?;
            }
            if kill {
                self.fs.clear_group_bit(ino.0, is_in)?;
            }
            self.fs.write_now(ino.0, offset, data, kill)
        });
        match at_once {
            Ok(Some(count)) => reply.answer(count),
            Err(error) => answer::refuse("write", reply, &error),
            Ok(None) => {
                let data = data.to_vec();
                self.later("write", req, reply, move |fs, asker| async move {
                    fs.write_async(ino.0, offset, &data, kill, asker).await
                });
            }
        }
    }

    fn flush(&self, req: &Request, ino: INodeNo, fh: FileHandle, _lock_owner: LockOwner, reply: ReplyEmpty) {
        if !self.fs.is_dirty(ino.0) {
            return now(&self.fs, "flush", reply, |fs| fs.tell_lost_at_close(fh.0));
        }
        let (fs, asker) = (self.fs.clone(), asker(req));
        let request = answer::Request {
            operation: "flush",
            asker,
        };
        // Programs write many small files, and wait for the close of each.
        let quick = fs.flush_is_quick(ino.0);
        let run = async move {
            fs.flush_async(ino.0, asker).await?;
            fs.tell_lost_at_close(fh.0)
        };
        if quick {
            soon(&self.fs, &self.watch, request, reply, run);
        } else {
            answer::later(&self.fs, &self.watch, request, reply, run);
        }
    }

    operation!(now release(
        fs, _req, _ino: INodeNo, fh: FileHandle, _flags: OpenFlags, _lock_owner: Option<LockOwner>, _flush: bool;
        ReplyEmpty
    ) => fs.release(fh.0));

    operation!(later fsync(fs, asker, ino: INodeNo, fh: FileHandle, _datasync: bool; ReplyEmpty) => {
        fs.fsync_async(ino.0, asker).await?;
        fs.tell_lost(fh.0)
    });

    operation!(now fallocate(
        fs, req, ino: INodeNo, _fh: FileHandle, offset: u64, length: u64, mode: i32; ReplyEmpty
    ) => {
        let what = allocation(mode)?;
        fs.clear_group_bit(ino.0, is_in(req))?;
        fs.fallocate(ino.0, offset, length, what, kills(req))
    });

    operation!(later lseek(fs, _asker, ino: INodeNo, _fh: FileHandle, offset: i64, whence: i32; ReplyLseek) => {
        let (from, what) = seek(offset, whence)?;
        fs.lseek_async(ino.0, from, what).await
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
        let place = |ino: INodeNo, offset| FilePosition { ino: ino.0, offset };
        let (from, to, kill) = (place(ino_in, offset_in), place(ino_out, offset_out), kills(req));
        let is_in = is_in(req);
        self.later("copy_file_range", req, reply, move |fs, asker| async move {
            fs.tell_lost(fh_out.0)?;
            fs.clear_group_bit(ino_out.0, is_in)?;
            fs.copy_file_range_async(from, to, length, kill, asker).await
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

    operation!(now opendir(fs, _req, ino: INodeNo, _flags: OpenFlags; ReplyOpen) =>
        fs.opendir(ino.0).map(OpenReply::directory));

    fn readdir(&self, _req: &Request, _ino: INodeNo, fh: FileHandle, offset: u64, reply: ReplyDirectory) {
        list::names(&self.fs, fh.0, offset, reply);
    }

    fn readdirplus(&self, _req: &Request, _ino: INodeNo, fh: FileHandle, offset: u64, reply: ReplyDirectoryPlus) {
        list::names_with_attributes(&self.fs, fh.0, offset, reply);
    }

    operation!(now releasedir(fs, _req, _ino: INodeNo, fh: FileHandle, _flags: OpenFlags; ReplyEmpty) =>
        fs.releasedir(fh.0));

    operation!(later fsyncdir(fs, _asker, _ino: INodeNo, _fh: FileHandle, _datasync: bool; ReplyEmpty) =>
        fs.fsyncdir().await);
}
