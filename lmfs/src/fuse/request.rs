//! What the kernel asks, in the filesystem's words: flags and modes become types, unknown ones are refused.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use fuser::{INodeNo, RenameFlags, Request};

use super::convert::kind;
use crate::fs::{Allocate, Caller, Create, Errno, Error, Kind, RenameMode, Result, Seek, XattrMode};
use crate::proc_status::field;
use crate::task::Asker;

/// Who asks.
pub fn caller(req: &Request) -> Caller {
    Caller {
        uid: req.uid(),
        gid: req.gid(),
    }
}

/// Whose turn the request takes.
pub fn asker(req: &Request) -> Asker {
    Asker {
        uid: req.uid(),
        pid: req.pid(),
    }
}

/// Whether root asks, who may do what others may not.
pub fn is_root(req: &Request) -> bool {
    req.uid() == 0
}

/// Whether a change of contents by this caller clears set-user-id bits: root may keep them (CAP_FSETID).
pub fn kills(req: &Request) -> bool {
    !is_root(req)
}

/// Tells of a group whether the caller is in it, or may do as if (root, who has CAP_FSETID). The request names one
/// group; the others are looked up when they matter.
pub fn is_in(req: &Request) -> impl FnOnce(u32) -> bool + use<> {
    let (uid, gid, pid) = (req.uid(), req.gid(), req.pid());
    move |group| uid == 0 || gid == group || is_supplementary(pid, group)
}

/// Whether a thread has a group among its supplementary ones. No for one that cannot be seen: of another pid namespace,
/// or gone.
fn is_supplementary(pid: u32, group: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
    status.is_ok_and(|status| lists(&status, group))
}

/// Whether a `/proc/PID/status` (man 5 proc_pid_status) lists a supplementary group.
fn lists(status: &str, group: u32) -> bool {
    field(status, "Groups").is_some_and(|groups| groups.split_whitespace().any(|number| number.parse() == Ok(group)))
}

/// A name in a directory, to take along.
pub struct Name {
    /// The directory.
    pub parent: u64,
    /// The name.
    pub name: Vec<u8>,
}

impl Name {
    /// `name` in `parent`.
    pub fn new(parent: INodeNo, name: &OsStr) -> Name {
        Name {
            parent: parent.0,
            name: name.as_bytes().to_vec(),
        }
    }
}

/// What `mkdir`, `create` and `mknod` make: something of `kind` with the permission bits of `mode`, before `umask`.
pub fn made(kind: Kind, mode: u32, umask: u32) -> Create {
    Create {
        umask,
        ..Create::new(kind, mode & 0o7777)
    }
}

/// What `mknod` makes.
pub fn node(mode: u32, umask: u32, rdev: u32) -> Result<Create> {
    let kind = kind(mode).ok_or(Error::new(Errno::INVAL, "mknod makes no such kind"))?;
    Ok(Create {
        rdev: rdev.into(),
        ..made(kind, mode, umask)
    })
}

/// What `symlink` makes.
pub fn link_to(target: &Path) -> Create {
    Create {
        target: target.as_os_str().as_bytes().to_vec(),
        ..Create::new(Kind::Symlink, 0o777)
    }
}

/// How `renameat2` treats what has the new name already, and what it leaves of the old name.
pub fn rename_mode(flags: RenameFlags, owner: Caller) -> Result<RenameMode> {
    match flags {
        flags if flags.is_empty() => Ok(RenameMode::Replace),
        RenameFlags::RENAME_NOREPLACE => Ok(RenameMode::NoReplace),
        RenameFlags::RENAME_EXCHANGE => Ok(RenameMode::Exchange),
        RenameFlags::RENAME_WHITEOUT => Ok(RenameMode::Whiteout { replace: true, owner }),
        flags if flags == RenameFlags::RENAME_WHITEOUT | RenameFlags::RENAME_NOREPLACE => {
            Ok(RenameMode::Whiteout { replace: false, owner })
        }
        _ => Err(Error::new(Errno::INVAL, "unknown flags of rename")),
    }
}

/// How `setxattr` treats an attribute that is there.
pub fn xattr_mode(flags: i32) -> Result<XattrMode> {
    match flags {
        0 => Ok(XattrMode::Any),
        libc::XATTR_CREATE => Ok(XattrMode::Create),
        libc::XATTR_REPLACE => Ok(XattrMode::Replace),
        _ => Err(Error::new(Errno::INVAL, "unknown flags of setxattr")),
    }
}

/// What `fallocate` does.
pub fn allocation(mode: i32) -> Result<Allocate> {
    let keep_size = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
    match mode & !libc::FALLOC_FL_KEEP_SIZE {
        0 => Ok(Allocate::Reserve { keep_size }),
        libc::FALLOC_FL_PUNCH_HOLE if keep_size => Ok(Allocate::PunchHole),
        libc::FALLOC_FL_ZERO_RANGE => Ok(Allocate::ZeroRange { keep_size }),
        _ => Err(Error::new(Errno::OPNOTSUPP, "unknown mode of fallocate")),
    }
}

/// What `lseek` looks for, and from where; the kernel does the other kinds itself.
pub fn seek(offset: i64, whence: i32) -> Result<(u64, Seek)> {
    let what = match whence {
        libc::SEEK_DATA => Seek::Data,
        libc::SEEK_HOLE => Seek::Hole,
        _ => return Err(Error::new(Errno::INVAL, "unknown kind of lseek")),
    };
    let from = u64::try_from(offset).map_err(|_| Error::new(Errno::NXIO, "lseek before the start"))?;
    Ok((from, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only the group that the request names was looked at: `setfacl` took the set-group-id bit from members' files.
    #[test]
    fn supplementary_groups_are_found() {
        let status = "Name:\tsetfacl\nGid:\t1\t1\t1\t1\nGroups:\t7 4000000000 \nNStgid:\t12\n";
        assert!(lists(status, 7) && lists(status, 4_000_000_000));
        assert!(!lists(status, 1) && !lists(status, 12) && !lists(status, 400_000_000));
        assert!(!lists("Groups:\t\n", 0) && !lists("", 0));
        assert!(!is_supplementary(0, 0), "there is no such process");
        let mine = rustix::process::getgroups().unwrap_or_default();
        assert!(
            mine.iter()
                .all(|group| is_supplementary(std::process::id(), group.as_raw()))
        );
    }

    #[test]
    fn flags_that_are_not_known_are_refused() {
        let errno = |error: Error| error.errno;
        let both = RenameFlags::RENAME_WHITEOUT | RenameFlags::RENAME_EXCHANGE;
        let owner = Caller { uid: 1, gid: 2 };
        assert_eq!(rename_mode(both, owner).map_err(errno), Err(Errno::INVAL));
        assert_eq!(
            rename_mode(RenameFlags::RENAME_WHITEOUT, owner).map_err(errno),
            Ok(RenameMode::Whiteout { replace: true, owner })
        );
        assert_eq!(xattr_mode(4).map_err(errno), Err(Errno::INVAL));
        assert_eq!(
            allocation(libc::FALLOC_FL_PUNCH_HOLE).map_err(errno),
            Err(Errno::OPNOTSUPP)
        );
        assert_eq!(
            allocation(libc::FALLOC_FL_COLLAPSE_RANGE).map_err(errno),
            Err(Errno::OPNOTSUPP)
        );
        assert_eq!(seek(-1, libc::SEEK_DATA).map_err(errno), Err(Errno::NXIO));
        assert_eq!(seek(0, libc::SEEK_SET).map_err(errno), Err(Errno::INVAL));
        assert_eq!(node(libc::S_IFLNK, 0, 0).map_err(errno), Err(Errno::INVAL));
        let keep_size = true;
        assert_eq!(
            allocation(libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE).map_err(errno),
            Ok(Allocate::ZeroRange { keep_size })
        );
        assert_eq!(seek(7, libc::SEEK_HOLE).map_err(errno), Ok((7, Seek::Hole)));
    }
}
