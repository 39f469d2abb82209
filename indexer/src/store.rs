//! The store: the log, the index made from it, and what can be asked of both.

use crate::apply::Skipped;
use crate::counters::{Counters, Totals};
use crate::index::{Delta, INDEX_FOLDER, Index, MOST_IN_MEMORY, Snapshot};
use crate::io::Io;
use crate::log::{Log, Position};
use crate::types::BlockRef;
use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

pub(crate) mod check;
pub(crate) mod checkpoint;
mod commit;
mod contents;
#[cfg(test)]
mod cost;
pub(crate) mod cut;
pub(crate) mod dictionary;
mod digests;
pub(crate) mod gc;
#[cfg(test)]
mod hostile;
mod open;
pub(crate) mod parity;
mod parity_files;
mod pending;
mod query;
mod recover;
mod reload;
mod shutdown_marker;

pub use pending::{HeldBlock, PendingBlock};

/// How a store is made.
#[derive(Clone, Debug)]
pub struct CreateOptions {
    /// Tells this store's files from all others': random.
    pub store_id: [u8; 16],
    /// Bytes after which a segment is sealed, [`MIN_SEGMENT`] to [`MAX_SEGMENT`].
    pub segment_size: u32,
}

impl CreateOptions {
    /// The defaults for a store with this identity.
    pub fn new(store_id: [u8; 16]) -> Self {
        Self {
            store_id,
            segment_size: DEFAULT_SEGMENT,
        }
    }
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Write nothing, not even to the index.
    pub read_only: bool,
    /// Read what is left of a log whose transactions are damaged; implies nothing is written.
    pub salvage: bool,
    /// Make the index anew from the log, even if it is whole.
    pub rebuild: bool,
    /// The identity the store must have, if known.
    pub store_id: Option<[u8; 16]>,
    /// Bytes after which a segment is sealed.
    pub segment_size: u32,
    /// Bytes of the index that are kept in memory, at most [`MAX_INDEX_MEMORY`]. An index that takes more lies in sled.
    pub index_memory: usize,
    /// Parity that new segments get, in percent of their bytes, at most [`crate::MAX_PARITY`]; 0: none.
    pub parity: u8,
}

impl OpenOptions {
    /// Whether anything may be written.
    pub(crate) fn writes(&self) -> bool {
        !(self.read_only || self.salvage)
    }
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            read_only: false,
            salvage: false,
            rebuild: false,
            store_id: None,
            segment_size: DEFAULT_SEGMENT,
            index_memory: MAX_INDEX_MEMORY,
            parity: 0,
        }
    }
}

/// Default for the bytes of a segment.
pub const DEFAULT_SEGMENT: u32 = 64 << 20;
/// Smallest segment size.
pub const MIN_SEGMENT: u32 = 4 << 10;
/// Largest segment size.
pub const MAX_SEGMENT: u32 = 1 << 30;
/// Default and greatest value for the bytes of the index that are kept in memory: the rows of some 80,000 files.
pub const MAX_INDEX_MEMORY: usize = MOST_IN_MEMORY;

/// What opening found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Why the index was made anew from the log; None when it was whole.
    pub rebuilt: Option<String>,
    /// Bytes cut off the end of the log, left there by a crash and never promised.
    pub cut_bytes: u64,
    /// Transactions read from the log.
    pub transactions: u64,
    /// Damage that was found and contained, in words.
    pub warnings: Vec<String>,
}

/// What a commit did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct CommitReport {
    /// Number of the transaction.
    pub seq: u64,
    /// Swaps and merges that found a stored block elsewhere, or not at all, and did nothing.
    pub skipped: Vec<Skipped>,
}

/// A stored block that a swap put elsewhere: the same contents, coded anew or copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Its number.
    pub id: u64,
    /// Where it was.
    pub old: BlockRef,
    /// Where it is now.
    pub new: BlockRef,
}

/// What is told of blocks that moved, and of files that take another amount of space because stored blocks that they
/// use were coded anew or merged.
type OnMoved = Box<dyn Fn(&[Moved], &BTreeSet<u64>) + Send + Sync>;

/// A store. All methods take `&self`; any number of threads may use it.
///
/// Lock order: `collecting`, `checkpointing`, `committing`, `contents`, `state`, the locks of the log (its head first),
/// then one of `pending`, `held` and those of `parity_files`. Whoever reads takes `state` alone, and nothing is synced
/// under it.
pub struct Store {
    io: Arc<dyn Io>,
    store_id: [u8; 16],
    read_only: bool,
    /// Number of the last transaction when the store was opened.
    opened_seq: u64,
    log: Log,
    state: RwLock<State>,
    /// One commit at a time: what a transaction does is worked out on the state it will be applied to.
    committing: Mutex<()>,
    /// One checkpoint at a time.
    checkpointing: Mutex<()>,
    /// One garbage collection at a time.
    collecting: Mutex<()>,
    segment_size: u32,
    index_memory: usize,
    /// The newest segment when the store was opened: what was written since is in it or in later ones.
    opened_segment: u32,
    /// The newest segment that the marker names.
    noted_segment: Mutex<u32>,
    /// Blocks appended whose transaction is still to come, by segment and offset: no garbage yet.
    pending: Mutex<BTreeSet<(u32, u32)>>,
    /// Stored blocks in use that somebody is about to name in one more extent, by where they lay then and the tag that
    /// they had, and by how many.
    held: Mutex<BTreeMap<(u32, u32, u8), usize>>,
    /// Number of the next stored block.
    next_id: AtomicU64,
    /// Finds stored blocks by what they decode to.
    contents: Mutex<digests::Contents>,
    parity_files: parity_files::ParityFiles,
    on_moved: OnceLock<OnMoved>,
}

/// What a commit changes.
struct State {
    index: Index,
    counters: Counters,
    /// What a checkpoint under way has still to write.
    snapshot: Option<Snapshot>,
}

impl State {
    fn apply(&mut self, rows: Delta, counters: &Counters) {
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.keep(&self.index, &rows);
        }
        self.index.apply(rows);
        self.counters.add(counters);
    }

    /// Shows the rows of the snapshot that were not taken yet, in key order, until `each` breaks.
    fn snapshot_rows<B>(&self, each: impl FnMut(&[u8], &[u8]) -> ControlFlow<B>) -> crate::Result<Option<B>> {
        match &self.snapshot {
            Some(snapshot) => snapshot.scan(&self.index, each),
            None => Ok(None),
        }
    }
}

impl Store {
    /// Identity of the store, as its log says.
    pub fn store_id(&self) -> [u8; 16] {
        self.store_id
    }

    /// Number of the last transaction.
    pub fn seq(&self) -> u64 {
        self.log.seq()
    }

    /// Whether the store was opened for reading only.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read()
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write()
    }

    fn committing(&self) -> MutexGuard<'_, ()> {
        self.committing.lock()
    }

    /// Bytes that can still be written to where the store lies.
    pub fn free_space(&self) -> crate::Result<u64> {
        let free = self.io.free_space();
        free.map_err(|e| crate::Error::io("ask for the free space of", "the store", e))
    }

    /// From now on `told` is called with the stored blocks that each transaction moves, and the files whose use of
    /// space that changes, after it took place, on the thread that committed it: for who remembers something of blocks
    /// by where they lie. The first call of this counts.
    pub fn on_moved(&self, told: impl Fn(&[Moved], &BTreeSet<u64>) + Send + Sync + 'static) {
        let _ = self.on_moved.set(Box::new(told));
    }

    /// Tags of the stored blocks that are in use, or held by somebody who is about to use them again: without a new
    /// swap or a new block, no commit to come brings back any other.
    pub fn tags_in_use(&self) -> BTreeSet<u8> {
        // A block that is named again and let go of meanwhile would be seen neither here nor there.
        let _no_commits = self.committing();
        let mut tags = self.state().counters.tags();
        tags.extend(self.held.lock().keys().map(|(_, _, tag)| *tag));
        tags
    }

    /// What the store holds and takes.
    pub fn totals(&self) -> Totals {
        let mut totals = self.state().counters.totals();
        let live = self.state().counters.live_bytes();
        totals.log_bytes = self.log.segments().iter().map(|s| s.len()).sum();
        let in_use = live.saturating_add(self.row_bytes_at_most());
        totals.dead_bytes = totals.log_bytes.saturating_sub(in_use);
        totals.parity_bytes = self.parity_files.bytes();
        // Files that come and go while sled works are worth no error.
        let files = self.io.list(INDEX_FOLDER).unwrap_or_default();
        totals.index_bytes = files.iter().map(|f| f.allocated).sum();
        totals
    }
}
