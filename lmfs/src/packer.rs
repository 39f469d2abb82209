//! The packer: what is safe in a cheap form becomes small, in the background.
//!
//! A write stores a block raw or as fast zstd. The packer finds such blocks in files that have been left alone for a
//! while, encodes them with the store's best method (the codec decodes and compares what it made), appends them to the
//! log, waits until they are durable, and only then swaps the extents, in one transaction for a batch of blocks. A swap
//! takes place only if the extent is still the one that was read: a block that was written meanwhile stays as it is.
//!
//! So a packer can be stopped, killed or run out of disk at any moment: each block has either its first copy or its
//! packed one, and what remains to be done follows from the index alone ([`Tag`](crate::store::Tag)). The first copies become garbage in
//! the log, which is collected when there is enough of it ([`crate::garbage`]).
//!
//! Before it packs, it looks at a sample of what it will pack, and makes dictionaries where they save enough
//! ([`learn`]).

mod ahead;
mod batch;
mod host;
mod idle;
mod kinds;
mod learn;
mod plan;
mod run;
mod shelf;
mod status;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use lmfs_codec::{Codec, Stop};
use lmfs_indexer::Store;

pub use host::{Host, Unattended};
pub use idle::Background;
pub use plan::Scope;
pub use status::{Progress, State, Status, Summary, queue};

/// Why packing ended early. Nothing is lost in any case, and the next run goes on where this one ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It was asked to stop.
    #[error("packing was interrupted; what is packed stays packed")]
    Interrupted,
    /// The store's disk is full.
    #[error("packing stopped, because the store's disk is full: {0}. Nothing is lost; it goes on when there is space")]
    DiskFull(lmfs_indexer::Error),
    /// The log or the index failed.
    #[error("packing stopped: {0}")]
    Store(lmfs_indexer::Error),
    /// No dictionary can be tried.
    #[error("packing stopped while it made a dictionary: {0}")]
    Learning(lmfs_codec::Error),
    /// The system gives no threads.
    #[error("packing did not begin, because the system gives no threads: {0}")]
    Threads(std::io::Error),
    /// The store cannot be written.
    #[error("the store is open for reading only, so nothing can be packed")]
    ReadOnly,
}

impl From<lmfs_indexer::Error> for Error {
    fn from(error: lmfs_indexer::Error) -> Error {
        match error {
            lmfs_indexer::Error::NoSpace { .. } => Error::DiskFull(error),
            lmfs_indexer::Error::Interrupted => Error::Interrupted,
            lmfs_indexer::Error::ReadOnly => Error::ReadOnly,
            other => Error::Store(other),
        }
    }
}

/// When and how hard to pack.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a file has to be left alone before it is packed in the background.
    pub idle: Duration,
    /// Blocks encoded at a time, each by a thread of its own; 0 for one a core.
    pub jobs: usize,
    /// How long the background packer waits after a full disk or another failure before it tries again.
    pub retry: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            idle: Duration::from_secs(30),
            jobs: 0,
            retry: Duration::from_secs(60),
        }
    }
}

impl Options {
    fn threads(&self, asked: usize) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        [asked, self.jobs]
            .into_iter()
            .find(|&jobs| jobs > 0)
            .unwrap_or_else(cores)
    }
}

/// The packer of one open store. All methods may be called from any thread.
pub struct Packer {
    store: Arc<Store>,
    codec: Codec,
    host: Arc<dyn Host>,
    options: Options,
    /// Held by the one run that is under way.
    turn: Mutex<()>,
    /// Stops the background's run, which makes way for one that a user asked for.
    background: Mutex<Stop>,
    ledger: Mutex<status::Ledger>,
    /// The dictionaries of the store.
    shelf: Mutex<shelf::Shelf>,
    /// What the background knows of files from the future.
    ahead: Mutex<ahead::Ahead>,
}

impl Packer {
    /// A packer that does nothing until it is asked to.
    pub fn new(store: Arc<Store>, codec: Codec, host: Arc<dyn Host>, options: Options) -> Packer {
        Packer {
            store,
            codec,
            host,
            options,
            turn: Mutex::default(),
            background: Mutex::default(),
            ledger: Mutex::default(),
            shelf: Mutex::default(),
            ahead: Mutex::default(),
        }
    }

    /// Packs everything in `scope` that waits, however recently it was written, and collects the garbage that this
    /// makes; with `again` also what is packed already, where it becomes smaller or needs the language model no more.
    /// `jobs` as in [`Options::jobs`]; 0 for those. `progress` is called a few times a second.
    ///
    /// A file system in front of the store has to write its buffers out before, if they are to be packed, too.
    ///
    /// # Errors
    /// See [`Error`]. A block that cannot be read or encoded is no error of the run: it stays as it is, is counted in
    /// [`Summary::blocks_failed`] and logged.
    pub fn run(
        &self,
        scope: &Scope,
        again: bool,
        jobs: usize,
        progress: &(dyn Fn(&Progress) + Sync),
        stop: &Stop,
    ) -> Result<Summary, Error> {
        if self.store.is_read_only() {
            return Err(Error::ReadOnly);
        }
        let turn = loop {
            // Again and again, because the background may just be beginning a run.
            locked(&self.background).set();
            match self.turn.try_lock() {
                Ok(turn) => break turn,
                Err(TryLockError::Poisoned(turn)) => break turn.into_inner(),
                Err(TryLockError::WouldBlock) if stop.is_set() => return Err(Error::Interrupted),
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        let order = run::Order {
            scope,
            idle: None,
            threads: self.options.threads(jobs),
            again: if again { run::Again::All } else { run::Again::Never },
        };
        let result = run::run(self, &order, progress, stop);
        drop(turn);
        Ok(result?.summary)
    }

    /// What runs, and how the last run went.
    pub fn status(&self) -> Status {
        locked(&self.ledger).status()
    }
}

/// A lock that outlives a panic elsewhere: every value behind one is replaced whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
