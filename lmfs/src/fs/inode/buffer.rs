//! Written bytes that are not in the log yet.
//!
//! A [`WriteBuffer`] holds, for one file, the blocks that were written to and which of their bytes are new. A flush
//! takes a snapshot, stores it without holding any lock, and then says what it stored: blocks that were not written to
//! again leave the buffer. A truncation that comes in between drops blocks or gives them a new incarnation, so that a
//! flush that began earlier cannot bring cut-off bytes back.
//!
//! A block whose bytes were appended to the log, but whose transaction failed, remembers where they are: the next flush
//! commits those and appends nothing.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lmfs_indexer::{Extent, HeldBlock, PendingBlock};

use super::ranges::Ranges;

/// Bytes of one block that are newer than the log's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirtyBlock {
    data: Vec<u8>,
    ranges: Ranges,
}

impl DirtyBlock {
    /// Whether every byte in `range` of the block is new.
    pub fn covers(&self, range: Range<usize>) -> bool {
        self.ranges.covers(range)
    }

    /// Whether every byte below `len` is new once those in `range` are, too.
    fn covers_with(&self, range: Range<usize>, len: usize) -> bool {
        let mut ranges = self.ranges.clone();
        ranges.insert(range);
        ranges.covers(0..len)
    }

    /// One past the last new byte.
    pub fn end(&self) -> usize {
        self.data.len()
    }

    /// Copies the new bytes among those from `start` on over what `out` holds, so that a reader sees what is not
    /// flushed yet (read-your-writes).
    pub fn overlay(&self, start: usize, out: &mut [u8]) {
        let window = start..start + out.len();
        for range in self.ranges.within(window) {
            // A panic would become EIO. Bytes that are left out would be read as older ones.
            #[expect(clippy::indexing_slicing, reason = "ranges lie in the window, and in the data")]
            out[range.start - start..range.end - start].copy_from_slice(&self.data[range]);
        }
    }

    fn write(&mut self, start: usize, bytes: &[u8]) {
        let end = start + bytes.len();
        if self.data.len() < end {
            self.data.resize(end, 0);
        }
        #[expect(clippy::indexing_slicing, reason = "the data reaches to the end")]
        self.data[start..end].copy_from_slice(bytes);
        self.ranges.insert(start..end);
    }

    fn clip(&mut self, keep: usize) {
        self.ranges.clip(keep);
        self.data.truncate(self.ranges.end());
    }
}

/// A dirty block as a flush sees it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Number of the block in its file.
    pub block: u64,
    /// The bytes.
    pub data: Arc<DirtyBlock>,
    /// Where they are in the log already.
    pub appended: Option<Arc<Appended>>,
    incarnation: u64,
}

impl Snapshot {
    fn of((block, slot): (&u64, &Slot)) -> Self {
        Self {
            block: *block,
            data: slot.data.clone(),
            appended: slot.appended.clone(),
            incarnation: slot.incarnation,
        }
    }
}

/// A block's new contents in the log, for a transaction to come.
#[derive(Debug)]
pub struct Appended {
    /// The extent that the transaction has to name.
    pub extent: Extent,
    /// Keeps the block from garbage collection until then.
    pub _kept: Kept,
}

/// What keeps a block in the log.
#[derive(Debug)]
#[expect(dead_code, reason = "they are kept for what their drop does")]
pub enum Kept {
    /// It is new.
    Pending(PendingBlock),
    /// It is stored already, with the same contents.
    Held(HeldBlock),
}

#[derive(Debug)]
struct Slot {
    data: Arc<DirtyBlock>,
    incarnation: u64,
    /// Some of the block's bytes are older than the buffer: to store it, they may have to be decoded.
    is_partial: bool,
    appended: Option<Arc<Appended>>,
}

/// Dirty blocks of all files.
#[derive(Debug, Default)]
pub struct Totals {
    blocks: AtomicU64,
    partial: AtomicU64,
}

impl Totals {
    /// Dirty blocks.
    pub fn blocks(&self) -> u64 {
        self.blocks.load(Ordering::Relaxed)
    }

    /// Those of them that were written in part.
    pub fn partial(&self) -> u64 {
        self.partial.load(Ordering::Relaxed)
    }

    fn add(&self, is_partial: bool) {
        self.blocks.fetch_add(1, Ordering::Relaxed);
        self.partial.fetch_add(u64::from(is_partial), Ordering::Relaxed);
    }

    fn remove(&self, slot: &Slot) {
        self.blocks.fetch_sub(1, Ordering::Relaxed);
        self.partial.fetch_sub(u64::from(slot.is_partial), Ordering::Relaxed);
    }

    fn change(&self, before: bool, after: bool) {
        match (before, after) {
            (true, false) => self.partial.fetch_sub(1, Ordering::Relaxed),
            (false, true) => self.partial.fetch_add(1, Ordering::Relaxed),
            _ => return,
        };
    }
}

/// The dirty blocks of one file. They are also counted in totals shared by all files.
#[derive(Debug)]
pub struct WriteBuffer {
    slots: BTreeMap<u64, Slot>,
    bytes: u64,
    incarnations: u64,
    totals: Arc<Totals>,
}

impl WriteBuffer {
    /// An empty buffer that adds the blocks it holds to `totals`.
    pub fn new(totals: Arc<Totals>) -> WriteBuffer {
        WriteBuffer {
            slots: BTreeMap::new(),
            bytes: 0,
            incarnations: 0,
            totals,
        }
    }

    /// Whether nothing is dirty.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The new bytes of a block.
    pub fn get(&self, block: u64) -> Option<&Arc<DirtyBlock>> {
        self.slots.get(&block).map(|slot| &slot.data)
    }

    /// The first dirty block at or after `block`.
    pub fn next(&self, block: u64) -> Option<u64> {
        self.slots.range(block..).next().map(|(block, _)| *block)
    }

    /// Takes in bytes at `start` of a block, of which the file has `len` bytes then. A snapshot taken before keeps the
    /// old ones.
    pub fn write(&mut self, block: u64, start: usize, bytes: &[u8], len: usize) {
        if bytes.is_empty() {
            return;
        }
        // A new slot belongs to the present incarnation: snapshots from before a cut are not current for it.
        let incarnation = self.incarnations;
        let slot = self.slots.entry(block).or_insert_with(|| {
            self.totals.add(false);
            Slot {
                data: Arc::default(),
                incarnation,
                is_partial: false,
                appended: None,
            }
        });
        let before = slot.data.end();
        // Copies the block if a snapshot holds it, so the flush goes on with the bytes that it took.
        Arc::make_mut(&mut slot.data).write(start, bytes);
        // What lies in the log is no longer what the block holds.
        slot.appended = None;
        self.bytes += (slot.data.end() - before) as u64;
        let is_partial = !slot.data.covers(0..len);
        self.totals.change(slot.is_partial, is_partial);
        slot.is_partial = is_partial;
    }

    /// Whether writing `range` of a block, of which the file has `len` bytes then, would make one more block that is
    /// written in part.
    pub fn would_be_partial(&self, block: u64, range: Range<usize>, len: usize) -> bool {
        match self.slots.get(&block) {
            Some(slot) => !slot.is_partial && !slot.data.covers_with(range, len),
            None => !DirtyBlock::default().covers_with(range, len),
        }
    }

    /// What `snapshot` shows is in the log now, though no transaction names it yet.
    pub fn appended(&mut self, snapshot: &Snapshot, appended: Arc<Appended>) {
        if let Some(slot) = self.slots.get_mut(&snapshot.block)
            && Arc::ptr_eq(&slot.data, &snapshot.data)
            && slot.incarnation == snapshot.incarnation
        {
            slot.appended = Some(appended);
        }
    }

    /// Forgets the blocks in `range`: they were cut off or made a hole. Flushes under way will not store them.
    pub fn remove(&mut self, range: Range<u64>) {
        self.incarnations += 1;
        let blocks: Vec<u64> = self.slots.range(range).map(|(block, _)| *block).collect();
        for block in blocks {
            self.take(block);
        }
    }

    /// Forgets the bytes of a block from `keep` on. Flushes under way will not store the old state.
    pub fn clip(&mut self, block: u64, keep: usize) {
        self.incarnations += 1;
        let Some(slot) = self.slots.get_mut(&block) else {
            return;
        };
        let before = slot.data.end();
        Arc::make_mut(&mut slot.data).clip(keep);
        // A flush that has a snapshot from before must not store the bytes that were cut off.
        slot.incarnation = self.incarnations;
        slot.appended = None;
        let after = slot.data.end();
        self.bytes -= (before - after) as u64;
        if after == 0 {
            self.take(block);
        }
    }

    /// The dirty blocks as they are now, in ascending order.
    pub fn snapshot(&self) -> Vec<Snapshot> {
        self.slots.iter().map(Snapshot::of).collect()
    }

    /// Whether a snapshot still describes what was written: nothing of it was cut off since.
    pub fn is_current(&self, snapshot: &Snapshot) -> bool {
        self.slots
            .get(&snapshot.block)
            .is_some_and(|slot| slot.incarnation == snapshot.incarnation)
    }

    /// A snapshot is stored: the block leaves the buffer unless it was written to meanwhile. Says whether it left.
    pub fn stored(&mut self, snapshot: &Snapshot) -> bool {
        // The pointer tells: a write since has made a copy of its own.
        let same = self
            .slots
            .get(&snapshot.block)
            .is_some_and(|slot| Arc::ptr_eq(&slot.data, &snapshot.data));
        if same {
            self.take(snapshot.block);
        }
        same
    }

    fn take(&mut self, block: u64) {
        if let Some(slot) = self.slots.remove(&block) {
            self.bytes -= slot.data.end() as u64;
            self.totals.remove(&slot);
        }
    }
}

impl Drop for WriteBuffer {
    fn drop(&mut self) {
        self.slots.values().for_each(|slot| self.totals.remove(slot));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const LEN: usize = 16;

    fn buffer() -> (WriteBuffer, Arc<Totals>) {
        let totals = Arc::<Totals>::default();
        (WriteBuffer::new(totals.clone()), totals)
    }

    fn read(buffer: &WriteBuffer, block: u64, len: usize) -> Vec<u8> {
        let mut out = vec![b'.'; len];
        if let Some(data) = buffer.get(block) {
            data.overlay(0, &mut out);
        }
        out
    }

    #[test]
    fn new_bytes_lie_over_old_ones() {
        let (mut buffer, totals) = buffer();
        buffer.write(3, 2, b"abc", LEN);
        buffer.write(3, 7, b"xy", LEN);
        buffer.write(3, 4, b"CD", LEN);
        assert_eq!(read(&buffer, 3, 10), b"..abCD.xy.");
        assert_eq!(buffer.bytes(), 9);
        assert_eq!(totals.blocks(), 1);
        let mut middle = *b"----";
        buffer.get(3).unwrap().overlay(5, &mut middle);
        assert_eq!(&middle, b"D-xy");
        drop(buffer);
        assert_eq!(totals.blocks(), 0);
    }

    #[test]
    fn what_is_written_during_a_flush_stays_dirty() {
        let (mut buffer, _) = buffer();
        buffer.write(0, 0, b"first", LEN);
        buffer.write(1, 0, b"other", LEN);
        let snapshots = buffer.snapshot();
        buffer.write(0, 0, b"F", LEN);
        let left: Vec<bool> = snapshots.iter().map(|s| buffer.stored(s)).collect();
        assert_eq!(left, [false, true]);
        assert_eq!(read(&buffer, 0, 5), b"First");
        assert!(buffer.get(1).is_none());
    }

    #[test]
    fn a_flush_that_began_before_a_truncation_is_not_current() {
        let (mut buffer, totals) = buffer();
        buffer.write(0, 0, b"secret", LEN);
        buffer.write(1, 0, b"gone", LEN);
        let snapshots = buffer.snapshot();
        buffer.clip(0, 3);
        buffer.remove(1..u64::MAX);
        buffer.write(1, 0, b"back", LEN);
        assert!(snapshots.iter().all(|snapshot| !buffer.is_current(snapshot)));
        assert_eq!(read(&buffer, 0, 6), b"sec...");
        assert_eq!((buffer.bytes(), totals.blocks()), (7, 2));
        buffer.clip(0, 0);
        assert_eq!((buffer.bytes(), totals.blocks()), (4, 1));
        assert_eq!((buffer.next(0), buffer.next(2)), (Some(1), None));
    }

    #[test]
    fn blocks_written_in_part_are_counted_until_they_are_whole_or_gone() {
        let (mut buffer, totals) = buffer();
        buffer.write(0, 0, &[1; LEN], LEN);
        assert_eq!((totals.blocks(), totals.partial()), (1, 0));
        assert!(buffer.would_be_partial(1, 3..5, LEN) && !buffer.would_be_partial(0, 3..5, LEN));
        buffer.write(1, 3, b"ab", LEN);
        assert!(!buffer.would_be_partial(1, 0..1, LEN), "it is one already");
        buffer.write(2, 0, b"the last block", 14);
        assert_eq!((totals.blocks(), totals.partial()), (3, 1));
        buffer.write(1, 0, b"abc", 5);
        assert_eq!((totals.blocks(), totals.partial()), (3, 0));
        buffer.write(2, 15, b"!", LEN);
        buffer.write(3, 1, b"x", LEN);
        assert_eq!((totals.blocks(), totals.partial()), (4, 2));
        buffer.remove(3..4);
        assert_eq!((totals.blocks(), totals.partial()), (3, 1));
        drop(buffer);
        assert_eq!((totals.blocks(), totals.partial()), (0, 0));
    }
}
