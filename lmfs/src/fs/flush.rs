//! Flushing: dirty blocks become blocks in the log and one transaction with their extents, the size and the times.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lmfs_codec::Header;
use lmfs_indexer::{Change, Extent};

use super::buffer::Snapshot;
use super::loader::cost;
use super::node::{Node, State};
use super::{Errno, Error, Filesystem, Result};
use crate::cache::LoadErrorKind;
use crate::packer::Tag;
use crate::room::{self, Use};

/// What became of one dirty block.
enum Stored {
    /// It is in the log.
    Block(Snapshot, Extent),
    /// Only a part of it was written, and the rest is damaged in the log: it cannot be kept.
    Lost(Snapshot, Error),
    /// Only a part of it was written, and the rest cannot be read now: it stays in memory.
    Waits(Error),
}

/// How much a flush stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Span {
    All,
    /// All but the last block, to which a sequential writer will come back.
    ButLast,
    /// What it comes to within [`Options::commit_age`](super::Options::commit_age), and one block at least.
    Slice,
}

/// How far a flush came.
struct Flushed {
    /// The first of the blocks that stay in memory because the rest of them cannot be read.
    waits: Option<Error>,
    /// A slice was over before everything was stored.
    cut_short: bool,
}

/// A file as a flush found it.
struct Found {
    /// What is to be stored.
    snapshots: Vec<Snapshot>,
    /// The dirty block that is left out.
    left_out: Option<u64>,
    size: u64,
    truncations: u64,
}

impl Found {
    fn new(state: &State, span: Span) -> Found {
        let mut snapshots = state.dirty.snapshot();
        let left_out = if span == Span::ButLast { snapshots.pop() } else { None };
        Found {
            snapshots,
            left_out: left_out.map(|snapshot| snapshot.block),
            size: state.inode.size,
            truncations: state.truncations,
        }
    }
}

impl Filesystem {
    /// Stores what is dirty in `node`: all of it, or without the block that a sequential writer is at. Waits for the
    /// log, and for a decode where a block was written to in part. What could not be stored stays in memory. What had
    /// to be given up is no error of this: it is noted in the node.
    pub(super) fn flush_node(&self, node: &Arc<Node>, all: bool) -> Result<()> {
        let span = if all { Span::All } else { Span::ButLast };
        self.flush_blocks(node, span)?.waits.map_or(Ok(()), Err)
    }

    /// [`Filesystem::flush_node`]; blocks whose rest cannot be read are no failure of it.
    fn flush_blocks(&self, node: &Arc<Node>, span: Span) -> Result<Flushed> {
        let _one_at_a_time = node.flushing.lock();
        let found = {
            let mut state = node.lock();
            state.flush_queued = false;
            Found::new(&state, span)
        };
        let mut flushed = Flushed {
            waits: None,
            cut_short: false,
        };
        let (mut result, mut committed) = (Ok(()), Ok(()));
        let (mut tried, mut stored, mut appended) = (0, Vec::new(), Vec::new());
        let mut begun = Instant::now();
        let mut coming = found.snapshots.iter();
        let ahead = |snapshot| self.decode_ahead(node.ino, snapshot, found.size);
        coming.by_ref().take(self.options.decode_threads).for_each(ahead);
        for snapshot in &found.snapshots {
            coming.next().into_iter().for_each(ahead);
            match self.store_block(node, snapshot, found.size) {
                Ok(Stored::Waits(error)) => flushed.waits = flushed.waits.or(Some(error)),
                Ok(block) => {
                    if let Stored::Block(_, extent) = &block {
                        appended.push(extent.r);
                    }
                    stored.push(block);
                }
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
            tried += 1;
            // Where bases take long to decode, what is stored does not wait for all of them.
            if !stored.is_empty() && begun.elapsed() >= self.options.commit_age {
                flushed.cut_short = span == Span::Slice && tried < found.snapshots.len();
                if flushed.cut_short {
                    break;
                }
                let blocks = std::mem::take(&mut stored);
                committed = self.commit_blocks(node, &mut node.lock(), &found, blocks, tried);
                if committed.is_err() {
                    break;
                }
                begun = Instant::now();
            }
        }
        let mut state = node.lock();
        // One that failed leaves a gap that the next must not make part of the file.
        let committed = committed.and_then(|()| self.commit_blocks(node, &mut state, &found, stored, tried));
        let result = committed.and(result);
        // Those that were not committed, because the file or the block is gone or the disk is full, are garbage.
        self.store.abandon_blocks(&appended);
        if state.dirty.is_empty() {
            state.dirty_since = None;
            self.dirty.clean(node.ino);
        }
        if !found.snapshots.is_empty() || state.dirty.is_empty() {
            let failure = result.as_ref().err().or(flushed.waits.as_ref());
            self.counters.flushed(&mut state, failure);
        }
        drop(state);
        self.tell_stored(node.ino);
        result.map(|()| flushed)
    }

    /// Commits blocks, with a size that holds as far as the first `tried` of those found reach.
    fn commit_blocks(
        &self,
        node: &Node,
        state: &mut State,
        found: &Found,
        stored: Vec<Stored>,
        tried: usize,
    ) -> Result<()> {
        if state.gone {
            return Ok(());
        }
        let ino = node.ino;
        let mut runs: Vec<(u64, Vec<Option<Extent>>)> = Vec::new();
        let mut done = Vec::with_capacity(stored.len());
        for block in stored {
            match block {
                Stored::Block(snapshot, extent) if state.dirty.is_current(&snapshot) => {
                    match runs.last_mut() {
                        Some((first, run)) if *first + run.len() as u64 == snapshot.block => run.push(Some(extent)),
                        _ => runs.push((snapshot.block, vec![Some(extent)])),
                    }
                    done.push(snapshot);
                }
                // It was cut off while it was being stored.
                Stored::Block(..) => {}
                Stored::Lost(snapshot, error) => {
                    tracing::error!(ino, block = snapshot.block, "gave up written data: {error}");
                    state.dirty.stored(&snapshot);
                    state.lost.add(error);
                }
                Stored::Waits(_) => {}
            }
        }
        let stored_size = self.size_after(state, found, tried);
        let mut inode = state.inode.clone();
        inode.size = stored_size;
        let mut changes = Vec::new();
        if stored_size > state.stored_size {
            changes.extend(self.cut_beyond(ino, state.stored_size)?);
        }
        changes.extend(
            runs.into_iter()
                .map(|(first, extents)| Change::PutExtents { ino, first, extents }),
        );
        if changes.is_empty() && stored_size == state.stored_size {
            return Ok(());
        }
        changes.push(Change::PutInode(inode));
        self.commit(changes)?;
        state.stored_size = stored_size;
        for snapshot in &done {
            state.dirty.stored(snapshot);
        }
        Ok(())
    }

    /// The size to store once the first `tried` of the blocks found are stored: up to the next one, so that no block lies
    /// beyond the size, and no size beyond contents that can be stored. What was written only during the flush
    /// does not hold it back, nor does a block that waits in memory because the rest of it cannot be read.
    fn size_after(&self, state: &State, found: &Found, tried: usize) -> u64 {
        if found.truncations != state.truncations {
            return state.stored_size;
        }
        let next = found.snapshots.get(tried).map(|snapshot| snapshot.block);
        let next = next.or(found.left_out);
        let bound = next.map_or(u64::MAX, |block| block.saturating_mul(self.block_size()));
        found.size.min(bound).max(state.stored_size)
    }

    /// The change that drops blocks beyond the end of a file of `size` bytes, if there are any. Flushes once left
    /// some there, and a file that grows must not show them.
    pub(super) fn cut_beyond(&self, ino: u64, size: u64) -> Result<Option<Change>> {
        let from = size.div_ceil(self.block_size());
        let beyond = self.store.next_extent(ino, from)?;
        Ok(beyond.map(|_| Change::TruncateExtents { ino, from }))
    }

    /// How many bytes of a block a file of `size` bytes has.
    fn bytes_in(&self, block: u64, size: u64) -> usize {
        let start = block.saturating_mul(self.block_size());
        let bytes = self.block_size().min(size.saturating_sub(start));
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// Has the rest of a block that was written to in part decoded, while others are stored.
    fn decode_ahead(&self, ino: u64, snapshot: &Snapshot, size: u64) {
        if snapshot.data.covers(0..self.bytes_in(snapshot.block, size)) {
            return;
        }
        // Whoever stores the block looks again, and hears of errors.
        if let Ok(Some(extent)) = self.extent(ino, snapshot.block) {
            self.blocks.read_ahead(extent.r, cost(&extent));
        }
    }

    fn store_block(&self, node: &Node, snapshot: &Snapshot, size: u64) -> Result<Stored> {
        let limit = self.bytes_in(snapshot.block, size);
        let mut raw = if snapshot.data.covers(0..limit) {
            Vec::new()
        } else {
            match self.read_block_wait(node.ino, snapshot.block) {
                Ok(base) => base,
                Err(error) => {
                    let why = format!("the rest of block {} cannot be read: {error}", snapshot.block);
                    let why = Error::with(Errno::IO, why);
                    return Ok(match error.kind {
                        LoadErrorKind::Damaged => Stored::Lost(snapshot.clone(), why),
                        LoadErrorKind::Failed | LoadErrorKind::Moved => Stored::Waits(why),
                    });
                }
            }
        };
        raw.truncate(limit);
        raw.resize(raw.len().max(snapshot.data.end().min(limit)), 0);
        snapshot.data.overlay(0, &mut raw);
        let encoded = self.codec.first_copy(&raw)?;
        room::check(&self.store, Use::Data)?;
        let Tag(tag) = Tag::written(Header::parse(&encoded)?.method);
        let r = self.store.append_block(node.ino, snapshot.block, &encoded)?;
        let extent = Extent {
            r,
            tag,
            raw_len: u32::try_from(raw.len()).unwrap_or(u32::MAX),
        };
        Ok(Stored::Block(snapshot.clone(), extent))
    }

    /// Stores what is dirty in all files. Waits for the log.
    ///
    /// # Errors
    /// The first failure; the other files are stored nevertheless.
    pub fn flush_all(&self) -> Result<()> {
        let mut failure = None;
        self.each_node(&self.dirty.all(), |node| {
            failure = failure.take().or(self.flush_node(node, true).err());
            true
        });
        failure.map_or(Ok(()), Err)
    }

    /// Stores what has been dirty for `age`. Failures are logged and counted, and tried again at the next round.
    pub(super) fn flush_older(&self, age: Duration) {
        let _ = self.flush_in_turn(age, || !self.closed.load(Ordering::SeqCst));
    }

    /// Flushes files until somebody may go on who writes to `range` of a file. If memory stays full of blocks whose rest
    /// cannot be read, he may unless he would make one more of them.
    pub(super) fn make_room(&self, ino: u64, range: Range<u64>) -> Result<()> {
        let flushed = self.flush_in_turn(Duration::ZERO, || self.write_waits());
        if !self.write_waits() {
            return Ok(());
        }
        flushed?;
        for edge in [range.start, range.end] {
            if !edge.is_multiple_of(self.block_size()) {
                self.read_block_wait(ino, edge / self.block_size())?;
            }
        }
        Ok(())
    }

    /// Stores what has been dirty for `age`, the oldest first, and a slice of each file in turn, while it `goes_on`: nobody
    /// waits for all that another file has to decode. Returns the first failure; the others are stored nevertheless.
    fn flush_in_turn(&self, age: Duration, goes_on: impl Fn() -> bool) -> Result<()> {
        let since = |node: Arc<Node>| {
            let since = node.lock().dirty_since?;
            (since.elapsed() >= age).then_some((since, node))
        };
        let (mut failure, mut cut_short) = (None, true);
        while cut_short && goes_on() {
            let mut nodes: Vec<_> = self.dirty.all().into_iter().filter_map(since).collect();
            nodes.sort_by_key(|(since, _)| *since);
            let nodes: Vec<_> = nodes.into_iter().map(|(_, node)| node).collect();
            cut_short = false;
            self.each_node(&nodes, |node| {
                match self.flush_blocks(node, Span::Slice) {
                    Ok(flushed) => cut_short |= flushed.cut_short,
                    Err(error) => failure = failure.take().or(Some(error)),
                }
                goes_on()
            });
        }
        failure.map_or(Ok(()), Err)
    }

    /// Has `act` flush one node after another until it says that it is enough; the first block of each is decoded ahead.
    fn each_node(&self, nodes: &[Arc<Node>], mut act: impl FnMut(&Arc<Node>) -> bool) {
        let mut coming = nodes.iter();
        let ahead = |node: &Arc<Node>| {
            let state = node.lock();
            let (first, size) = (state.dirty.first(), state.inode.size);
            drop(state);
            if let Some(snapshot) = first {
                self.decode_ahead(node.ino, &snapshot, size);
            }
        };
        coming.by_ref().take(self.options.decode_threads).for_each(ahead);
        for node in nodes {
            coming.next().into_iter().for_each(ahead);
            if !act(node) {
                break;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use crate::fs::SetAttr;
    use crate::fs::tests::{BLOCK, Disk};

    const B: u64 = BLOCK as u64;

    /// A file with whole blocks at `blocks`, as a flush finds it that goes on for as long as the test wants.
    fn begun(disk: &Disk, blocks: &[u64]) -> (Arc<Node>, Found) {
        let node = disk.fs.node(disk.file("file")).unwrap();
        for block in blocks {
            disk.fs.write(node.ino, block * B, &[7; BLOCK as usize], false).unwrap();
        }
        let found = Found::new(&node.lock(), Span::All);
        (node, found)
    }

    fn commit(disk: &Disk, node: &Node, found: &Found, at: usize) {
        let snapshot = found.snapshots.get(at).unwrap();
        let stored = disk.fs.store_block(node, snapshot, found.size).unwrap();
        disk.fs
            .commit_blocks(node, &mut node.lock(), found, vec![stored], at + 1)
            .unwrap();
    }

    /// It held the size down while higher blocks were committed: a crash made them unreachable, check called the store
    /// damaged, and a file that grew showed them where zeros were due.
    #[test]
    fn a_block_first_written_during_a_flush_leaves_no_other_beyond_the_size() {
        let disk = Disk::new();
        let (node, found) = begun(&disk, &[5, 6]);
        disk.fs.write(node.ino, B, b"new", false).unwrap();
        commit(&disk, &node, &found, 0);
        assert_eq!(node.lock().stored_size, 6 * B);
        assert_eq!(disk.fs.store().next_extent(node.ino, 6).unwrap(), None);
        commit(&disk, &node, &found, 1);
        let ino = node.ino;
        drop(node);
        let disk = disk.crash();
        let mut expected = vec![0; 7 * BLOCK as usize];
        expected[5 * BLOCK as usize..].fill(7);
        assert_eq!(disk.all(ino), expected);
    }

    /// The size of what was written since was stored with what was flushed before: after a crash it was all zeros.
    #[test]
    fn a_flush_during_which_the_file_was_cut_and_written_anew_stores_no_size_without_data() {
        let disk = Disk::new();
        let (node, found) = begun(&disk, &[0, 1]);
        let size = SetAttr {
            size: Some(B),
            ..SetAttr::default()
        };
        disk.fs.setattr(node.ino, size, false).unwrap();
        disk.fs.write(node.ino, 3 * B, &[9; 100], false).unwrap();
        commit(&disk, &node, &found, 0);
        commit(&disk, &node, &found, 1);
        let ino = node.ino;
        drop(node);
        let disk = disk.crash();
        assert_eq!(disk.all(ino), [7; BLOCK as usize]);
    }
}
