//! What the filesystem counts.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde::Serialize;

use super::node::State;
use super::{Error, Filesystem, Result};
use crate::cache::CacheStats;

/// Counters since the mount.
#[derive(Debug, Default)]
pub struct Counters {
    /// Operations and jobs that panicked and were answered with EIO.
    pub panics: AtomicU64,
    /// Blocks found unreadable, each counted once.
    pub bad_blocks: AtomicU64,
    /// Flushes that failed.
    pub flush_errors: AtomicU64,
    /// A flush failed and none of a file that had failed came through since; that was logged.
    failing: AtomicBool,
    /// Failures to make the log durable.
    sync_errors: AtomicU64,
}

impl Counters {
    /// Counts a flush that had something to store, or after which nothing is left of what failed. The first failure is
    /// logged, and the first success after it of a file that had failed: that others can be stored says nothing.
    pub fn flushed(&self, state: &mut State, failure: Option<&Error>) {
        let failed = std::mem::replace(&mut state.failed, failure.is_some());
        match failure {
            None if failed && self.failing.swap(false, Ordering::Relaxed) => {
                tracing::info!("written data can be stored again");
            }
            None => {}
            Some(error) => {
                self.flush_errors.fetch_add(1, Ordering::Relaxed);
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::error!(
                        ino = state.inode.ino,
                        "cannot store written data, it stays in memory and is tried again: {error}"
                    );
                }
            }
        }
    }

    /// Counts what came of making the log durable. Nothing is stored after the first failure, which is logged.
    pub fn synced(&self, result: &Result<()>) {
        if let Err(error) = result
            && self.sync_errors.fetch_add(1, Ordering::Relaxed) == 0
        {
            tracing::error!("cannot make the log durable: {error}");
        }
    }
}

/// What the filesystem did since the mount and holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// The cache of decoded blocks.
    pub cache: CacheStats,
    /// Written bytes that are not in the log yet.
    pub dirty_bytes: u64,
    /// Files they belong to.
    pub dirty_files: u64,
    /// Open files.
    pub open_files: u64,
    /// Blocks found unreadable, each counted once.
    pub bad_blocks: u64,
    /// Flushes that failed and are retried.
    pub flush_errors: u64,
    /// A flush failed, and none of a file that had failed came through since.
    pub failing: bool,
    /// Failures to make the log durable.
    pub sync_errors: u64,
    /// Operations and jobs that panicked. Always 0, unless there is a bug.
    pub panics: u64,
}

impl Filesystem {
    /// The counters.
    pub fn stats(&self) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let dirty = self.write_back.files();
        Stats {
            cache: self.reader.blocks().stats(),
            dirty_bytes: dirty.iter().map(|node| node.lock().dirty.bytes()).sum(),
            dirty_files: dirty.len() as u64,
            open_files: self.handles.open_files() as u64,
            bad_blocks: get(&self.counters.bad_blocks),
            flush_errors: get(&self.counters.flush_errors),
            failing: self.counters.failing.load(Ordering::Relaxed),
            sync_errors: get(&self.counters.sync_errors),
            panics: get(&self.counters.panics) + self.reader.blocks().panics() + self.executor.panics(),
        }
    }

    /// Counts an operation that panicked.
    pub fn count_panic(&self) {
        self.counters.panics.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::fs::Errno;
    use crate::fs::tests::{Disk, spoil};
    use crate::testing::logged;

    /// It was logged every second.
    #[test]
    fn a_log_that_cannot_be_made_durable_is_counted_and_logged_once() {
        let counters = Counters::default();
        let failure = Err(Error::new(Errno::IO, "the disk is gone"));
        let said = logged(|| (0..3).for_each(|_| counters.synced(&failure)));
        assert_eq!(said.matches("the disk is gone").count(), 1, "{said}");
        assert_eq!(counters.sync_errors.load(Ordering::Relaxed), 3);
        assert_eq!(logged(|| counters.synced(&Ok(()))), "");
    }

    /// Every flush of any other file said in the log that data could be stored again, and the next tick that it could
    /// not: two lines a second.
    #[test]
    fn only_a_file_that_failed_says_that_data_can_be_stored_again() {
        let disk = Disk::new();
        let (stuck, other) = (disk.file("stuck"), disk.file("other"));
        disk.fs.write(stuck, 0, &[7; 4096], false).unwrap();
        disk.fs.fsync(stuck).unwrap();
        let mut newer = vec![0; 64];
        newer.splice(..3, [0xb5, 0x4c, 0xf0]);
        spoil(&disk, stuck, 0, &newer);
        disk.fs.write(stuck, 5, b"part", false).unwrap();
        assert!(disk.fs.fsync(stuck).is_err());
        let failing = || disk.fs.counters.failing.load(Ordering::Relaxed);
        disk.fs.write(other, 0, b"bytes", false).unwrap();
        disk.fs.fsync(other).unwrap();
        assert!(failing());
        disk.fs.write(stuck, 0, &[8; 4096], false).unwrap();
        disk.fs.fsync(stuck).unwrap();
        assert!(!failing());
        // So does one whose data is not wanted any more.
        spoil(&disk, stuck, 0, &newer);
        disk.fs.write(stuck, 5, b"part", false).unwrap();
        assert!(disk.fs.fsync(stuck).is_err() && failing());
        disk.fs.unlink(crate::fs::ROOT, b"stuck").unwrap();
        assert!(!failing());
    }
}
