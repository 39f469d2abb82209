//! The filesystem's types and the kernel's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, Generation, INodeNo, TimeOrNow};

use crate::fs::{Attr, Kind, ROOT, SetTime, Time, from_system_time};

/// A file's kind in FUSE's words.
pub fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::Fifo => FileType::NamedPipe,
        Kind::Socket => FileType::Socket,
        Kind::CharDevice => FileType::CharDevice,
        Kind::BlockDevice => FileType::BlockDevice,
    }
}

/// The kind that the file type bits of a mode mean; a mode without them means a file (man 2 mknod).
pub fn kind(mode: u32) -> Option<Kind> {
    match mode & libc::S_IFMT {
        0 | libc::S_IFREG => Some(Kind::File),
        libc::S_IFIFO => Some(Kind::Fifo),
        libc::S_IFSOCK => Some(Kind::Socket),
        libc::S_IFCHR => Some(Kind::CharDevice),
        libc::S_IFBLK => Some(Kind::BlockDevice),
        _ => None,
    }
}

/// Attributes in FUSE's words.
pub fn file_attr(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(attr.ino),
        size: attr.size,
        blocks: attr.blocks,
        atime: system_time(attr.atime),
        mtime: system_time(attr.mtime),
        ctime: system_time(attr.ctime),
        crtime: system_time(attr.crtime),
        kind: file_type(attr.kind),
        perm: (attr.perm & 0o7777) as u16,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: u32::try_from(attr.rdev).unwrap_or(u32::MAX),
        blksize: attr.blksize,
        flags: 0,
    }
}

/// A time as the standard library has it; one beyond its range becomes 1970.
fn system_time(time: Time) -> SystemTime {
    let whole = Duration::from_secs(time.secs.unsigned_abs());
    let whole = if time.secs >= 0 {
        UNIX_EPOCH.checked_add(whole)
    } else {
        UNIX_EPOCH.checked_sub(whole)
    };
    let nanos = Duration::from_nanos(time.nanos.into());
    whole.and_then(|whole| whole.checked_add(nanos)).unwrap_or(UNIX_EPOCH)
}

/// A time to set.
pub fn set_time(time: TimeOrNow) -> SetTime {
    match time {
        TimeOrNow::Now => SetTime::Now,
        TimeOrNow::SpecificTime(time) => SetTime::At(from_system_time(time)),
    }
}

/// What tells an inode from another that has its number. A number is used twice only where a crash, or a store that was
/// put back to an older state, took the first inode away. The second one has another time of birth, which never
/// changes. The kernel keeps 32 bits, and wants 0 for the root.
pub fn generation(attr: &Attr) -> Generation {
    if attr.ino == ROOT {
        return Generation(0);
    }
    let Time { secs, nanos } = attr.crtime;
    let nanos = secs
        .wrapping_mul(1_000_000_000)
        .wrapping_add(nanos.into())
        .cast_unsigned();
    Generation((nanos ^ nanos >> 32) & u64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_keep_their_nanoseconds() {
        for (secs, nanos) in [(-2, 800_000_000), (5, 7), (-1, 0), (0, 1), (i64::MIN, 0), (i64::MIN, 1)] {
            let time = Time { secs, nanos };
            let sent = TimeOrNow::SpecificTime(system_time(time));
            assert_eq!(set_time(sent), SetTime::At(time));
        }
    }
}
