//! The filesystem without FUSE: every operation as a method, with request and reply types of its own.
//!
//! Metadata changes are committed to the store's log one transaction each, at once. Written bytes wait in memory (see
//! [`buffer`]) until a flush appends them as blocks and commits extents, size and times in one transaction. Reads look
//! at the dirty bytes first, then at the cache, then have the block decoded in a pool; the answer comes from there.
//!
//! All methods may be called from many threads. Those that may wait for a decode, a flush or the disk say so.

mod acl;
mod allocate;
mod attr;
mod buffer;
mod copy;
mod create;
mod dir;
mod dirty;
mod edit;
mod error;
mod events;
mod handle;
mod journal;
mod link;
mod loader;
mod node;
mod options;
mod ranges;
mod read;
mod read_ahead;
mod reader;
mod remove;
mod rename;
mod seek;
mod stats;
mod truncate;
mod types;
pub mod virtual_xattr;
mod walk;
mod write;
mod write_back;
mod xattr;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lmfs_codec::{Codec, Stop};
use lmfs_indexer::{Change, Moved, SkippedSwap, Store};
use parking_lot::Mutex;

pub use copy::Place;
pub use error::{Errno, Error, Result};
pub use options::Options;
pub use stats::Stats;
pub(crate) use types::from_system_time;
pub use types::{
    Allocate, Attr, Caller, Create, DirEntry, Kind, RenameMode, Seek, SetAttr, SetTime, StatFs, Time, XattrMode,
};
pub use virtual_xattr::FileStat;

use crate::cache::Blocks;
use crate::task::{Asker, Executor, wait};
use events::Events;
use handle::Handles;
use journal::Journal;
use loader::Loader;
use node::{Node, NodeTable};
use reader::Reader;
use write_back::{Background, Cold, Parts, WriteBack};

/// Number of the root directory, as FUSE wants it too.
pub const ROOT: u64 = lmfs_indexer::ROOT_INO;

/// Longest name in bytes.
pub const MAX_NAME: usize = lmfs_indexer::MAX_NAME;

/// A filesystem over an open store.
pub struct Filesystem {
    store: Arc<Store>,
    options: Options,
    nodes: NodeTable,
    journal: Arc<Journal>,
    reader: Arc<Reader>,
    write_back: Arc<WriteBack>,
    handles: Handles,
    walks: walk::Walks,
    /// Deleted inodes that the kernel still refers to.
    ghosts: Mutex<std::collections::HashMap<u64, Arc<Node>>>,
    /// Runs requests that wait.
    executor: Arc<Executor>,
    /// Held while names change, so that a directory's entries, link counts and ".." move together.
    namespace: Mutex<()>,
    next_ino: AtomicU64,
    counters: Arc<stats::Counters>,
    events: Arc<Events>,
    /// The end has begun: nothing changes any more, though the kernel may still ask.
    closed: AtomicBool,
    stop: Stop,
    background: Background,
}

impl Filesystem {
    /// The filesystem in `store`, with a background thread that flushes and syncs. Files that had no name left when the
    /// store was last used are deleted.
    ///
    /// # Errors
    /// What the store reports, or a system that gives no threads.
    pub fn new(store: Arc<Store>, codec: Codec, options: Options) -> Result<Arc<Filesystem>> {
        let stop = Stop::new();
        let counters = Arc::new(stats::Counters::default());
        let loader = Loader::new(store.clone(), codec.clone(), stop.clone(), counters.clone());
        let threads = |error: std::io::Error| Error::with(Errno::AGAIN, format!("no threads: {error}"));
        let blocks = Blocks::new(Box::new(loader), options.cache_bytes, options.decode_threads).map_err(threads)?;
        let executor = Arc::new(Executor::new("lmfs-job", options.job_threads).map_err(threads)?);
        let journal = Arc::new(Journal::new(store.clone(), counters.clone()));
        let reader = Arc::new(Reader::new(store.clone(), blocks));
        let events = Arc::new(Events::default());
        let parts = Parts {
            journal: journal.clone(),
            reader: reader.clone(),
            codec,
            counters: counters.clone(),
            events: events.clone(),
            executor: executor.clone(),
        };
        let write_back = Arc::new(WriteBack::new(parts, &options));
        // The reader holds the store, so the store must not hold the reader.
        let (moved, told) = (Arc::downgrade(&reader), events.clone());
        store.on_moved(move |moves| {
            if let Some(reader) = moved.upgrade() {
                blocks_moved(&reader, &told, moves);
            }
        });
        let fs = Arc::new(Filesystem {
            nodes: NodeTable::new(write_back.totals().clone()),
            journal,
            reader,
            write_back,
            handles: Handles::default(),
            walks: walk::Walks::default(),
            ghosts: Mutex::default(),
            executor,
            namespace: Mutex::default(),
            next_ino: AtomicU64::new(store.max_ino().max(ROOT) + 1),
            counters,
            events,
            closed: AtomicBool::new(false),
            stop,
            background: Background::default(),
            store,
            options,
        });
        fs.delete_orphans()?;
        if !fs.options.read_only {
            fs.background.start(&fs.write_back, &fs.journal).map_err(threads)?;
        }
        Ok(fs)
    }

    /// The store's options.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The store beneath.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Runs a request that waits. It holds no thread while it does. Requests that have not ended at
    /// [`Filesystem::shutdown`] are finished there.
    pub fn spawn(&self, asker: Asker, request: impl Future<Output = ()> + Send + 'static) {
        self.executor.spawn(asker, request);
    }

    /// From now on `told` is called with the inodes whose use of space changes without a request that says so. The
    /// first call of this counts.
    pub fn on_stored(&self, told: impl Fn(u64) + Send + Sync + 'static) {
        self.events.on_stored(told);
    }

    /// Makes everything written so far durable. Waits for the disk.
    ///
    /// # Errors
    /// What the first failing flush, or the store, reports; what could not be stored stays in memory.
    pub fn sync(&self) -> Result<()> {
        if self.options.read_only {
            return Ok(());
        }
        let flushed = wait(self.write_back.flush_all());
        self.journal.sync()?;
        flushed
    }

    /// Stores everything, makes it durable and ends all threads. From its start every change is refused (ENOTCONN): the
    /// users of a mount that was detached while they worked in it can still ask for some.
    ///
    /// # Errors
    /// As for [`Filesystem::sync`].
    pub fn shutdown(&self) -> Result<()> {
        self.closed.store(true, Ordering::SeqCst);
        self.background.stop();
        if !self.options.read_only {
            // What has to be decoded is asked for together. Failures are told by the sync below.
            let _ = wait(self.write_back.round(Duration::ZERO, Cold::Decode));
        }
        self.executor.shutdown();
        let synced = self.sync();
        if synced.is_err() {
            for node in self.write_back.files() {
                let bytes = node.lock().dirty.bytes();
                tracing::error!(ino = node.ino, bytes, "gave up written data that could not be stored");
            }
        }
        self.stop.set();
        self.reader.blocks().shutdown();
        synced
    }

    /// Whether a reader waits for a block to be decoded now.
    pub fn is_awaited(&self) -> bool {
        self.reader.blocks().is_awaited()
    }

    pub(crate) fn node(&self, ino: u64) -> Result<Arc<Node>> {
        if let Some(ghost) = self.ghosts.lock().get(&ino) {
            return Ok(ghost.clone());
        }
        self.nodes.get(ino, &self.store)
    }

    /// Commits changes. Swaps that found another extent than they expected come back.
    pub(crate) fn commit_swaps(&self, changes: Vec<Change>) -> Result<Vec<SkippedSwap>> {
        self.journal.commit(changes)
    }

    /// Commits changes none of which is a swap.
    pub(crate) fn commit(&self, changes: Vec<Change>) -> Result<()> {
        self.commit_swaps(changes).map(drop)
    }

    pub(crate) fn commit_edit(&self, edit: edit::Edit<'_>) -> Result<()> {
        edit.commit(self)
    }

    /// Whether a file has written bytes that are not in the log yet.
    pub fn is_dirty(&self, ino: u64) -> bool {
        self.write_back.is_dirty(ino)
    }

    pub(crate) fn writable(&self) -> Result<()> {
        if self.options.read_only {
            Err(Error::new(Errno::ROFS, "mounted for reading only"))
        } else if self.closed.load(Ordering::SeqCst) {
            Err(Error::new(Errno::NOTCONN, "the store is being closed"))
        } else {
            Ok(())
        }
    }

    pub(crate) fn block_size(&self) -> u64 {
        u64::from(self.options.block_size)
    }
}

/// Blocks lie elsewhere with the same contents (they were packed, or moved by garbage collection): the cache keeps
/// them, and the kernel learns that their files take another amount of space.
fn blocks_moved(reader: &Reader, events: &Events, moves: &[Moved]) {
    reader.moved(moves);
    let files: BTreeSet<u64> = moves.iter().map(|moved| moved.ino).collect();
    files.into_iter().for_each(|ino| events.stored(ino));
}

#[cfg(test)]
mod tests;
