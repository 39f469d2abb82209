//! Flushing: dirty blocks become blocks in the log and one transaction with their extents, the size and the times.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lmfs_codec::Header;
use lmfs_indexer::{BlockRef, Change, Extent};

use super::buffer::Snapshot;
use super::loader::cost;
use super::node::{Node, State};
use super::{Error, Filesystem, Result};
use crate::cache::LoadErrorKind;
use crate::packer::Tag;
use crate::room::{self, Use};

/// What became of one dirty block.
enum Stored {
    /// It is in the log.
    Block(Snapshot, Extent),
    /// Only a part of it was written, and the rest is damaged in the log: it cannot be kept.
    Lost(Snapshot, Error),
}

impl Stored {
    fn appended(&self) -> Option<BlockRef> {
        match self {
            Self::Block(_, extent) => Some(extent.r),
            Self::Lost(..) => None,
        }
    }
}

impl Filesystem {
    /// Stores what is dirty in `node`: all of it, or without the block that a sequential writer is at. Waits for the
    /// log, and for a decode where a block was written to in part. What could not be stored stays in memory. What had
    /// to be given up is no error of this: it is noted in the node for whoever asks with [`State::tell_lost`].
    pub(super) fn flush_node(&self, node: &Arc<Node>, all: bool) -> Result<()> {
        let _one_at_a_time = node.flushing.lock();
        let (snapshots, size, truncations) = {
            let mut state = node.lock();
            state.flush_queued = false;
            (state.dirty.snapshot(all), state.inode.size, state.truncations)
        };
        let mut result = Ok(());
        let (mut stored, mut appended) = (Vec::new(), Vec::new());
        let mut begun = Instant::now();
        let mut coming = snapshots.iter();
        let ahead = |snapshot| self.decode_ahead(node.ino, snapshot, size);
        coming.by_ref().take(self.options.decode_threads).for_each(ahead);
        for snapshot in &snapshots {
            coming.next().into_iter().for_each(ahead);
            result = self.store_block(node, snapshot, size).map(|block| {
                appended.extend(block.appended());
                stored.push(block);
            });
            // Where bases take long to decode, what is stored does not wait for all of them.
            if result.is_ok() && begun.elapsed() >= self.options.commit_age {
                let blocks = std::mem::take(&mut stored);
                result = self.commit_blocks(node, &mut node.lock(), blocks, size, truncations);
                begun = Instant::now();
            }
            if result.is_err() {
                break;
            }
        }
        let mut state = node.lock();
        let committed = self.commit_blocks(node, &mut state, stored, size, truncations);
        let result = committed.and(result);
        // Those that were not committed, because the file or the block is gone or the disk is full, are garbage.
        self.store.abandon_blocks(&appended);
        if state.dirty.is_empty() {
            state.dirty_since = None;
            self.dirty.clean(node.ino);
        }
        drop(state);
        self.tell_stored(node.ino);
        self.counters.flushed(&result);
        result
    }

    fn commit_blocks(
        &self,
        node: &Node,
        state: &mut State,
        stored: Vec<Stored>,
        size: u64,
        truncations: u64,
    ) -> Result<()> {
        if state.gone {
            return Ok(());
        }
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
                    tracing::error!(ino = node.ino, block = snapshot.block, "gave up written data: {error}");
                    state.dirty.stored(&snapshot);
                    state.lost = Some(error);
                }
            }
        }
        let ino = node.ino;
        let stored_size = self.size_after(state, &done, size, truncations);
        let mut inode = state.inode.clone();
        inode.size = stored_size;
        let mut changes: Vec<Change> = runs
            .into_iter()
            .map(|(first, extents)| Change::PutExtents { ino, first, extents })
            .collect();
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

    /// The size to store with the blocks `done`: as far as the contents are stored, too.
    fn size_after(&self, state: &State, done: &[Snapshot], size: u64, truncations: u64) -> u64 {
        if truncations != state.truncations {
            return state.inode.size;
        }
        // The first block beyond the stored size that still waits bounds what may be promised.
        let mut from = state.stored_size / self.block_size();
        let mut waiting = None;
        while let Some(block) = state.dirty.next(from) {
            if done.binary_search_by_key(&block, |snapshot| snapshot.block).is_err() {
                waiting = Some(block * self.block_size());
                break;
            }
            from = block + 1;
        }
        size.min(waiting.unwrap_or(u64::MAX)).max(state.stored_size)
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
            match self.base(node.ino, snapshot.block)? {
                ControlFlow::Continue(base) => base,
                ControlFlow::Break(error) => return Ok(Stored::Lost(snapshot.clone(), error)),
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

    /// What the log holds of a block that was written to in part; `Break` when that is damaged.
    fn base(&self, ino: u64, block: u64) -> Result<ControlFlow<Error, Vec<u8>>> {
        match self.read_block_wait(ino, block) {
            Ok(base) => Ok(ControlFlow::Continue(base)),
            Err(error) if error.kind == LoadErrorKind::Damaged => Ok(ControlFlow::Break(error.into())),
            Err(error) => Err(error.into()),
        }
    }

    /// Stores what is dirty in all files. Waits for the log.
    ///
    /// # Errors
    /// The first failure; the other files are stored nevertheless.
    pub fn flush_all(&self) -> Result<()> {
        self.flush_nodes(&self.dirty.all(), || true)
    }

    /// Stores what has been dirty for `age`, the oldest first. Failures are logged and counted, and tried again at the
    /// next round.
    pub(super) fn flush_older(&self, age: Duration) {
        let since = |node: Arc<Node>| {
            let since = node.lock().dirty_since?;
            (since.elapsed() >= age).then_some((since, node))
        };
        let mut nodes: Vec<_> = self.dirty.all().into_iter().filter_map(since).collect();
        nodes.sort_by_key(|(since, _)| *since);
        let nodes: Vec<_> = nodes.into_iter().map(|(_, node)| node).collect();
        let _ = self.flush_nodes(&nodes, || true);
    }

    /// Flushes files until a writer may go on.
    pub(super) fn make_room(&self) -> Result<()> {
        let result = self.flush_nodes(&self.dirty.all(), || self.write_waits());
        if self.write_waits() { result } else { Ok(()) }
    }

    /// Stores what is dirty in one after another, while it `goes_on`. Returns the first failure; the others are stored
    /// nevertheless.
    fn flush_nodes(&self, nodes: &[Arc<Node>], goes_on: impl Fn() -> bool) -> Result<()> {
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
        let mut result = Ok(());
        for node in nodes {
            if !goes_on() {
                break;
            }
            coming.next().into_iter().for_each(ahead);
            let flushed = self.flush_node(node, true);
            result = result.and(flushed);
        }
        result
    }
}
