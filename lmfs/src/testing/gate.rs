//! A disk whose reads can be made to hang: decodes that take as long as a test wants.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lmfs_indexer::io::{Entry, File, Stat};
use lmfs_indexer::{Io, MemIo};
use parking_lot::{Condvar, Mutex};

/// Reads wait while it is closed.
#[derive(Default)]
pub struct Gate {
    closed: Mutex<bool>,
    changed: Condvar,
    waiting: AtomicUsize,
}

impl Gate {
    pub fn close(&self) {
        *self.closed.lock() = true;
    }

    pub fn open(&self) {
        *self.closed.lock() = false;
        self.changed.notify_all();
    }

    /// How many reads hang.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    fn pass(&self) {
        let mut closed = self.closed.lock();
        self.waiting.fetch_add(1, Ordering::SeqCst);
        while *closed {
            self.changed.wait(&mut closed);
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A disk in memory behind a [`Gate`].
pub struct GatedIo {
    pub disk: Arc<MemIo>,
    pub gate: Arc<Gate>,
}

struct GatedFile {
    file: Arc<dyn File>,
    gate: Arc<Gate>,
}

impl GatedIo {
    pub fn new(disk: Arc<MemIo>) -> GatedIo {
        GatedIo {
            disk,
            gate: Arc::default(),
        }
    }

    fn gated(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        let gate = self.gate.clone();
        Arc::new(GatedFile { file, gate })
    }
}

impl Io for GatedIo {
    fn list(&self, dir: &str) -> io::Result<Vec<Entry>> {
        self.disk.list(dir)
    }

    fn make_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.make_dir(dir)
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        Ok(self.gated(self.disk.create(path)?))
    }

    fn open(&self, path: &str, write: bool) -> io::Result<Arc<dyn File>> {
        Ok(self.gated(self.disk.open(path, write)?))
    }

    fn stat(&self, path: &str) -> io::Result<Stat> {
        self.disk.stat(path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn clear_dir(&self, dir: &str, keep: &str) -> io::Result<()> {
        self.disk.clear_dir(dir, keep)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }

    fn free_space(&self) -> io::Result<u64> {
        self.disk.free_space()
    }
}

impl File for GatedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.gate.pass();
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn stat(&self) -> io::Result<Stat> {
        self.file.stat()
    }
}
