//! A folder on disk.

use super::{Directory, Entry, File, Io, Stat};
use rustix::fs::{AtFlags, FlockOperation, SeekFrom, flock, seek};
use rustix::io::Errno;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// A folder on disk, held open: see [`Directory`].
pub struct RealIo {
    root: Directory,
}

impl RealIo {
    /// Opens the folder `path`, which must exist; the way to it may hold symbolic links, what is in it may not.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(path: impl AsRef<Path>) -> io::Result<Self> {
        Directory::open(path).map(Self::in_directory)
    }

    /// The folder `root`, which is open already.
    #[must_use]
    pub fn in_directory(root: Directory) -> Self {
        Self { root }
    }

    /// The directory that holds `path`, and the name in it.
    fn parent<'a>(&self, path: &'a str) -> io::Result<(Directory, &'a str)> {
        match path.rsplit_once('/') {
            Some((dir, name)) => Ok((self.dir(dir)?, name)),
            None => Ok((self.root.clone(), path)),
        }
    }

    fn dir(&self, dir: &str) -> io::Result<Directory> {
        let mut found = self.root.clone();
        for part in dir.split('/').filter(|part| !part.is_empty()) {
            found = found.directory(part)?;
        }
        Ok(found)
    }

    /// The directory `dir`, if there is one.
    fn existing(&self, dir: &str) -> io::Result<Option<Directory>> {
        match self.dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }
}

impl Io for RealIo {
    fn list(&self, dir: &str) -> io::Result<Vec<Entry>> {
        let Some(found) = self.existing(dir)? else {
            return Ok(Vec::new());
        };
        let mut out = Vec::new();
        for name in found.names()? {
            let sizes = match found.sizes(&name) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            if let (Ok(name), Some((allocated, len))) = (name.into_string(), sizes) {
                out.push(Entry { name, len, allocated });
            }
        }
        out.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(out)
    }

    fn make_dir(&self, dir: &str) -> io::Result<()> {
        let (parent, name) = self.parent(dir)?;
        parent.make_directory(name).map(drop)
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let (dir, name) = self.parent(path)?;
        Ok(Arc::new(RealFile(dir.create_file(name)?)))
    }

    fn open(&self, path: &str, write: bool) -> io::Result<Arc<dyn File>> {
        let (dir, name) = self.parent(path)?;
        Ok(Arc::new(RealFile(dir.open_file(name, write)?)))
    }

    fn stat(&self, path: &str) -> io::Result<Stat> {
        // In one call, which needs no descriptor: a process that has no more of them must not be told that a file is
        // gone.
        let stat = rustix::fs::statat(&self.root, path, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(stat.into())
    }

    fn is_removed(&self) -> io::Result<bool> {
        Ok(self.root.stat()?.links == 0)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let ((from_dir, from), (to_dir, to)) = (self.parent(from)?, self.parent(to)?);
        Ok(rustix::fs::renameat(from_dir, from, to_dir, to)?)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        dir.remove(name)
    }

    fn clear_dir(&self, dir: &str, keep: &str) -> io::Result<()> {
        let found = match self.existing(dir) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(()),
            // A link has nothing in it that is ours to delete.
            Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::LOOP | Errno::NOTDIR)) => {
                return self.remove(dir);
            }
            Err(e) => return Err(e),
        };
        for name in found.names()?.iter().filter(|name| *name != keep) {
            match found.remove_all(name) {
                // Gone by itself.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.dir(dir)?.sync()
    }

    fn free_space(&self) -> io::Result<u64> {
        self.root.free_space()
    }

    fn on_disk(&self, dir: &str) -> io::Result<Option<Directory>> {
        self.dir(dir).map(Some)
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

    fn stat(&self) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(&self.0)?.into())
    }

    fn data(&self, from: u64) -> io::Result<Range<u64>> {
        let start = match seek(&self.0, SeekFrom::Data(from)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(u64::MAX..u64::MAX),
            // A filesystem that does not know its holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(from..u64::MAX),
            Err(e) => return Err(e.into()),
        };
        Ok(start..seek(&self.0, SeekFrom::Hole(start))?)
    }

    fn lock(&self) -> io::Result<bool> {
        match flock(&self.0, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            // A filesystem without locks: the store's own lock is all there is.
            Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(true),
            Err(e) => Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::index::SledPages;
    use crate::{CreateOptions, Store};
    use std::fs;
    use std::os::unix::fs::{MetadataExt, chown, symlink};

    /// A folder that belongs to somebody else; none where only root may make one.
    fn of_others() -> Option<tempfile::TempDir> {
        let dir = rustix::process::geteuid()
            .is_root()
            .then(|| tempfile::tempdir().unwrap())?;
        chown(dir.path(), Some(1234), Some(2345)).unwrap();
        Some(dir)
    }

    /// After a repair or a collection by root its owner could not open the store any more.
    #[test]
    fn what_root_makes_in_a_store_of_others_is_theirs() {
        let Some(dir) = of_others() else { return };
        let io = Arc::new(RealIo::new(dir.path()).unwrap());
        let store = Store::create(io, CreateOptions::new([1; 16])).unwrap();
        store.close().unwrap();
        let other = RealIo::new(dir.path().join("segments")).unwrap();
        drop(SledPages::create(&other, "mark").unwrap().unwrap());
        let owner = |path: &Path| {
            let stat = fs::symlink_metadata(path).unwrap();
            (stat.uid(), stat.gid())
        };
        for name in [
            "segments",
            "segments/00000001.seg",
            "index",
            "index/rows",
            "index/mark",
            "segments/index/db",
            "segments/index/conf",
        ] {
            assert_eq!(owner(&dir.path().join(name)), (1234, 2345), "{name}");
        }
    }

    /// Regression: sled opened what it found under its names with the rights of root.
    #[test]
    fn sled_has_no_more_rights_than_the_owner_of_the_store() {
        let Some(dir) = of_others() else { return };
        let victim = tempfile::tempdir().unwrap();
        let io = Arc::new(RealIo::new(dir.path()).unwrap());
        drop(SledPages::create(io.as_ref(), "mark").unwrap().unwrap());
        let index = io.on_disk("index").unwrap().unwrap();
        let reached = index.as_owner(|| {
            // What an owner does between a look and sled's opening.
            fs::remove_file(index.reach().join("db")).unwrap();
            symlink(victim.path().join("db"), index.reach().join("db")).unwrap();
            fs::File::create(index.reach().join("db")).map(drop)
        });
        assert_eq!(reached.unwrap().unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(fs::read_dir(victim.path()).unwrap().count(), 0);
        assert!(
            fs::write(victim.path().join("root's"), "again").is_ok(),
            "the rights came back"
        );
    }

    /// A file of root's that the owner linked into the store must not be written to, nor read.
    #[test]
    fn what_the_owner_only_linked_there_is_refused() {
        let Some(dir) = of_others() else { return };
        let outside = tempfile::NamedTempFile::new_in(dir.path().parent().unwrap()).unwrap();
        fs::hard_link(outside.path(), dir.path().join("linked")).unwrap();
        let io = RealIo::new(dir.path()).unwrap();
        for write in [true, false] {
            let refused = io.open("linked", write).map(drop).unwrap_err();
            assert!(refused.to_string().contains("another name"), "{refused}");
        }
    }

    /// Regression: folders in a folder were removed by path, through whatever it was by then.
    #[test]
    fn clearing_a_folder_leaves_what_links_lead_to() {
        let (dir, victim) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(victim.path().join("precious"), "data").unwrap();
        let index = dir.path().join("index");
        fs::create_dir_all(index.join("deep/deeper")).unwrap();
        symlink(victim.path(), index.join("deep/link")).unwrap();
        symlink(victim.path(), index.join("link")).unwrap();
        fs::write(index.join("keep"), "").unwrap();
        let io = RealIo::new(dir.path()).unwrap();
        io.clear_dir("index", "keep").unwrap();
        assert_eq!(io.list("index").unwrap().len(), 1);
        fs::remove_dir_all(&index).unwrap();
        symlink(victim.path(), &index).unwrap();
        io.clear_dir("index", "keep").unwrap();
        assert!(!index.is_symlink() && victim.path().join("precious").exists());
        assert!(io.open("../victim", false).is_err() && io.open("", false).is_err());
    }
}
