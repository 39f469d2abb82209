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
mod backpressure;
mod commit;
mod dirty;
mod flush;
mod slice;
mod write;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use lmfs_codec::Codec;
use lmfs_indexer::Store;
use tokio::sync::Notify;

use crate::fs::inode::buffer::Totals;
use crate::fs::inode::node::Node;
use crate::fs::journal::Journal;
use crate::fs::options::Options;
use crate::fs::reader::Reader;
use crate::store::Equals;
use crate::task::Executor;
pub use background::Background;
use dirty::DirtyNodes;
pub use flush::Cold;

/// Dirty bytes of one file from which a flush is queued: some whole blocks, so that a flush is worth its transaction.
const FLUSH_AT: u64 = 4 << 20;

/// Dirty bytes of one file up to which they are stored on the thread that takes requests.
const QUICK: u64 = 16 << 10;

/// The part of the filesystem that stores written data.
pub struct WriteBack {
    journal: Arc<Journal>,
    /// Has the other bytes of blocks that were written in part.
    reader: Arc<Reader>,
    codec: Codec,
    /// Runs flushes that nobody waits for.
    executor: Arc<Executor>,
    dirty: DirtyNodes,
    equals: Equals,
    totals: Arc<Totals>,
    limits: Limits,
    /// One round over all files at a time. Lock order: before any node's `flushing`.
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
    /// Dirty bytes of one file from which a flush is queued.
    flush_at: u64,
    /// How long a flush gathers blocks before it commits what it has.
    commit_age: Duration,
    /// Blocks decoded at a time for one flush.
    decodes: usize,
}

impl WriteBack {
    /// Write-back with nothing dirty. Buffers count their blocks in `totals`.
    pub fn new(
        journal: Arc<Journal>,
        reader: Arc<Reader>,
        codec: Codec,
        executor: Arc<Executor>,
        totals: Arc<Totals>,
        options: &Options,
    ) -> WriteBack {
        WriteBack {
            journal,
            reader,
            codec,
            executor,
            dirty: DirtyNodes::default(),
            equals: Equals::default(),
            totals,
            limits: Limits {
                block_size: u64::from(options.block_size),
                blocks: options.dirty_bytes / u64::from(options.block_size),
                flush_at: FLUSH_AT.min(options.dirty_bytes / 2),
                commit_age: options.commit_age,
                decodes: options.decode_threads.max(1),
            },
            round: tokio::sync::Mutex::default(),
            decoding: AtomicUsize::new(0),
            progress: Notify::new(),
        }
    }

    /// Whether a file has written bytes that are not in the log yet.
    pub fn is_dirty(&self, ino: u64) -> bool {
        self.dirty.contains(ino)
    }

    /// Whether any file has.
    pub fn has_dirty_files(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Whether a file has so little written that storing it takes no longer than a change of a name, unless a block
    /// has to be decoded.
    pub fn is_quick(&self, node: &Node) -> bool {
        let state = node.lock();
        if state.dirty.bytes() > QUICK {
            return false;
        }
        // A block is stored whole, however little of it was written.
        let (mut stored, mut next) = (0, state.dirty.next(0));
        while let Some(block) = next {
            stored += self.bytes_in(block, state.inode.size) as u64;
            if stored > 2 * QUICK {
                return false;
            }
            next = state.dirty.next(block + 1);
        }
        drop(state);
        self.store().has_room_for(2 * QUICK)
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
        self.journal.store()
    }

    /// How many bytes of a block a file of `size` bytes has.
    pub fn bytes_in(&self, block: u64, size: u64) -> usize {
        let start = block.saturating_mul(self.limits.block_size);
        let bytes = self.limits.block_size.min(size.saturating_sub(start));
        bytes as usize
    }
}
