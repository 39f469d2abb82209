//! Flushing: dirty blocks become blocks in the log and one transaction with their extents, the size and the times.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use lmfs_codec::Header;
use lmfs_indexer::{Change, Extent};

use super::buffer::Snapshot;
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
        let mut failed = None;
        let mut stored = Vec::with_capacity(snapshots.len());
        for snapshot in snapshots {
            match self.store_block(node, snapshot, size) {
                Ok(block) => stored.push(block),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let mut state = node.lock();
        let committed = self.commit_blocks(node, &mut state, stored, size, truncations);
        if state.dirty.is_empty() {
            state.dirty_since = None;
            self.dirty.clean(node.ino);
        }
        drop(state);
        self.tell_stored(node.ino);
        let result = committed.and(failed.map_or(Ok(()), Err));
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

    fn store_block(&self, node: &Node, snapshot: Snapshot, size: u64) -> Result<Stored> {
        let start = snapshot.block.saturating_mul(self.block_size());
        let limit = self.block_size().min(size.saturating_sub(start));
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut raw = if snapshot.data.covers(0..limit) {
            Vec::new()
        } else {
            match self.base(node.ino, snapshot.block)? {
                ControlFlow::Continue(base) => base,
                ControlFlow::Break(error) => return Ok(Stored::Lost(snapshot, error)),
            }
        };
        raw.truncate(limit);
        raw.resize(raw.len().max(snapshot.data.end().min(limit)), 0);
        snapshot.data.overlay(0, &mut raw);
        let encoded = self.codec.first_copy(&raw)?;
        room::check(&self.store, Use::Data)?;
        let r = self.store.append_block(node.ino, snapshot.block, &encoded)?;
        let extent = Extent {
            r,
            tag: Tag::written(Header::parse(&encoded)?.method).0,
            raw_len: u32::try_from(raw.len()).unwrap_or(u32::MAX),
        };
        Ok(Stored::Block(snapshot, extent))
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
        let mut result = Ok(());
        for node in self.dirty.all() {
            let flushed = self.flush_node(&node, true);
            result = result.and(flushed);
        }
        result
    }

    /// Stores what has been dirty for `age`.
    pub(super) fn flush_older(&self, age: Duration) {
        for node in self.dirty.all() {
            if node.lock().dirty_since.is_some_and(|since| since.elapsed() >= age) {
                // Logged and counted there, retried at the next round.
                let _ = self.flush_node(&node, true);
            }
        }
    }

    /// Flushes files until a writer may go on.
    pub(super) fn make_room(&self) -> Result<()> {
        let mut result = Ok(());
        for node in self.dirty.all() {
            if !self.write_waits() {
                return Ok(());
            }
            result = self.flush_node(&node, true).and(result);
        }
        if self.write_waits() { result } else { Ok(()) }
    }
}
