//! Read-ahead: a sequential reader finds its next blocks decoded, a random one costs no block but its own.

use lmfs_indexer::BlockRef;
use parking_lot::Mutex;

use super::Filesystem;
use super::loader::cost;
use crate::cache::Cost;

/// How far off the expected place a read may be and still count as sequential: the kernel's own read-ahead asks for
/// pieces of this size in any order.
const SLACK: u64 = 256 << 10;

/// Sequential bytes before read-ahead begins, in blocks.
const RUN_UP: u64 = 1;

/// How one open handle has been read.
#[derive(Default)]
pub struct ReadAhead(Mutex<Pattern>);

#[derive(Default)]
struct Pattern {
    /// Where the next read is expected.
    next: u64,
    /// Bytes read in sequence.
    run: u64,
    /// First block that was not asked for yet.
    asked: u64,
    /// What was asked for and may be taken back.
    keys: Vec<BlockRef>,
}

impl Filesystem {
    /// Notes a read through `handle`'s pattern and decodes ahead if it is one of a sequence. Only blocks that are dear to
    /// decode are: for the others, the kernel's read-ahead is enough.
    pub(super) fn read_ahead(&self, ino: u64, pattern: &ReadAhead, offset: u64, size: u64) {
        let bs = self.block_size();
        let mut pattern = pattern.0.lock();
        let end = offset.saturating_add(size);
        if offset.abs_diff(pattern.next) <= SLACK.min(bs) {
            pattern.run += size;
            pattern.next = pattern.next.max(end);
        } else {
            let keys = std::mem::take(&mut pattern.keys);
            self.blocks.cancel_read_ahead(keys);
            *pattern = Pattern {
                next: end,
                run: 0,
                asked: 0,
                keys: Vec::new(),
            };
        }
        if pattern.run < RUN_UP * bs || self.options.read_ahead == 0 {
            return;
        }
        let next_block = pattern.next.saturating_sub(1) / bs + 1;
        let first = next_block.max(pattern.asked);
        let last = next_block + self.options.read_ahead;
        if first >= last {
            return;
        }
        pattern.asked = last;
        let Ok(extents) = self.store.extents(ino, first..last) else {
            return;
        };
        pattern.keys.clear();
        for extent in extents
            .into_iter()
            .flatten()
            .filter(|extent| cost(extent) == Cost::Dear)
        {
            pattern.keys.push(extent.r);
            self.blocks.read_ahead(extent.r, Cost::Dear);
        }
    }
}
