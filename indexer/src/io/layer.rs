//! A disk on top of another one: what it does not do in its own way, the one below does.

use std::io;
use std::sync::Arc;

use super::{Directory, Entry, File, Io, Stat};

/// An [`Io`] that changes some calls and passes the others on. A type that has this trait has [`Io`], too.
pub trait Layer: Send + Sync {
    /// The disk that the calls are passed on to.
    fn below(&self) -> &dyn Io;

    /// What becomes of each file that is made or opened.
    fn wrap(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        file
    }

    /// See [`Io::make_dir`].
    fn make_dir(&self, dir: &str) -> io::Result<()> {
        self.below().make_dir(dir)
    }

    /// See [`Io::clear_dir`].
    fn clear_dir(&self, dir: &str, keep: &str) -> io::Result<()> {
        self.below().clear_dir(dir, keep)
    }

    /// See [`Io::on_disk`].
    fn on_disk(&self, dir: &str) -> io::Result<Option<Directory>> {
        self.below().on_disk(dir)
    }
}

impl<L: Layer> Io for L {
    fn list(&self, dir: &str) -> io::Result<Vec<Entry>> {
        self.below().list(dir)
    }

    fn make_dir(&self, dir: &str) -> io::Result<()> {
        Layer::make_dir(self, dir)
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        Ok(self.wrap(self.below().create(path)?))
    }

    fn open(&self, path: &str, write: bool) -> io::Result<Arc<dyn File>> {
        Ok(self.wrap(self.below().open(path, write)?))
    }

    fn stat(&self, path: &str) -> io::Result<Stat> {
        self.below().stat(path)
    }

    fn is_removed(&self) -> io::Result<bool> {
        self.below().is_removed()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.below().rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.below().remove(path)
    }

    fn clear_dir(&self, dir: &str, keep: &str) -> io::Result<()> {
        Layer::clear_dir(self, dir, keep)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.below().sync_dir(dir)
    }

    fn free_space(&self) -> io::Result<u64> {
        self.below().free_space()
    }

    fn on_disk(&self, dir: &str) -> io::Result<Option<Directory>> {
        Layer::on_disk(self, dir)
    }
}

/// A [`File`] that does something before reads or syncs and passes everything on. A type that has this trait has
/// [`File`], too.
pub trait FileLayer: Send + Sync {
    /// The file that the calls are passed on to.
    fn below(&self) -> &dyn File;

    /// Called before each read.
    fn before_read(&self) {}

    /// Called before each sync.
    fn before_sync(&self) {}
}

impl<L: FileLayer> File for L {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.before_read();
        self.below().read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.below().write_at(buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.before_sync();
        self.below().sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.below().set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.below().len()
    }

    fn stat(&self) -> io::Result<Stat> {
        self.below().stat()
    }

    fn lock(&self) -> io::Result<bool> {
        self.below().lock()
    }
}
