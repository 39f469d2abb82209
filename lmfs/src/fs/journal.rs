//! The store as the parts of the filesystem share it: whether it may be changed, transactions, making them durable for
//! all who ask at once, what is counted, and who is told.

pub mod counters;
pub mod events;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lmfs_indexer::{Change, Store};
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::fs::error::{Errno, Error, Result};
use counters::Counters;
use events::Events;

/// How often the log is made durable without being asked.
const TICK: Duration = Duration::from_secs(1);

/// Commits to the store, and syncs of its log. One thread syncs ([`Journal::run`]): all who ask while it does wait for
/// the next sync together, and none of them holds a thread (group commit).
pub struct Journal {
    store: Arc<Store>,
    counters: Counters,
    events: Events,
    read_only: bool,
    /// The end has begun: nothing changes any more, though the kernel may still ask.
    closed: AtomicBool,
    /// Something was committed since the log was last made durable.
    unsynced: AtomicBool,
    requests: Mutex<Requests>,
    asked: Condvar,
}

#[derive(Default)]
struct Requests {
    waiters: Vec<oneshot::Sender<Result<()>>>,
    running: bool,
    stopped: bool,
}

impl Journal {
    /// The journal of `store`. A journal that is `read_only` refuses every change.
    pub fn new(store: Arc<Store>, read_only: bool) -> Journal {
        Journal {
            store,
            counters: Counters::default(),
            events: Events::default(),
            read_only,
            closed: AtomicBool::new(false),
            unsynced: AtomicBool::new(false),
            requests: Mutex::default(),
            asked: Condvar::new(),
        }
    }

    /// The store beneath.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// What the parts count.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Who is told of changes that no request asked for.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Whether every change is refused from the start.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// From now on every change is refused.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Whether users may change anything.
    ///
    /// # Errors
    /// EROFS, ENOTCONN.
    pub fn check_writable(&self) -> Result<()> {
        if self.read_only {
            Err(Error::new(Errno::ROFS, "mounted for reading only"))
        } else if self.closed.load(Ordering::SeqCst) {
            Err(Error::new(Errno::NOTCONN, "the store is being closed"))
        } else {
            Ok(())
        }
    }

    /// Commits changes, none of which is a swap: those are the packer's.
    ///
    /// # Errors
    /// What the store reports; nothing has changed then.
    pub fn commit(&self, changes: Vec<Change>) -> Result<()> {
        let _no_swaps = self.store.commit(changes)?;
        self.unsynced.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// As [`Journal::commit`], for changes that follow from what `changes` reads: nobody else commits meanwhile.
    ///
    /// # Errors
    /// As there; those of `changes`.
    pub fn commit_with(&self, changes: impl FnOnce() -> Result<Vec<Change>>) -> Result<()> {
        let _no_swaps = self.store.commit_with(changes)?;
        self.unsynced.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Whether something was committed that is not known to be durable.
    #[cfg(test)]
    pub fn is_unsynced(&self) -> bool {
        self.unsynced.load(Ordering::SeqCst)
    }

    /// Makes all that was committed before durable. Waits for the disk.
    ///
    /// # Errors
    /// What the store reports.
    pub fn sync(&self) -> Result<()> {
        let was = self.unsynced.swap(false, Ordering::SeqCst);
        let synced = self.store.sync().map_err(Error::from);
        if synced.is_err() {
            self.unsynced.fetch_or(was, Ordering::SeqCst);
        }
        self.counters.synced(&synced);
        synced
    }

    /// As [`Journal::sync`], without holding a thread.
    ///
    /// # Errors
    /// As there.
    pub async fn synced(&self) -> Result<()> {
        let later = {
            let mut requests = self.requests.lock();
            requests.running.then(|| {
                let (waiter, later) = oneshot::channel();
                requests.waiters.push(waiter);
                self.asked.notify_all();
                later
            })
        };
        match later {
            // The thread that syncs may have ended meanwhile.
            Some(later) => later.await.unwrap_or_else(|_| self.sync()),
            None => self.sync(),
        }
    }

    /// Syncs whenever somebody asks, and every second if there is something to sync, until [`Journal::stop`].
    pub fn run(&self) {
        self.requests.lock().running = true;
        loop {
            let mut requests = self.requests.lock();
            if requests.waiters.is_empty() && !requests.stopped {
                self.asked.wait_for(&mut requests, TICK);
            }
            let waiters = std::mem::take(&mut requests.waiters);
            let stopped = requests.stopped;
            requests.running = !stopped;
            drop(requests);
            if !waiters.is_empty() || self.unsynced.load(Ordering::SeqCst) {
                // A failure is counted and logged there. What nobody asked for is tried again here.
                let synced = self.sync();
                for waiter in waiters {
                    // One that is gone was interrupted.
                    let _ = waiter.send(synced.clone());
                }
            }
            if stopped {
                return;
            }
        }
    }

    /// Ends [`Journal::run`], after one more sync for those who wait.
    pub fn stop(&self) {
        self.requests.lock().stopped = true;
        self.asked.notify_all();
    }
}
