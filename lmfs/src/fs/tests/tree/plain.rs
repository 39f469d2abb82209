//! The plain directory: every step as system calls that follow no symbolic link on the way.

use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RawMode, RenameFlags, Timespec, Timestamps, UTIME_OMIT, XattrFlags, linkat, mkdirat,
    openat, renameat_with, symlinkat, unlinkat,
};
use rustix::io::Result;

use super::super::{Errno, RenameMode, XattrMode};

pub struct Plain {
    pub root: tempfile::TempDir,
    /// What lies below can leave whiteouts (overlayfs cannot) ...
    pub whiteouts: bool,
    /// ... and make files without names.
    pub tmpfiles: bool,
}

/// The directory of a path, open, and the last name.
type FilePosition<'a> = (OwnedFd, &'a str);

impl Plain {
    pub fn new() -> Plain {
        let root = tempfile::tempdir().unwrap();
        let mut plain = Plain {
            root,
            whiteouts: true,
            tmpfiles: true,
        };
        let owner = super::super::ME;
        plain.create(&["probe"]).unwrap();
        let whiteout = RenameMode::Whiteout { replace: true, owner };
        plain.whiteouts = plain.rename(&["probe"], &["probe2"], whiteout).is_ok();
        plain.tmpfiles = plain.tmpfile(&[], true).is_ok();
        for name in plain.root.path().read_dir().unwrap() {
            std::fs::remove_file(name.unwrap().path()).unwrap();
        }
        plain
    }

    fn place<'a>(&self, path: &[&'a str]) -> Result<FilePosition<'a>> {
        let (name, above) = path.split_last().unwrap();
        let walk = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let mut at = openat(CWD, self.root.path(), walk, Mode::empty())?;
        for name in above {
            at = openat(&at, *name, walk, Mode::empty())?;
        }
        Ok((at, name))
    }

    /// The path for calls that take no directory. Its parents were found to be no symbolic links.
    fn full(&self, path: &[&str]) -> Result<std::path::PathBuf> {
        let (at, name) = self.place(path)?;
        rustix::fs::statat(&at, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(path.iter().fold(self.root.path().to_owned(), |at, name| at.join(name)))
    }

    pub fn mkdir(&self, path: &[&str], perm: u32) -> Result<()> {
        let (at, name) = self.place(path)?;
        mkdirat(&at, name, Mode::from_raw_mode(perm as RawMode))?;
        // Whatever the umask, and with the bit that mkdir(2) inherits but does not take.
        let inherited = rustix::fs::statat(&at, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode & 0o2000;
        let perm = Mode::from_raw_mode(perm & 0o777 | inherited);
        rustix::fs::chmodat(&at, name, perm, AtFlags::empty())
    }

    pub fn create(&self, path: &[&str]) -> Result<()> {
        let (at, name) = self.place(path)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
        openat(&at, name, flags, Mode::from_raw_mode(0o644)).map(drop)
    }

    pub fn symlink(&self, path: &[&str], target: &str) -> Result<()> {
        let (at, name) = self.place(path)?;
        symlinkat(target, &at, name)
    }

    pub fn link(&self, from: &[&str], to: &[&str]) -> Result<()> {
        let (from, to) = (self.place(from)?, self.place(to)?);
        linkat(&from.0, from.1, &to.0, to.1, AtFlags::empty())
    }

    pub fn rename(&self, from: &[&str], to: &[&str], mode: RenameMode) -> Result<()> {
        let (from, to) = (self.place(from)?, self.place(to)?);
        let flags = match mode {
            RenameMode::Replace => RenameFlags::empty(),
            RenameMode::NoReplace => RenameFlags::NOREPLACE,
            RenameMode::Exchange => RenameFlags::EXCHANGE,
            RenameMode::Whiteout { replace: true, .. } => RenameFlags::WHITEOUT,
            RenameMode::Whiteout { replace: false, .. } => RenameFlags::WHITEOUT | RenameFlags::NOREPLACE,
        };
        renameat_with(&from.0, from.1, &to.0, to.1, flags)
    }

    pub fn unlink(&self, path: &[&str]) -> Result<()> {
        let (at, name) = self.place(path)?;
        unlinkat(&at, name, AtFlags::empty())
    }

    pub fn rmdir(&self, path: &[&str]) -> Result<()> {
        let (at, name) = self.place(path)?;
        unlinkat(&at, name, AtFlags::REMOVEDIR)
    }

    pub fn open(&self, path: &[&str]) -> Result<std::fs::File> {
        let (at, name) = self.place(path)?;
        openat(&at, name, OFlags::RDWR | OFlags::NOFOLLOW, Mode::empty()).map(Into::into)
    }

    /// A file without a name in the directory `path`.
    pub fn tmpfile(&self, path: &[&str], linkable: bool) -> Result<std::fs::File> {
        let walk = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let mut at = openat(CWD, self.root.path(), walk, Mode::empty())?;
        for name in path {
            at = openat(&at, *name, walk, Mode::empty())?;
        }
        let flags = OFlags::TMPFILE | OFlags::RDWR;
        let flags = if linkable { flags } else { flags | OFlags::EXCL };
        openat(&at, ".", flags, Mode::from_raw_mode(0o644)).map(Into::into)
    }

    pub fn link_open(&self, file: &std::fs::File, to: &[&str]) -> Result<()> {
        let (at, name) = self.place(to)?;
        let open = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file));
        linkat(CWD, open, &at, name, AtFlags::SYMLINK_FOLLOW)
    }

    pub fn chmod(&self, path: &[&str], perm: u32) -> Result<()> {
        let path = self.full(path)?;
        rustix::fs::chmod(path, Mode::from_raw_mode(perm))
    }

    pub fn mtime(&self, path: &[&str], tv_sec: i64, nanos: u32) -> Result<()> {
        let (at, name) = self.place(path)?;
        let times = Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_OMIT as _,
            },
            last_modification: Timespec {
                tv_sec,
                tv_nsec: nanos.into(),
            },
        };
        rustix::fs::utimensat(&at, name, &times, AtFlags::SYMLINK_NOFOLLOW)
    }

    pub fn set_xattr(&self, path: &[&str], name: &str, value: &[u8], mode: XattrMode) -> Result<()> {
        let flags = match mode {
            XattrMode::Any => XattrFlags::empty(),
            XattrMode::Create => XattrFlags::CREATE,
            XattrMode::Replace => XattrFlags::REPLACE,
        };
        rustix::fs::lsetxattr(self.full(path)?, name, value, flags)
    }

    pub fn remove_xattr(&self, path: &[&str], name: &str) -> Result<()> {
        rustix::fs::lremovexattr(self.full(path)?, name)
    }

    pub fn list(&self, path: &[&str]) -> Result<Vec<String>> {
        let full = self.full(path)?;
        if !full.symlink_metadata().unwrap().is_dir() {
            return Err(Errno::NOTDIR);
        }
        let names = std::fs::read_dir(full).unwrap();
        let mut names: Vec<_> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        Ok(names)
    }
}
