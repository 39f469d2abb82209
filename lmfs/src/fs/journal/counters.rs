//! What the parts of the filesystem count.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::fs::error::{Error, Result};
use crate::fs::types::Stats;

/// Counters since the mount.
#[derive(Debug, Default)]
pub struct Counters {
    /// Operations and jobs that panicked and were answered with EIO.
    panics: AtomicU64,
    /// Blocks found unreadable, each counted once.
    bad_blocks: AtomicU64,
    /// Flushes that failed.
    flush_errors: AtomicU64,
    /// A flush failed and none of a file that had failed came through since; that was logged.
    failing: AtomicBool,
    /// Failures to make the log durable.
    sync_errors: AtomicU64,
}

impl Counters {
    /// Counts a flush of file `ino` that had something to store, or after which nothing is left of what failed.
    /// `failed` says whether the flush before failed, and is set for the next. The first failure is logged, and the
    /// first success after it of a file that had failed: that others can be stored says nothing.
    pub fn flushed(&self, ino: u64, failed: &mut bool, failure: Option<&Error>) {
        // Each file remembers its own failure. That others can be stored says nothing about it.
        let failed = std::mem::replace(failed, failure.is_some());
        match failure {
            None if failed && self.failing.swap(false, Ordering::Relaxed) => {
                tracing::info!("written data can be stored again");
            }
            None => {}
            Some(error) => {
                self.flush_errors.fetch_add(1, Ordering::Relaxed);
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::error!(
                        ino,
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

    /// Counts an operation or a job that panicked.
    pub fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a block that was found unreadable for the first time.
    pub fn found_bad_block(&self) {
        self.bad_blocks.fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted. What other parts know is zero in it.
    pub fn stats(&self) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            bad_blocks: get(&self.bad_blocks),
            flush_errors: get(&self.flush_errors),
            failing: self.failing.load(Ordering::Relaxed),
            sync_errors: get(&self.sync_errors),
            panics: get(&self.panics),
            ..Stats::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::error::Errno;
    use crate::testing::logged;

    /// Regression: a failing sync was logged every second.
    #[test]
    fn a_log_that_cannot_be_made_durable_is_counted_and_logged_once() {
        let counters = Counters::default();
        let failure = Err(Error::new(Errno::IO, "the disk is gone"));
        let said = logged(|| (0..3).for_each(|_| counters.synced(&failure)));
        assert_eq!(said.matches("the disk is gone").count(), 1, "{said}");
        assert_eq!(counters.sync_errors.load(Ordering::Relaxed), 3);
        assert_eq!(logged(|| counters.synced(&Ok(()))), "");
    }
}
