//! A folder on disk.

use super::{Entry, File, Io};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A folder on disk, held open: files are reached from its descriptor, folder by folder, never through a symbolic
/// link, so nobody who can rename things around the store can lead a write out of it.
pub struct RealIo {
    root: OwnedFd,
    path: PathBuf,
    /// Whose the folder is, if this is root and the folder somebody else's: they must be able to use it tomorrow.
    owner: Option<(Uid, Gid)>,
}

const DIR: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl RealIo {
    /// Opens the folder `path`, which must exist; the way to it may hold symbolic links, what is in it may not.
    pub fn new(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref().canonicalize()?;
        let root = rustix::fs::open(&path, DIR, Mode::empty())?;
        let stat = rustix::fs::fstat(&root)?;
        let others = rustix::process::geteuid().is_root() && stat.st_uid != 0;
        let owner = others.then(|| (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid)));
        Ok(Self { root, path, owner })
    }

    /// The descriptor of the folder that holds `path`, and the name in it.
    fn parent<'a>(&self, path: &'a str) -> io::Result<(OwnedFd, &'a str)> {
        match path.rsplit_once('/') {
            Some((dir, name)) => Ok((self.dir(dir)?, name)),
            None => Ok((self.root.try_clone()?, path)),
        }
    }

    fn dir(&self, dir: &str) -> io::Result<OwnedFd> {
        let mut fd = self.root.try_clone()?;
        for part in dir.split('/').filter(|p| !p.is_empty()) {
            fd = rustix::fs::openat(&fd, part, DIR, Mode::empty())?;
        }
        Ok(fd)
    }

    /// Gives what was made just now to the owner of the store. It works without that, for root.
    fn hand_over(&self, path: &str, file: impl AsFd) {
        let Some((uid, gid)) = self.owner else { return };
        if let Err(e) = rustix::fs::chownat(file, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH) {
            tracing::warn!("{path} stays root's: it cannot be given to the owner of the store: {e}");
        }
    }

    fn is_link(&self, path: &str) -> io::Result<bool> {
        let (dir, name) = self.parent(path)?;
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
    }

    fn file(&self, path: &str, flags: OFlags) -> io::Result<Arc<dyn File>> {
        let (dir, name) = self.parent(path)?;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR)?;
        if flags.contains(OFlags::CREATE) {
            self.hand_over(path, &fd);
        }
        if FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(Arc::new(RealFile(fd.into())))
    }
}

impl Io for RealIo {
    fn list(&self, dir: &str) -> io::Result<Vec<Entry>> {
        let fd = match self.dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut out = Vec::new();
        for entry in rustix::fs::Dir::read_from(&fd)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else {
                continue;
            };
            let stat = match rustix::fs::statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(rustix::io::Errno::NOENT) => continue,
                other => other?,
            };
            if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
                out.push(Entry {
                    name: name.to_owned(),
                    len: u64::try_from(stat.st_size).unwrap_or(0),
                    allocated: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512),
                });
            }
        }
        out.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(out)
    }

    fn make_dir(&self, dir: &str) -> io::Result<()> {
        let (parent, name) = self.parent(dir)?;
        match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
            Err(rustix::io::Errno::EXIST) => self.dir(dir).map(drop),
            made => {
                made?;
                self.hand_over(dir, self.dir(dir)?);
                Ok(())
            }
        }
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        self.file(path, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)
    }

    fn open(&self, path: &str, write: bool) -> io::Result<Arc<dyn File>> {
        self.file(path, if write { OFlags::RDWR } else { OFlags::RDONLY })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from_dir, from) = self.parent(from)?;
        let (to_dir, to) = self.parent(to)?;
        Ok(rustix::fs::renameat(from_dir, from, to_dir, to)?)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        Ok(rustix::fs::unlinkat(dir, name, AtFlags::empty())?)
    }

    fn clear_dir(&self, dir: &str, keep: &str) -> io::Result<()> {
        let fd = match self.dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            // A link has nothing in it that is ours to delete.
            Err(_) if self.is_link(dir)? => return self.remove(dir),
            other => other?,
        };
        for entry in rustix::fs::Dir::read_from(&fd)? {
            let entry = entry?;
            let name = entry.file_name();
            if [c".", c".."].contains(&name) || name.to_bytes() == keep.as_bytes() {
                continue;
            }
            let stat = rustix::fs::statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                // std's removal descends by descriptor and does not follow links (CVE-2022-21658).
                std::fs::remove_dir_all(self.path.join(dir).join(OsStr::from_bytes(name.to_bytes())))?;
            } else {
                rustix::fs::unlinkat(&fd, name, AtFlags::empty())?;
            }
        }
        Ok(())
    }

    fn give_back(&self, dir: &str) -> io::Result<()> {
        if self.owner.is_none() {
            return Ok(());
        }
        let fd = self.dir(dir)?;
        for entry in rustix::fs::Dir::read_from(&fd)? {
            let entry = entry?;
            if [c".", c".."].contains(&entry.file_name()) {
                continue;
            }
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&fd, entry.file_name(), flags, Mode::empty())?;
            let stat = rustix::fs::fstat(&file)?;
            // A file of root's with another name elsewhere was not made here, but linked to get hold of it.
            let made_here = match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => true,
                FileType::RegularFile => stat.st_nlink == 1,
                _ => false,
            };
            if made_here && stat.st_uid == 0 {
                self.hand_over(dir, file);
            }
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        Ok(rustix::fs::fsync(self.dir(dir)?)?)
    }

    fn free_space(&self) -> io::Result<u64> {
        let vfs = rustix::fs::fstatvfs(self.root.as_fd())?;
        Ok(vfs.f_bavail.saturating_mul(vfs.f_frsize))
    }

    fn root(&self) -> Option<&Path> {
        Some(&self.path)
    }
}

struct RealFile(std::fs::File);

impl File for RealFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{CreateOptions, Store};
    use std::os::unix::fs::{MetadataExt, chown};

    /// After a repair or a collection by root its owner could not open the store any more. Only root can try that.
    #[test]
    fn what_root_makes_in_a_store_of_others_is_theirs() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        chown(dir.path(), Some(1234), Some(2345)).unwrap();
        let io = Arc::new(RealIo::new(dir.path()).unwrap());
        let store = Store::create(io.clone(), CreateOptions::new([1; 16])).unwrap();
        store.close().unwrap();
        let outside = dir.path().join("outside");
        std::fs::write(&outside, b"root's").unwrap();
        std::fs::hard_link(&outside, dir.path().join("index/linked")).unwrap();
        io.give_back("index").unwrap();
        let owner = |path: &Path| {
            let stat = std::fs::symlink_metadata(path).unwrap();
            (stat.uid(), stat.gid())
        };
        for name in [
            "segments",
            "segments/00000001.seg",
            "index",
            "index/db",
            "index/conf",
            "index/mark",
        ] {
            assert_eq!(owner(&dir.path().join(name)), (1234, 2345), "{name}");
        }
        assert_eq!(owner(&outside), (0, 0));
    }
}
