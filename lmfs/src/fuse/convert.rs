//! The filesystem's types and the kernel's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo, TimeOrNow};

use crate::fs::{Attr, Kind, SetTime, Time, from_system_time};

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
        perm: u16::try_from(attr.perm & 0o7777).unwrap_or(0),
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

/// A time to set. fuser 0.18.0 takes the nanoseconds of a time before 1970 away from the seconds instead of adding them;
/// here they are put right.
pub fn set_time(time: TimeOrNow) -> SetTime {
    match time {
        TimeOrNow::Now => SetTime::Now,
        TimeOrNow::SpecificTime(time) => SetTime::At(match UNIX_EPOCH.duration_since(time) {
            Ok(before) if !before.is_zero() => Time {
                secs: i64::try_from(before.as_secs()).map_or(i64::MIN, |secs| -secs),
                nanos: before.subsec_nanos(),
            },
            _ => from_system_time(time),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_keep_their_nanoseconds() {
        let sent = Time {
            secs: -2,
            nanos: 800_000_000,
        };
        // What fuser makes of it.
        let mangled = UNIX_EPOCH - Duration::new(2, 800_000_000);
        assert_eq!(set_time(TimeOrNow::SpecificTime(mangled)), SetTime::At(sent));
        assert_eq!(from_system_time(system_time(sent)), sent);
        for time in [
            Time { secs: 5, nanos: 7 },
            Time { secs: -1, nanos: 0 },
            Time { secs: 0, nanos: 1 },
        ] {
            assert_eq!(from_system_time(system_time(time)), time);
        }
        let least = Time {
            secs: i64::MIN,
            nanos: 0,
        };
        let sent = UNIX_EPOCH - Duration::from_secs(1 << 63);
        assert_eq!(set_time(TimeOrNow::SpecificTime(sent)), SetTime::At(least));
        assert_eq!(from_system_time(system_time(least)), least);
        let after = UNIX_EPOCH + Duration::new(3, 4);
        assert_eq!(
            set_time(TimeOrNow::SpecificTime(after)),
            SetTime::At(Time { secs: 3, nanos: 4 })
        );
    }
}
