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
mod background;
mod buffer;
mod copy;
mod create;
mod dir;
mod dirty;
mod edit;
mod error;
mod flush;
mod handle;
mod link;
mod loader;
mod node;
mod options;
mod ranges;
mod read;
mod read_ahead;
mod remove;
mod rename;
mod seek;
mod stats;
mod truncate;
mod types;
pub mod virtual_xattr;
mod walk;
mod write;
mod xattr;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use lmfs_codec::{Codec, Stop};
use lmfs_indexer::{BlockRef, Change, Moved, SkippedSwap, Store};
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

use crate::cache::{Blocks, Pool};
use dirty::DirtyNodes;
use handle::Handles;
use loader::Loader;
use node::{Node, NodeTable};

/// Number of the root directory, as FUSE wants it too.
pub const ROOT: u64 = lmfs_indexer::ROOT_INO;

/// Longest name in bytes.
pub const MAX_NAME: usize = lmfs_indexer::MAX_NAME;

/// A filesystem over an open store.
pub struct Filesystem {
    me: Weak<Filesystem>,
    store: Arc<Store>,
    codec: Codec,
    options: Options,
    nodes: NodeTable,
    dirty: DirtyNodes,
    handles: Handles,
    walks: walk::Walks,
    /// Deleted inodes that the kernel still refers to.
    ghosts: Mutex<std::collections::HashMap<u64, Arc<Node>>>,
    blocks: Blocks<BlockRef>,
    jobs: Pool,
    /// Held while names change, so that a directory's entries, link counts and ".." move together.
    namespace: Mutex<()>,
    next_ino: AtomicU64,
    /// Something was committed since the log was last made durable.
    unsynced: AtomicBool,
    counters: Arc<stats::Counters>,
    /// Told which inodes changed what they take in the store.
    on_stored: OnceLock<Box<dyn Fn(u64) + Send + Sync>>,
    /// The end has begun: nothing changes any more, though the kernel may still ask.
    closed: AtomicBool,
    stop: Stop,
    background: background::Background,
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
        let jobs = Pool::new("lmfs-job", options.job_threads).map_err(threads)?;
        let next_ino = store.max_ino().max(ROOT) + 1;
        let dirty = DirtyNodes::default();
        let fs = Arc::new_cyclic(|me| Filesystem {
            me: me.clone(),
            nodes: NodeTable::new(dirty.total()),
            dirty,
            handles: Handles::default(),
            walks: walk::Walks::default(),
            ghosts: Mutex::default(),
            blocks,
            jobs,
            namespace: Mutex::default(),
            next_ino: AtomicU64::new(next_ino),
            unsynced: AtomicBool::new(false),
            counters,
            on_stored: OnceLock::new(),
            closed: AtomicBool::new(false),
            stop,
            background: background::Background::default(),
            store,
            codec,
            options,
        });
        let me = fs.me.clone();
        fs.store.on_moved(move |moves| {
            if let Some(fs) = me.upgrade() {
                fs.blocks_moved(moves);
            }
        });
        fs.delete_orphans()?;
        fs.background.start(&fs).map_err(threads)?;
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

    /// Runs `job` on a thread that may wait. Jobs still queued at [`Filesystem::shutdown`] are finished there.
    pub fn run(&self, job: impl FnOnce(&Filesystem) + Send + 'static) {
        if let Some(me) = self.me.upgrade() {
            self.jobs.run(move || job(&me));
        }
    }

    /// Blocks lie elsewhere with the same contents (they were packed, or moved by garbage collection): the cache keeps
    /// them, and the kernel learns that their files take another amount of space.
    fn blocks_moved(&self, moves: &[Moved]) {
        for Moved { old, new, .. } in moves {
            self.blocks.moved(old, *new);
        }
        let files: BTreeSet<u64> = moves.iter().map(|moved| moved.ino).collect();
        files.into_iter().for_each(|ino| self.tell_stored(ino));
    }

    /// From now on `told` is called with the inodes whose use of space changes without a request that says so. The first
    /// call of this counts.
    pub fn on_stored(&self, told: impl Fn(u64) + Send + Sync + 'static) {
        let _ = self.on_stored.set(Box::new(told));
    }

    pub(crate) fn tell_stored(&self, ino: u64) {
        if let Some(told) = self.on_stored.get() {
            told(ino);
        }
    }

    /// Makes everything written so far durable. Waits for the disk.
    ///
    /// # Errors
    /// What the first failing flush, or the store, reports; what could not be stored stays in memory.
    pub fn sync(&self) -> Result<()> {
        if self.options.read_only {
            return Ok(());
        }
        let flushed = self.flush_all();
        self.sync_log()?;
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
        self.jobs.shutdown();
        let synced = self.sync();
        if synced.is_err() {
            for node in self.dirty.all() {
                let bytes = node.lock().dirty.bytes();
                tracing::error!(ino = node.ino, bytes, "gave up written data that could not be stored");
            }
        }
        self.stop.set();
        self.blocks.shutdown();
        synced
    }

    /// Whether a reader waits for a block to be decoded now.
    pub fn is_awaited(&self) -> bool {
        self.blocks.is_awaited()
    }

    pub(crate) fn node(&self, ino: u64) -> Result<Arc<Node>> {
        if let Some(ghost) = self.ghosts.lock().get(&ino) {
            return Ok(ghost.clone());
        }
        self.nodes.get(ino, &self.store)
    }

    /// Makes the log durable, if anything was committed since that was last done.
    pub(crate) fn sync_log(&self) -> Result<()> {
        let was = self.unsynced.swap(false, Ordering::SeqCst);
        let synced = self.store.sync().map_err(Error::from);
        if synced.is_err() {
            self.unsynced.fetch_or(was, Ordering::SeqCst);
        }
        self.counters.synced(&synced);
        synced
    }

    /// Commits changes. Swaps that found another extent than they expected come back.
    pub(crate) fn commit_swaps(&self, changes: Vec<Change>) -> Result<Vec<SkippedSwap>> {
        let report = self.store.commit(changes)?;
        self.unsynced.store(true, Ordering::SeqCst);
        Ok(report.skipped)
    }

    /// Commits changes none of which is a swap.
    pub(crate) fn commit(&self, changes: Vec<Change>) -> Result<()> {
        self.commit_swaps(changes).map(drop)
    }

    pub(crate) fn commit_edit(&self, edit: edit::Edit<'_>) -> Result<()> {
        edit.commit(self)
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

#[cfg(test)]
mod tests;
