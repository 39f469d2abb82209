//! Tests of the filesystem without a mount.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod atomic;
mod background;
mod contents;
mod crash;
mod full;
mod lost;
mod model;
mod names;
mod parts;
mod references;
mod solid;
mod tree;
mod waiting;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lmfs_indexer::{Change, CreateOptions, Io, MemIo, OpenOptions};
use parking_lot::Mutex;

use super::*;

/// Blocks this small make many of them of little data.
pub const BLOCK: u32 = 4096;

pub const ME: Caller = Caller { uid: 1000, gid: 1000 };

pub fn options() -> Options {
    Options {
        cache_bytes: 1 << 20,
        decode_threads: 2,
        job_threads: 2,
        ..Options::new(BLOCK)
    }
}

/// Stores what is dirty, as the background does, however young it is; waits also for what has to be decoded.
pub fn store_older(fs: &Filesystem) {
    // Failures are told to whoever syncs.
    let _ = wait(fs.write_back.round(Duration::ZERO, Cold::Decode));
    let dirty = fs.write_back.files();
    crate::testing::until("flushes in the background end", || {
        dirty.iter().all(|node| !node.lock().decode_queued)
    });
}

pub fn codec() -> Codec {
    Codec::new(None, lmfs_codec::Options::default()).unwrap()
}

/// Operations that wait, on a thread that may.
impl Filesystem {
    pub fn read_wait(&self, ino: u64, offset: u64, size: u32) -> Result<Vec<u8>> {
        wait(self.read(ino, offset, size, Asker::DAEMON))
    }

    pub fn write(&self, ino: u64, offset: u64, data: &[u8], kill_suid: bool) -> Result<u32> {
        wait(self.write_async(ino, offset, data, kill_suid, Asker::DAEMON))
    }

    pub fn flush(&self, ino: u64) -> Result<()> {
        wait(self.flush_async(ino, Asker::DAEMON))
    }

    pub fn fsync(&self, ino: u64) -> Result<()> {
        wait(self.fsync_async(ino, Asker::DAEMON))
    }

    pub fn rename(&self, parent: u64, name: &[u8], new_parent: u64, new_name: &[u8], mode: RenameMode) -> Result<()> {
        wait(self.rename_async(parent, name, new_parent, new_name, mode, Asker::DAEMON))
    }

    pub fn copy_file_range(&self, from: FilePosition, to: FilePosition, length: u64, kill_suid: bool) -> Result<u32> {
        wait(self.copy_file_range_async(from, to, length, kill_suid, Asker::DAEMON))
    }

    pub fn lseek(&self, ino: u64, offset: u64, what: Seek) -> Result<u64> {
        wait(self.lseek_async(ino, offset, what))
    }
}

/// A filesystem on a disk in memory.
pub struct Disk {
    pub io: Arc<MemIo>,
    pub fs: Arc<Filesystem>,
}

impl Disk {
    pub fn new() -> Disk {
        Disk::with(options())
    }

    pub fn with(options: Options) -> Disk {
        let io = Arc::new(MemIo::new());
        let store = Store::create(io.clone(), CreateOptions::new([1; 16])).unwrap();
        let fs = Filesystem::new(Arc::new(store), codec(), options).unwrap();
        Disk { io, fs }
    }

    /// Stores everything and opens the store anew.
    pub fn reopen(self) -> Disk {
        self.fs.shutdown().unwrap();
        self.crash()
    }

    /// Opens the store anew without storing what is in memory.
    pub fn crash(self) -> Disk {
        let Disk { io, fs } = self;
        let options = fs.options().clone();
        fs.background.stop();
        drop(fs);
        Disk::open(io, options)
    }

    pub fn open(io: Arc<MemIo>, options: Options) -> Disk {
        let io_dyn: Arc<dyn Io> = io.clone();
        let (store, _report) = Store::open(io_dyn, OpenOptions::default()).unwrap();
        let fs = Filesystem::new(Arc::new(store), codec(), options).unwrap();
        Disk { io, fs }
    }

    pub fn file(&self, name: &str) -> u64 {
        let what = Create::new(Kind::File, 0o644);
        self.fs.create(ROOT, name.as_bytes(), what, ME).unwrap().ino
    }

    pub fn dir(&self, parent: u64, name: &str) -> u64 {
        let what = Create::new(Kind::Directory, 0o755);
        self.fs.create(parent, name.as_bytes(), what, ME).unwrap().ino
    }

    pub fn all(&self, ino: u64) -> Vec<u8> {
        self.fs.read_wait(ino, 0, u32::MAX).unwrap()
    }

    pub fn names(&self, ino: u64) -> Vec<String> {
        let fh = self.fs.opendir(ino).unwrap();
        let mut names = Vec::new();
        self.fs
            .readdir(fh, 0, |entry| {
                names.push(String::from_utf8(entry.name).unwrap());
                true
            })
            .unwrap();
        self.fs.releasedir(fh).unwrap();
        names
    }

    /// The names without "." and "..", in byte order.
    pub fn sorted_names(&self, ino: u64) -> Vec<String> {
        let mut names = self.names(ino).split_off(2);
        names.sort();
        names
    }
}

/// Has a block lead to other bytes, and says where it led before.
pub fn spoil(disk: &Disk, ino: u64, block: u64, bytes: &[u8]) -> lmfs_indexer::BlockRef {
    let old = disk.fs.store().extent(ino, block).unwrap().unwrap();
    let r = disk.fs.store().append_again(old.id, bytes).unwrap();
    redirect(disk, ino, block, r);
    old.location
}

pub fn redirect(disk: &Disk, ino: u64, block: u64, new: lmfs_indexer::BlockRef) {
    let old = disk.fs.store().extent(ino, block).unwrap().unwrap();
    let swap = Change::SwapBlock {
        id: old.id,
        old: old.location,
        new,
        tag: old.tag,
        reference: 0,
        hint: ino,
    };
    let report = disk.fs.store().commit(vec![swap]).unwrap();
    assert_eq!(report.skipped, []);
}

pub fn errno<T>(result: Result<T>) -> Errno {
    result.err().unwrap().errno
}
