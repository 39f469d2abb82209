//! A directory held open, and the files in it: reached from its descriptor, so no path is looked up twice.

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory held open. What is in it is named by one component, and no symbolic link is followed, so nobody who can
/// rename things around it can lead a reader or a writer out of it.
///
/// Root may work in a directory of somebody else. Then what root makes there is given to that owner, who must be able
/// to use it tomorrow, and a file that the owner only linked there from elsewhere is refused.
#[derive(Clone, Debug)]
pub struct Directory {
    fd: Arc<OwnedFd>,
    /// Whose it is, if this is root and it is somebody else's.
    owner: Option<Owner>,
}

/// Who owns a directory that root works in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner {
    uid: Uid,
    gid: Gid,
}

/// What the system says of a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Device and inode: the same as long as it is the same file, whatever its name.
    pub id: (u64, u64),
    /// Length in bytes.
    pub len: u64,
    /// How many names it has.
    pub links: u64,
}

const DIR: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Deepest tree that is removed: what others put into a directory must not exhaust descriptors.
const MAX_DEPTH: usize = 64;

impl Directory {
    /// Opens the directory `path`. The way to it may hold symbolic links.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let fd = rustix::fs::open(path.as_ref(), DIR.difference(OFlags::NOFOLLOW), Mode::empty())?;
        let stat = rustix::fs::fstat(&fd)?;
        let others = rustix::process::geteuid().is_root() && stat.st_uid != 0;
        let owner = others.then(|| Owner {
            uid: Uid::from_raw(stat.st_uid),
            gid: Gid::from_raw(stat.st_gid),
        });
        Ok(Self {
            fd: Arc::new(fd),
            owner,
        })
    }

    /// Where it lies now, absolute and free of links. One that was removed has ` (deleted)` at the end.
    ///
    /// # Errors
    /// When /proc is not there.
    pub fn path(&self) -> io::Result<PathBuf> {
        std::fs::read_link(self.reach())
    }

    /// A path that reaches this very directory, wherever it is moved, as long as it is held open: for libraries that
    /// demand one.
    #[must_use]
    pub fn reach(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))
    }

    /// What the system says of the directory. One without links was removed.
    ///
    /// # Errors
    /// What the system says.
    pub fn stat(&self) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(&self.fd)?.into())
    }

    /// Whether root works in a directory of somebody else.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.owner.is_some()
    }

    /// The directory `name` in it.
    ///
    /// # Errors
    /// What the system says.
    pub fn directory(&self, name: impl AsRef<OsStr>) -> io::Result<Self> {
        Ok(Self {
            fd: Arc::new(rustix::fs::openat(&self.fd, one(name.as_ref())?, DIR, Mode::empty())?),
            owner: self.owner,
        })
    }

    /// Makes the directory `name` (mode 0700) unless it is there.
    ///
    /// # Errors
    /// What the system says.
    pub fn make_directory(&self, name: impl AsRef<OsStr>) -> io::Result<Self> {
        let name = name.as_ref();
        match rustix::fs::mkdirat(&self.fd, one(name)?, Mode::RWXU) {
            Err(rustix::io::Errno::EXIST) => self.directory(name),
            made => {
                made?;
                let made = self.directory(name)?;
                self.hand_over(name, &made.fd);
                Ok(made)
            }
        }
    }

    /// Opens the regular file `name` to read, or to read and write.
    ///
    /// # Errors
    /// What the system says; a symbolic link; what is no regular file.
    pub fn open_file(&self, name: impl AsRef<OsStr>, write: bool) -> io::Result<File> {
        self.file(name.as_ref(), if write { OFlags::RDWR } else { OFlags::RDONLY })
    }

    /// Makes the file `name` (mode 0600), which must not exist yet, to read and write.
    ///
    /// # Errors
    /// What the system says.
    pub fn create_file(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        self.file(name.as_ref(), OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)
    }

    /// Opens the file `name` to read and write, and makes it (mode 0600) if it is not there.
    ///
    /// # Errors
    /// As for [`Directory::open_file`].
    pub fn open_or_create(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        self.file(name.as_ref(), OFlags::RDWR | OFlags::CREATE)
    }

    /// Opens the file `name` to append to, and makes it (mode 0600) if it is not there.
    ///
    /// # Errors
    /// As for [`Directory::open_file`].
    pub fn append_to(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        self.file(name.as_ref(), OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND)
    }

    fn file(&self, name: &OsStr, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = rustix::fs::openat(&self.fd, one(name)?, flags, Mode::RUSR | Mode::WUSR)?;
        let stat = rustix::fs::fstat(&fd)?;
        let refused = |why| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return refused("not a regular file");
        }
        if let Some(owner) = self.owner
            && stat.st_nlink > 1
            && stat.st_uid != owner.uid.as_raw()
        {
            return refused("it has another name elsewhere and belongs to somebody else than the directory");
        }
        if flags.contains(OFlags::CREATE) {
            self.hand_over(name, &fd);
        }
        Ok(fd.into())
    }

    /// What is called `name`: its kind and what the system says of it.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::NotFound`] if there is nothing.
    pub fn look(&self, name: impl AsRef<OsStr>) -> io::Result<(FileType, Stat)> {
        let stat = rustix::fs::statat(&self.fd, one(name.as_ref())?, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok((FileType::from_raw_mode(stat.st_mode), stat.into()))
    }

    /// Bytes that the file `name` takes on the disk, and its length; none for what is no regular file.
    pub(super) fn sizes(&self, name: impl AsRef<OsStr>) -> io::Result<Option<(u64, u64)>> {
        let stat = rustix::fs::statat(&self.fd, one(name.as_ref())?, AtFlags::SYMLINK_NOFOLLOW)?;
        let sizes = || {
            let allocated = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
            (allocated, u64::try_from(stat.st_size).unwrap_or(0))
        };
        Ok((FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile).then(sizes))
    }

    /// The names in it, in no order.
    ///
    /// # Errors
    /// What the system says.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
            }
        }
        Ok(names)
    }

    /// Renames `from` over `to`.
    ///
    /// # Errors
    /// What the system says.
    pub fn rename(&self, from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> io::Result<()> {
        let (from, to) = (one(from.as_ref())?, one(to.as_ref())?);
        Ok(rustix::fs::renameat(&self.fd, from, &self.fd, to)?)
    }

    /// Removes what is called `name` and is no directory.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.fd, one(name.as_ref())?, AtFlags::empty())?)
    }

    /// Removes what is called `name` with all that is in it. Links are removed, what they lead to is not looked at.
    ///
    /// # Errors
    /// What the system says; a tree deeper than 64.
    pub fn remove_all(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        self.remove_to(name.as_ref(), MAX_DEPTH)
    }

    fn remove_to(&self, name: &OsStr, depth: usize) -> io::Result<()> {
        match self.remove(name) {
            // EISDIR from Linux, EPERM where POSIX is followed to the letter.
            Err(e) if matches!(e.raw_os_error(), Some(IS_DIRECTORY | NOT_PERMITTED)) => {}
            removed => return removed,
        }
        let Some(deeper) = depth.checked_sub(1) else {
            return Err(io::Error::other("directories too deep to be removed"));
        };
        let inner = self.directory(name)?;
        for name in inner.names()? {
            inner.remove_to(&name, deeper)?;
        }
        Ok(rustix::fs::unlinkat(&self.fd, one(name)?, AtFlags::REMOVEDIR)?)
    }

    /// Makes its entries durable.
    ///
    /// # Errors
    /// What the system says.
    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.fd)?)
    }

    /// Bytes that can still be written to where it lies.
    pub(super) fn free_space(&self) -> io::Result<u64> {
        let vfs = rustix::fs::fstatvfs(&self.fd)?;
        Ok(vfs.f_bavail.saturating_mul(vfs.f_frsize))
    }

    /// Gives what was made just now to the owner of the directory. It works without that, for root.
    fn hand_over(&self, name: &OsStr, file: impl AsFd) {
        let Some(Owner { uid, gid }) = self.owner else { return };
        if let Err(e) = rustix::fs::chownat(file, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH) {
            let name = name.display();
            tracing::warn!("{name} stays root's: it cannot be given to the owner of the store: {e}");
        }
    }

    /// Runs `work` with the rights of the directory's owner where root works in a directory of somebody else: for
    /// libraries that open files by name, which the owner may turn into links at any time. Threads that `work` starts
    /// keep them.
    ///
    /// # Errors
    /// When the rights cannot be changed; `work` was not run then.
    pub fn as_owner<T>(&self, work: impl FnOnce() -> T) -> io::Result<T> {
        let Some(owner) = self.owner else { return Ok(work()) };
        let _rights = Rights::of(owner)?;
        Ok(work())
    }
}

/// `EISDIR`.
const IS_DIRECTORY: i32 = rustix::io::Errno::ISDIR.raw_os_error();
/// `EPERM`.
const NOT_PERMITTED: i32 = rustix::io::Errno::PERM.raw_os_error();

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// `name`, if it is one component: a path would be looked up.
fn one(name: &OsStr) -> io::Result<&OsStr> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.contains(&b'/') || bytes == b".." {
        let why = format!("'{}' is not the name of a file in a directory", name.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    Ok(name)
}

impl From<rustix::fs::Stat> for Stat {
    fn from(stat: rustix::fs::Stat) -> Self {
        Self {
            id: (stat.st_dev, stat.st_ino),
            len: u64::try_from(stat.st_size).unwrap_or(0),
            #[allow(clippy::unnecessary_cast, reason = "32 bits on some machines")]
            links: stat.st_nlink as u64,
        }
    }
}

/// The rights of somebody else, of this thread alone; root's come back when this is dropped.
struct Rights {
    gid: Gid,
    groups: Vec<Gid>,
}

impl Rights {
    fn of(owner: Owner) -> io::Result<Self> {
        let rights = Self {
            gid: rustix::process::getegid(),
            groups: rustix::process::getgroups()?,
        };
        // From here on an error takes back what was done.
        set_groups(&[])?;
        set_effective(libc::SYS_setresgid, owner.gid.as_raw())?;
        set_effective(libc::SYS_setresuid, owner.uid.as_raw())?;
        Ok(rights)
    }
}

impl Drop for Rights {
    fn drop(&mut self) {
        let back = set_effective(libc::SYS_setresuid, Uid::ROOT.as_raw())
            .and_then(|()| set_effective(libc::SYS_setresgid, self.gid.as_raw()))
            .and_then(|()| set_groups(&self.groups));
        if let Err(e) = back {
            // With fewer rights things fail, and nothing is harmed.
            tracing::error!("a thread cannot have its own rights back: {e}");
        }
    }
}

/// Sets the effective user or group of this thread: the call of the C library would set those of all threads.
#[allow(unsafe_code, reason = "there is no safe call for one thread in what is used here")]
fn set_effective(call: libc::c_long, id: u32) -> io::Result<()> {
    const KEEP: libc::c_long = -1;
    // SAFETY: `call` is setresuid or setresgid, which take three numbers and touch no memory.
    done(unsafe { libc::syscall(call, KEEP, libc::c_long::from(id), KEEP) })
}

/// Sets the other groups of this thread.
#[allow(unsafe_code, reason = "there is no safe call for one thread in what is used here")]
fn set_groups(groups: &[Gid]) -> io::Result<()> {
    let groups: Vec<libc::gid_t> = groups.iter().map(|group| group.as_raw()).collect();
    // SAFETY: the kernel reads as many groups as there are at the pointer, and only during the call.
    done(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })
}

fn done(result: libc::c_long) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
