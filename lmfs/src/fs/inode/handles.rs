//! What is open, by the number that the kernel knows it by.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::fs::error::{Errno, Error, Result};

/// Open files, or open directories.
pub struct Handles<T> {
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<T>>>,
}

impl<T> Default for Handles<T> {
    fn default() -> Handles<T> {
        Handles {
            next: AtomicU64::new(1),
            open: Mutex::default(),
        }
    }
}

impl<T> Handles<T> {
    /// Takes in what was opened, under a number that nothing had before.
    pub fn insert(&self, opened: T) -> u64 {
        let fh = self.next.fetch_add(1, Ordering::Relaxed);
        self.open.lock().insert(fh, Arc::new(opened));
        fh
    }

    /// What has a number.
    ///
    /// # Errors
    /// EBADF.
    pub fn get(&self, fh: u64) -> Result<Arc<T>> {
        self.open.lock().get(&fh).cloned().ok_or(NO_HANDLE)
    }

    /// Closes what has a number.
    ///
    /// # Errors
    /// EBADF.
    pub fn remove(&self, fh: u64) -> Result<Arc<T>> {
        self.open.lock().remove(&fh).ok_or(NO_HANDLE)
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.lock().len()
    }
}

const NO_HANDLE: Error = Error::new(Errno::BADF, "no such handle");
