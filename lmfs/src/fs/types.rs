//! Requests and replies of the filesystem, in its own words.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

pub use lmfs_indexer::{Kind, MAX_NAME, ROOT_INO as ROOT, Time};

use crate::cache::CacheStats;

/// Largest size of a file.
pub const MAX_SIZE: u64 = i64::MAX as u64;

/// Who asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// User, becomes the owner of what is created.
    pub uid: u32,
    /// Group, becomes the group of what is created.
    pub gid: u32,
}

/// What `stat` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr {
    /// Inode number.
    pub ino: u64,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, 07777.
    pub perm: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device file.
    pub rdev: u64,
    /// Hard links.
    pub nlink: u32,
    /// Bytes.
    pub size: u64,
    /// 512-byte units that the contents take in the store, rounded up.
    pub blocks: u64,
    /// Preferred size of reads and writes: the store's block size.
    pub blksize: u32,
    /// Last access.
    pub atime: Time,
    /// Last change of the contents.
    pub mtime: Time,
    /// Last change of the inode.
    pub ctime: Time,
    /// Birth.
    pub crtime: Time,
}

/// A time to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// The time of the request (`UTIME_NOW`).
    Now,
    /// This time.
    At(Time),
}

/// What `setattr` changes; what is `None` stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttr {
    /// Permission bits, 07777.
    pub perm: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Size: truncate or extend.
    pub size: Option<u64>,
    /// Last access.
    pub atime: Option<SetTime>,
    /// Last change of the contents.
    pub mtime: Option<SetTime>,
}

/// What is to be created under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Create {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, 07777, before `umask`.
    pub perm: u32,
    /// The creator's umask.
    pub umask: u32,
    /// Device number of a device file.
    pub rdev: u64,
    /// Target of a symbolic link.
    pub target: Vec<u8>,
}

impl Create {
    /// A file of `kind` with permission bits that no umask restricts.
    pub fn new(kind: Kind, perm: u32) -> Create {
        Create {
            kind,
            perm,
            umask: 0,
            rdev: 0,
            target: Vec::new(),
        }
    }
}

/// How a rename treats what has the new name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameMode {
    /// It is replaced.
    Replace,
    /// It is an error (`RENAME_NOREPLACE`).
    NoReplace,
    /// The two trade names (`RENAME_EXCHANGE`).
    Exchange,
    /// The old name stays and leads to a whiteout (`RENAME_WHITEOUT`): a character device 0:0, by which overlayfs says
    /// that a name of the layer below is deleted.
    Whiteout {
        /// What has the new name already is replaced; else it is an error.
        replace: bool,
        /// Whose the whiteout is.
        owner: Caller,
    },
}

/// How an extended attribute is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XattrMode {
    /// Created or replaced.
    Any,
    /// It must not exist yet (`XATTR_CREATE`).
    Create,
    /// It must exist (`XATTR_REPLACE`).
    Replace,
}

/// What `fallocate` does with its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocate {
    /// Makes the file reach the end of the range, unless `keep_size`.
    Reserve {
        /// Leave the size alone.
        keep_size: bool,
    },
    /// Makes the range a hole (`PUNCH_HOLE`, always with `KEEP_SIZE`).
    PunchHole,
    /// Makes the range read as zeros.
    ZeroRange {
        /// Leave the size alone.
        keep_size: bool,
    },
}

/// A place in a file.
#[derive(Clone, Copy, Debug)]
pub struct FilePosition {
    /// The file.
    pub ino: u64,
    /// Bytes before the place.
    pub offset: u64,
}

/// What `lseek` looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// The next data (`SEEK_DATA`).
    Data,
    /// The next hole (`SEEK_HOLE`); the end of the file counts as one.
    Hole,
}

/// One name of a directory listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The inode.
    pub ino: u64,
    /// What it is.
    pub kind: Kind,
    /// Where listing continues after this entry.
    pub offset: u64,
    /// The name.
    pub name: Vec<u8>,
}

/// What `statfs` answers, in units of `block_size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatFs {
    /// Bytes of a unit.
    pub block_size: u32,
    /// Units there are: used by the store and free.
    pub blocks: u64,
    /// Units free.
    pub free: u64,
    /// Units of these that files may take: the others are kept for deleting and collecting garbage.
    pub available: u64,
    /// Inodes there are and may be.
    pub files: u64,
    /// Inodes that may still be made.
    pub files_free: u64,
    /// Longest name in bytes.
    pub name_max: u32,
}

/// What the filesystem did since the mount and holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// The cache of decoded blocks.
    pub cache: CacheStats,
    /// Written bytes that are not in the log yet.
    pub dirty_bytes: u64,
    /// Files they belong to.
    pub dirty_files: u64,
    /// Open files.
    pub open_files: u64,
    /// Blocks found unreadable, each counted once.
    pub bad_blocks: u64,
    /// Flushes that failed and are retried.
    pub flush_errors: u64,
    /// A flush failed, and none of a file that had failed came through since.
    pub failing: bool,
    /// Failures to make the log durable.
    pub sync_errors: u64,
    /// Operations and jobs that panicked. Always 0, unless there is a bug.
    pub panics: u64,
}

/// A time as the store keeps it.
pub(crate) fn now() -> Time {
    from_system_time(SystemTime::now())
}

/// Seconds rounded down and nanoseconds after them, also before 1970. Beyond the range of `i64` it saturates.
pub(crate) fn from_system_time(time: SystemTime) -> Time {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => Time {
            secs: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            nanos: after.subsec_nanos(),
        },
        Err(error) => {
            let before = error.duration();
            let secs = i64::try_from(before.as_secs()).map_or(i64::MIN, |secs| -secs);
            match before.subsec_nanos() {
                0 => Time { secs, nanos: 0 },
                nanos => Time {
                    secs: secs.saturating_sub(1),
                    nanos: 1_000_000_000 - nanos,
                },
            }
        }
    }
}
