//! Write-back: written bytes wait in memory until a flush makes blocks in the log of them.
//!
//! A flush works in slices. A slice stores what needs no decode: blocks that were written whole, and those whose other
//! bytes are in memory. It holds the file's turn (`Node::flushing`) meanwhile, and commits its blocks with the size and
//! the times in one transaction. A block that was written in part needs its other bytes from the log first
//! (read-modify-write). The flush asks for these with no turn held and no thread, and the next slice stores what came.
//! So a slow flush holds up nobody: neither other files, nor whole blocks of the same file, nor the thread that runs
//! others' requests.
//!
//! Memory for written data is bounded. Blocks written in part may take half of it: however many of them wait for their
//! decodes, the other half is there for what can be stored at once.

mod background;
mod commit;
mod flush;
mod room;
mod slice;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use lmfs_codec::Codec;
use lmfs_indexer::Store;
use tokio::sync::Notify;

use super::Options;
use super::buffer::Totals;
use super::dirty::DirtyNodes;
use super::events::Events;
use super::journal::Journal;
use super::node::Node;
use super::reader::Reader;
use super::stats::Counters;
use crate::task::Executor;
pub use background::Background;
pub use flush::Cold;
pub use room::Room;

/// What write-back uses of the rest.
pub struct Parts {
    /// Transactions and syncs.
    pub journal: Arc<Journal>,
    /// The other bytes of blocks that were written in part.
    pub reader: Arc<Reader>,
    /// Makes first copies.
    pub codec: Codec,
    /// Counts failures.
    pub counters: Arc<Counters>,
    /// Told of what was stored.
    pub events: Arc<Events>,
    /// Runs flushes that nobody waits for.
    pub executor: Arc<Executor>,
}

/// The part of the filesystem that stores written data.
pub struct WriteBack {
    parts: Parts,
    dirty: DirtyNodes,
    limits: Limits,
    /// One round over all files at a time.
    round: tokio::sync::Mutex<()>,
    /// Flushes under way that wait for decodes.
    decoding: AtomicUsize,
    /// Blocks left the memory, or a flush ended.
    progress: Notify,
}

/// What of the options concerns write-back.
struct Limits {
    block_size: u64,
    /// Memory for dirty blocks, in blocks.
    blocks: u64,
    /// How long a flush gathers blocks before it commits what it has.
    commit_age: Duration,
    /// Blocks decoded at a time for one flush.
    decodes: usize,
}

impl WriteBack {
    /// Write-back with nothing dirty.
    pub fn new(parts: Parts, options: &Options) -> WriteBack {
        WriteBack {
            parts,
            dirty: DirtyNodes::default(),
            limits: Limits {
                block_size: u64::from(options.block_size),
                blocks: options.dirty_bytes / u64::from(options.block_size),
                commit_age: options.commit_age,
                decodes: options.decode_threads.max(1),
            },
            round: tokio::sync::Mutex::default(),
            decoding: AtomicUsize::new(0),
            progress: Notify::new(),
        }
    }

    /// Counters of dirty blocks, for buffers to count in.
    pub fn totals(&self) -> &Arc<Totals> {
        self.dirty.totals()
    }

    /// A file was written to. Its node stays in memory until it is stored.
    pub fn wrote(&self, node: &Arc<Node>) {
        self.dirty.wrote(node);
    }

    /// Whether a file has written bytes that are not in the log yet.
    pub fn is_dirty(&self, ino: u64) -> bool {
        self.dirty.contains(ino)
    }

    /// A file is gone: nothing of it is to be stored.
    pub fn forget(&self, ino: u64) {
        self.dirty.clean(ino);
    }

    /// The files with written bytes in memory.
    pub fn files(&self) -> Vec<Arc<Node>> {
        self.dirty.all()
    }

    fn store(&self) -> &Arc<Store> {
        self.parts.journal.store()
    }

    /// How many bytes of a block a file of `size` bytes has.
    pub fn bytes_in(&self, block: u64, size: u64) -> usize {
        let start = block.saturating_mul(self.limits.block_size);
        let bytes = self.limits.block_size.min(size.saturating_sub(start));
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}
