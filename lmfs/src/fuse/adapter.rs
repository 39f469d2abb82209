//! The operations, one by one: kernel types in, filesystem types out and back.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, FileHandle, FopenFlags, Generation, INodeNo, InitFlags,
    IoctlFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen,
    ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use super::answer::{guarded, later, now, refuse};
use super::convert::{file_attr, file_type, kind, set_time};
use crate::fs::{
    self, Allocate, Caller, Create, Errno, Error, Filesystem, Kind, RenameMode, Seek, SetAttr,
    XattrMode,
};

/// How long the kernel may believe what it was told. Nobody else changes a mounted store, and where the filesystem does so
/// on its own (how much space a file takes) it says so.
const TTL: Duration = Duration::from_secs(3600);

/// Inode numbers are never used twice while mounted.
const GENERATION: Generation = Generation(0);

/// All changes to a file go through the kernel's cache, so what it holds stays true when the file is opened again.
const KEEP: FopenFlags = FopenFlags::FOPEN_KEEP_CACHE;

/// Largest write in one request.
const MAX_WRITE: u32 = 1 << 20;

/// What is asked of the kernel, each if it can.
const WANTED: [InitFlags; 9] = [
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_CACHE_SYMLINKS,
    InitFlags::FUSE_HANDLE_KILLPRIV_V2,
    InitFlags::FUSE_ATOMIC_O_TRUNC,
    InitFlags::FUSE_ASYNC_DIO,
    InitFlags::FUSE_POSIX_ACL,
    InitFlags::FUSE_DONT_MASK,
];

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

fn caller(req: &Request) -> Caller {
    Caller {
        uid: req.uid(),
        gid: req.gid(),
    }
}

/// Whether a change of contents by this caller clears set-user-id bits: root may keep them (CAP_FSETID).
fn kills(req: &Request) -> bool {
    req.uid() != 0
}

fn entry(reply: ReplyEntry, attr: fs::Attr) {
    reply.entry(&TTL, &file_attr(&attr), GENERATION);
}

fn attr(reply: ReplyAttr, attr: fs::Attr) {
    reply.attr(&TTL, &file_attr(&attr));
}

fn done(reply: ReplyEmpty, (): ()) {
    reply.ok();
}

fn written(reply: ReplyWrite, count: u32) {
    reply.written(count);
}

/// Answers with an attribute's value, or its length when that is all that is asked for (man 2 getxattr).
fn value(size: u32) -> impl FnOnce(ReplyXattr, Vec<u8>) + Send {
    move |reply, value| match (size, u32::try_from(value.len())) {
        (0, Ok(len)) => reply.size(len),
        (size, Ok(len)) if len <= size => reply.data(&value),
        _ => reply.error(fuser::Errno::ERANGE),
    }
}

fn invalid<T>(message: &'static str) -> fs::Result<T> {
    Err(Error::new(Errno::INVAL, message))
}

impl fuser::Filesystem for Adapter {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> io::Result<()> {
        for flag in WANTED {
            if config.add_capabilities(flag).is_err() {
                tracing::debug!(?flag, "the kernel does not know this");
            }
        }
        // A random read must not make the kernel ask for the neighbours: they would have to be decoded. These setters
        // fail beyond the kernel's own limits, which then stay.
        let _ = config.set_max_readahead(self.fs.options().block_size.min(128 << 10));
        let _ = config.set_max_write(MAX_WRITE);
        let _ = config.set_max_background(64);
        Ok(())
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        now(
            &self.fs,
            "lookup",
            reply,
            |fs| fs.lookup(parent.0, name.as_bytes()),
            entry,
        );
    }

    fn forget(&self, _req: &Request, ino: INodeNo, _nlookup: u64) {
        self.fs.forget(ino.0);
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        now(&self.fs, "getattr", reply, |fs| fs.getattr(ino.0), attr);
    }

    fn setattr(
        &self,
        req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let set = SetAttr {
            perm: mode.map(|mode| mode & 0o7777),
            uid,
            gid,
            size,
            atime: atime.map(set_time),
            mtime: mtime.map(set_time),
        };
        now(
            &self.fs,
            "setattr",
            reply,
            |fs| fs.setattr(ino.0, set, kills(req)),
            attr,
        );
    }

    fn readlink(&self, _req: &Request, ino: INodeNo, reply: ReplyData) {
        now(
            &self.fs,
            "readlink",
            reply,
            |fs| fs.readlink(ino.0),
            |reply, target| reply.data(&target),
        );
    }

    fn mknod(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let run = |fs: &Filesystem| {
            let Some(kind) = kind(mode) else {
                return invalid("mknod makes no such kind");
            };
            let what = Create {
                umask,
                rdev: rdev.into(),
                ..Create::new(kind, mode & 0o7777)
            };
            fs.create(parent.0, name.as_bytes(), what, caller(req))
        };
        now(&self.fs, "mknod", reply, run, entry);
    }

    fn mkdir(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let what = Create {
            umask,
            ..Create::new(Kind::Directory, mode & 0o7777)
        };
        now(
            &self.fs,
            "mkdir",
            reply,
            |fs| fs.create(parent.0, name.as_bytes(), what, caller(req)),
            entry,
        );
    }

    fn unlink(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        now(
            &self.fs,
            "unlink",
            reply,
            |fs| fs.unlink(parent.0, name.as_bytes()),
            done,
        );
    }

    fn rmdir(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        now(
            &self.fs,
            "rmdir",
            reply,
            |fs| fs.rmdir(parent.0, name.as_bytes()),
            done,
        );
    }

    fn symlink(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let target = target.as_os_str().as_bytes().to_vec();
        let what = Create {
            target,
            ..Create::new(Kind::Symlink, 0o777)
        };
        now(
            &self.fs,
            "symlink",
            reply,
            |fs| fs.create(parent.0, name.as_bytes(), what, caller(req)),
            entry,
        );
    }

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
        let mode = match flags {
            flags if flags.is_empty() => RenameMode::Replace,
            RenameFlags::RENAME_NOREPLACE => RenameMode::NoReplace,
            RenameFlags::RENAME_EXCHANGE => RenameMode::Exchange,
            _ => return reply.error(fuser::Errno::EINVAL),
        };
        let (name, newname) = (name.as_bytes().to_vec(), newname.as_bytes().to_vec());
        let waits = self.fs.rename_waits(parent.0, &name);
        let run = move |fs: &Filesystem| fs.rename(parent.0, &name, newparent.0, &newname, mode);
        if waits {
            later(&self.fs, "rename", reply, run, done);
        } else {
            now(&self.fs, "rename", reply, run, done);
        }
    }

    fn link(
        &self,
        _req: &Request,
        ino: INodeNo,
        newparent: INodeNo,
        newname: &OsStr,
        reply: ReplyEntry,
    ) {
        now(
            &self.fs,
            "link",
            reply,
            |fs| fs.link(ino.0, newparent.0, newname.as_bytes()),
            entry,
        );
    }

    fn open(&self, req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let truncate = flags.0 & libc::O_TRUNC != 0;
        let run = |fs: &Filesystem| fs.open(ino.0, truncate, kills(req));
        now(&self.fs, "open", reply, run, |reply, fh| {
            reply.opened(FileHandle(fh), KEEP)
        });
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let what = Create {
            umask,
            ..Create::new(Kind::File, mode & 0o7777)
        };
        let run = |fs: &Filesystem| {
            let attr = fs.create(parent.0, name.as_bytes(), what, caller(req))?;
            Ok((attr, fs.open(attr.ino, false, false)?))
        };
        now(&self.fs, "create", reply, run, |reply, (attr, fh)| {
            reply.created(&TTL, &file_attr(&attr), GENERATION, FileHandle(fh), KEEP);
        });
    }

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
            self.fs
                .read(ino.0, offset, size, move |result| match result {
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
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let kill = write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
        if self.fs.write_waits() {
            let data = data.to_vec();
            later(
                &self.fs,
                "write",
                reply,
                move |fs| fs.write(ino.0, offset, &data, kill),
                written,
            );
        } else {
            now(
                &self.fs,
                "write",
                reply,
                |fs| fs.write(ino.0, offset, data, kill),
                written,
            );
        }
    }

    fn flush(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        if self.fs.is_dirty(ino.0) {
            later(&self.fs, "flush", reply, move |fs| fs.flush(ino.0), done);
        } else {
            now(&self.fs, "flush", reply, |fs| fs.flush(ino.0), done);
        }
    }

    fn release(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        now(&self.fs, "release", reply, |fs| fs.release(fh.0), done);
    }

    fn fsync(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        later(&self.fs, "fsync", reply, move |fs| fs.fsync(ino.0), done);
    }

    fn opendir(&self, _req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let opened = |reply: ReplyOpen, fh| reply.opened(FileHandle(fh), FopenFlags::empty());
        now(&self.fs, "opendir", reply, |fs| fs.opendir(ino.0), opened);
    }

    fn readdir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let list = || {
            self.fs.readdir(fh.0, offset, |entry| {
                !reply.add(
                    INodeNo(entry.ino),
                    entry.offset,
                    file_type(entry.kind),
                    OsStr::from_bytes(&entry.name),
                )
            })
        };
        match guarded(&self.fs, "readdir", list) {
            Ok(()) => reply.ok(),
            Err(error) => refuse("readdir", reply, &error),
        }
    }

    fn readdirplus(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let list = || {
            let mut failed = None;
            let listed = self
                .fs
                .readdir(fh.0, offset, |entry| match self.fs.getattr(entry.ino) {
                    Ok(attr) => {
                        let name = OsStr::from_bytes(&entry.name);
                        !reply.add(
                            INodeNo(entry.ino),
                            entry.offset,
                            name,
                            &TTL,
                            &file_attr(&attr),
                            GENERATION,
                        )
                    }
                    // It was removed in the moment.
                    Err(error) if error.errno == Errno::STALE => true,
                    Err(error) => {
                        failed = Some(error);
                        false
                    }
                });
            listed.and(failed.map_or(Ok(()), Err))
        };
        match guarded(&self.fs, "readdirplus", list) {
            Ok(()) => reply.ok(),
            Err(error) => refuse("readdirplus", reply, &error),
        }
    }

    fn releasedir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.fs.releasedir(fh.0);
        reply.ok();
    }

    fn fsyncdir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        later(&self.fs, "fsyncdir", reply, Filesystem::fsyncdir, done);
    }

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        now(&self.fs, "statfs", reply, Filesystem::statfs, |reply, s| {
            reply.statfs(
                s.blocks,
                s.free,
                s.free,
                s.files,
                s.files_free,
                s.block_size,
                s.name_max,
                s.block_size,
            );
        });
    }

    fn setxattr(
        &self,
        req: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let run = |fs: &Filesystem| {
            let mode = match flags {
                0 => XattrMode::Any,
                libc::XATTR_CREATE => XattrMode::Create,
                libc::XATTR_REPLACE => XattrMode::Replace,
                _ => return invalid("unknown flags of setxattr"),
            };
            fs.setxattr(ino.0, name.as_bytes(), value, mode, caller(req))
        };
        now(&self.fs, "setxattr", reply, run, done);
    }

    fn getxattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let name = name.as_bytes().to_vec();
        if Filesystem::is_virtual(&name) {
            later(
                &self.fs,
                "getxattr",
                reply,
                move |fs| fs.getxattr(ino.0, &name),
                value(size),
            );
        } else {
            now(
                &self.fs,
                "getxattr",
                reply,
                |fs| fs.getxattr(ino.0, &name),
                value(size),
            );
        }
    }

    fn listxattr(&self, _req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let run = |fs: &Filesystem| {
            let names = fs.listxattr(ino.0)?;
            Ok(names
                .into_iter()
                .flat_map(|name| name.into_iter().chain([0]))
                .collect())
        };
        now(&self.fs, "listxattr", reply, run, value(size));
    }

    fn removexattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        now(
            &self.fs,
            "removexattr",
            reply,
            |fs| fs.removexattr(ino.0, name.as_bytes()),
            done,
        );
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

    fn fallocate(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let keep_size = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
        let what = match mode & !libc::FALLOC_FL_KEEP_SIZE {
            0 => Allocate::Allocate { keep_size },
            libc::FALLOC_FL_PUNCH_HOLE if keep_size => Allocate::PunchHole,
            libc::FALLOC_FL_ZERO_RANGE => Allocate::ZeroRange { keep_size },
            _ => return reply.error(fuser::Errno::EOPNOTSUPP),
        };
        now(
            &self.fs,
            "fallocate",
            reply,
            |fs| fs.fallocate(ino.0, offset, length, what),
            done,
        );
    }

    fn lseek(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let what = match whence {
            libc::SEEK_DATA => Seek::Data,
            libc::SEEK_HOLE => Seek::Hole,
            _ => return reply.error(fuser::Errno::EINVAL),
        };
        let Ok(from) = u64::try_from(offset) else {
            return reply.error(fuser::Errno::ENXIO);
        };
        let found = |reply: ReplyLseek, at| match i64::try_from(at) {
            Ok(at) => reply.offset(at),
            Err(_) => reply.error(fuser::Errno::EOVERFLOW),
        };
        later(
            &self.fs,
            "lseek",
            reply,
            move |fs| fs.lseek(ino.0, from, what),
            found,
        );
    }

    fn copy_file_range(
        &self,
        _req: &Request,
        ino_in: INodeNo,
        _fh_in: FileHandle,
        offset_in: u64,
        ino_out: INodeNo,
        _fh_out: FileHandle,
        offset_out: u64,
        len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let from = fs::Place {
            ino: ino_in.0,
            offset: offset_in,
        };
        let to = fs::Place {
            ino: ino_out.0,
            offset: offset_out,
        };
        later(
            &self.fs,
            "copy_file_range",
            reply,
            move |fs| fs.copy_file_range(from, to, len),
            written,
        );
    }
}
