//! Read-ahead: a sequential reader finds its next blocks decoded, a random one costs no block but its own.

use std::ops::Range;

use parking_lot::Mutex;

use super::Reader;
use super::address::{Address, cost};
use crate::cache::Cost;

/// How far off the expected place a read may be and still count as sequential: the kernel's own read-ahead asks for
/// pieces of this size in any order.
const SLACK: u64 = 256 << 10;

/// Sequential bytes before read-ahead begins, in blocks.
const RUN_UP: u64 = 1;

/// Blocks decoded ahead at first; later twice as many as were read in sequence, up to
/// [`Options::read_ahead`](crate::fs::options::Options::read_ahead).
const FIRST: u64 = 2;

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
    keys: Vec<Address>,
}

impl Reader {
    /// Notes a read of a file of `len` bytes through a handle's pattern. If it is one of a sequence, it decodes ahead:
    /// the blocks that follow in the file, and where it ends, those of the files that come next in a directory scan.
    /// Only blocks that are expensive to decode are: for the others, the kernel's read-ahead is enough.
    pub fn read_ahead(&self, (ino, len): (u64, u64), pattern: &ReadAhead, offset: u64, size: u64) {
        let bs = self.block_size;
        let mut pattern = pattern.0.lock();
        let end = offset.saturating_add(size).min(len);
        if offset.abs_diff(pattern.next) <= SLACK.min(bs) {
            pattern.run += end.saturating_sub(offset);
            pattern.next = pattern.next.max(end);
        } else {
            let keys = std::mem::take(&mut pattern.keys);
            // A jump: what was expected is not wanted any more, and its decodes would hold up others.
            self.blocks.cancel_read_ahead(keys);
            *pattern = Pattern {
                next: end,
                run: 0,
                asked: 0,
                keys: Vec::new(),
            };
        }
        let most = self.ahead;
        // One read is no sequence, unless it is of the whole file.
        if pattern.run < len.min(RUN_UP * bs) || most == 0 {
            return;
        }
        let (blocks, next_block) = (len.div_ceil(bs), pattern.next.div_ceil(bs));
        let first = next_block.max(pattern.asked);
        let last = next_block + most.min(FIRST.max(2 * pattern.run / bs));
        if first >= last {
            return;
        }
        pattern.asked = last;
        pattern.keys = self.prefetch_expensive(ino, first..last.min(blocks));
        if last >= blocks {
            self.prefetch_next_files(ino, most.min(next_block + most - blocks));
        }
    }

    /// Decodes the first blocks of the files that come after `ino` in a directory scan, at most `count` in all.
    fn prefetch_next_files(&self, ino: u64, mut count: u64) {
        for next in self.scans.next(ino, count as usize) {
            count = count.saturating_sub(self.prefetch_expensive(next, 0..count).len() as u64);
        }
    }

    /// Has those of a file's blocks decoded that are expensive to decode, and says which they are.
    fn prefetch_expensive(&self, ino: u64, blocks: Range<u64>) -> Vec<Address> {
        // An index that cannot be read is told to the reader who wants the block.
        let Ok(extents) = self.journal.store().extents(ino, blocks.clone()) else {
            return Vec::new();
        };
        let keys: Vec<Address> = blocks
            .zip(extents)
            .filter_map(|(block, extent)| Some((block, extent?)))
            .filter(|(_, extent)| cost(extent) == Cost::Expensive)
            .map(|(block, extent)| Address::new(ino, block, &extent))
            .collect();
        for &key in &keys {
            self.blocks.read_ahead(key, Cost::Expensive);
        }
        keys
    }
}
