//! How a result of the filesystem becomes a reply to the kernel.

use std::sync::OnceLock;
use std::time::Duration;

use fuser::{
    FileHandle, FopenFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen,
    ReplyStatfs, ReplyStatx, ReplyWrite, ReplyXattr,
};

use super::convert::{file_attr, generation};
use crate::fs::{Attr, StatFs};

/// How long the kernel may believe what it was told. Nobody else changes a mounted store, and where the filesystem does
/// so on its own (how much space a file takes) it says so.
const LONG: Duration = Duration::from_secs(3600);

/// A shorter time, if somebody else changes the store. A process has one mount.
static SHORT: OnceLock<Duration> = OnceLock::new();

/// From now on the kernel may believe what it is told for so long, and drops the pages of a file when it is opened. The
/// first call counts.
pub fn believe_for(time: Duration) {
    let _ = SHORT.set(time);
}

/// How long the kernel may believe what it is told now.
pub fn ttl() -> &'static Duration {
    SHORT.get().unwrap_or(&LONG)
}

/// A reply that can be an error. Dropped unanswered, it answers EIO by itself.
pub trait Refuse: Send + 'static {
    /// Answers with an errno.
    fn refuse(self, errno: fuser::Errno);
}

macro_rules! refuse {
    ($($reply:ident)*) => {
        $(impl Refuse for fuser::$reply {
            fn refuse(self, errno: fuser::Errno) {
                self.error(errno);
            }
        })*
    };
}

refuse!(ReplyAttr ReplyCreate ReplyData ReplyDirectory ReplyDirectoryPlus ReplyEmpty ReplyEntry);
refuse!(ReplyLseek ReplyOpen ReplyStatfs ReplyStatx ReplyWrite ReplyXattr);

/// A reply that a result of type `T` answers.
pub trait Answer<T>: Refuse {
    /// Answers with `value`.
    fn answer(self, value: T);
}

/// A handle that was opened.
pub struct OpenReply {
    handle: u64,
    flags: FopenFlags,
}

impl OpenReply {
    /// A file's handle. All changes to a file go through the kernel's page cache, so what it holds stays true when the
    /// file is opened again, unless somebody else changes the store.
    pub fn file(handle: u64) -> OpenReply {
        let flags = match SHORT.get() {
            None => FopenFlags::FOPEN_KEEP_CACHE,
            Some(_) => FopenFlags::empty(),
        };
        OpenReply { handle, flags }
    }

    /// A directory's handle.
    pub fn directory(handle: u64) -> OpenReply {
        OpenReply {
            handle,
            flags: FopenFlags::empty(),
        }
    }
}

/// The value of an extended attribute, or a list of their names.
pub struct XattrValue {
    /// The bytes.
    pub value: Vec<u8>,
    /// How many the caller takes; 0 asks for the length alone (man 2 getxattr).
    pub room: u32,
}

impl Answer<()> for ReplyEmpty {
    fn answer(self, (): ()) {
        self.ok();
    }
}

impl Answer<Attr> for ReplyEntry {
    fn answer(self, attr: Attr) {
        self.entry(ttl(), &file_attr(&attr), generation(&attr));
    }
}

impl Answer<Attr> for ReplyAttr {
    fn answer(self, attr: Attr) {
        self.attr(ttl(), &file_attr(&attr));
    }
}

impl Answer<Attr> for ReplyStatx {
    fn answer(self, attr: Attr) {
        self.statx(ttl(), &file_attr(&attr));
    }
}

impl Answer<Vec<u8>> for ReplyData {
    fn answer(self, data: Vec<u8>) {
        self.data(&data);
    }
}

impl Answer<u32> for ReplyWrite {
    fn answer(self, count: u32) {
        self.written(count);
    }
}

impl Answer<OpenReply> for ReplyOpen {
    fn answer(self, opened: OpenReply) {
        self.opened(FileHandle(opened.handle), opened.flags);
    }
}

impl Answer<(Attr, OpenReply)> for ReplyCreate {
    fn answer(self, (attr, opened): (Attr, OpenReply)) {
        self.created(
            ttl(),
            &file_attr(&attr),
            generation(&attr),
            FileHandle(opened.handle),
            opened.flags,
        );
    }
}

impl Answer<StatFs> for ReplyStatfs {
    fn answer(self, s: StatFs) {
        self.statfs(
            s.blocks,
            s.free,
            s.available,
            s.files,
            s.files_free,
            s.block_size,
            s.name_max,
            s.block_size,
        );
    }
}

impl Answer<u64> for ReplyLseek {
    fn answer(self, at: u64) {
        match i64::try_from(at) {
            Ok(at) => self.offset(at),
            Err(_) => self.error(fuser::Errno::EOVERFLOW),
        }
    }
}

impl Answer<XattrValue> for ReplyXattr {
    fn answer(self, XattrValue { value, room }: XattrValue) {
        match (room, u32::try_from(value.len())) {
            (0, Ok(len)) => self.size(len),
            (room, Ok(len)) if len <= room => self.data(&value),
            _ => self.error(fuser::Errno::ERANGE),
        }
    }
}
