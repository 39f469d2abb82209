//! One slice of a flush: dirty blocks become blocks in the log, and then part of the file.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use lmfs_codec::Header;
use lmfs_indexer::{Extent, HeldBlock};

use super::WriteBack;
use crate::cache::{Block, LoadError, LoadErrorKind, Loaded};
use crate::fs::error::{Errno, Error, Result};
use crate::fs::inode::buffer::{Appended, Kept, Snapshot};
use crate::fs::inode::node::{Node, State};
use crate::fs::reader::counted;
use crate::store::Tag;
use crate::store::reserve::{self, Purpose};
use crate::task::yield_now;

/// What was decoded for a flush, by block: which stored block it was, and what came of it.
pub(super) type Bases = HashMap<u64, (u64, Loaded)>;

/// What became of one dirty block.
pub(super) enum BlockOutcome {
    /// It is in the log.
    Stored(Snapshot, Arc<Appended>),
    /// Only a part of it was written, and the rest is damaged in the log: it cannot be kept.
    Lost(Snapshot, Error),
    /// Only a part of it was written, and the rest cannot be read now: it stays in memory.
    Deferred(Error),
    /// Only a part of it was written, and the rest has to be decoded first.
    Cold,
}

/// How much a slice stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    All,
    /// All but the last block, to which a sequential writer will come back.
    ButLast,
    /// What it comes to within [`Options::commit_age`](crate::fs::options::Options::commit_age), and one block at
    /// least.
    Short,
}

/// What a slice left in memory.
#[derive(Default)]
pub(super) struct Left {
    /// Why the first of the blocks stays whose rest cannot be read.
    pub waits: Option<Error>,
    /// Blocks whose rest has to be decoded.
    pub cold: Vec<u64>,
    /// Time was up before everything was stored.
    pub cut_short: bool,
}

/// What a flush is to store of a file, as it was when the flush began.
pub(super) struct FlushPlan {
    /// What is to be stored.
    pub snapshots: Vec<Snapshot>,
    /// The dirty block that is left out.
    pub left_out: Option<u64>,
    pub size: u64,
    pub truncations: u64,
}

impl FlushPlan {
    pub fn new(state: &State, span: Span) -> FlushPlan {
        let mut snapshots = state.dirty.snapshot();
        let left_out = if span == Span::ButLast { snapshots.pop() } else { None };
        FlushPlan {
            snapshots,
            left_out: left_out.map(|snapshot| snapshot.block),
            size: state.inode.size,
            truncations: state.truncations,
        }
    }
}

/// The bytes below those that were written.
enum Base {
    /// None are needed, or there are none.
    Nothing,
    Block(Extent, Block),
    Cold,
    Unreadable(LoadError),
}

impl WriteBack {
    /// Takes the node's turn and stores what is dirty in it and needs no decode beyond `bases`.
    pub(super) async fn slice(&self, node: &Arc<Node>, span: Span, bases: &Bases) -> Result<Left> {
        let _one_at_a_time = node.flushing.lock().await;
        let plan = {
            let mut state = node.lock();
            if span != Span::Short {
                state.flush_queued = false;
            }
            FlushPlan::new(&state, span)
        };
        let mut left = Left::default();
        let (mut result, mut committed) = (Ok(()), Ok(()));
        let (mut tried, mut stored) = (0, Vec::new());
        let mut begun = Instant::now();
        for snapshot in &plan.snapshots {
            match self.store_block(node, snapshot, plan.size, bases) {
                Ok(BlockOutcome::Deferred(error)) => left.waits = left.waits.or(Some(error)),
                Ok(BlockOutcome::Cold) => left.cold.push(snapshot.block),
                Ok(block) => stored.push(block),
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
            tried += 1;
            if !stored.is_empty() && begun.elapsed() >= self.limits.commit_age {
                left.cut_short = span == Span::Short && tried < plan.snapshots.len();
                if left.cut_short {
                    break;
                }
                let blocks = std::mem::take(&mut stored);
                committed = self.commit_blocks(node, &mut node.lock(), &plan, blocks, tried);
                if committed.is_err() {
                    break;
                }
                begun = Instant::now();
            }
            // Other requests run between the blocks of this one.
            if tried < plan.snapshots.len() {
                yield_now().await;
            }
        }
        let mut state = node.lock();
        // A commit that failed leaves a gap that the next must not make part of the file.
        let committed = committed.and_then(|()| self.commit_blocks(node, &mut state, &plan, stored, tried));
        let result = committed.and(result);
        if state.dirty.is_empty() {
            state.dirty_since = None;
            self.dirty.clean(node.ino);
        }
        self.count(&mut state, &plan, &left, &result);
        drop(state);
        self.progress.notify_waiters();
        self.journal.events().stored(node.ino);
        result.map(|()| left)
    }

    /// Counts what a slice came to. That some blocks were stored says nothing of those that are still to be decoded.
    fn count(&self, state: &mut State, plan: &FlushPlan, left: &Left, result: &Result<()>) {
        let failure = result.as_ref().err().or(left.waits.as_ref());
        let all_stored = left.cold.is_empty() && !plan.snapshots.is_empty();
        if failure.is_some() || all_stored || state.dirty.is_empty() {
            self.journal
                .counters()
                .flushed(state.inode.ino, &mut state.failed, failure);
        }
    }

    /// Appends a block, unless its rest has to be decoded or cannot be.
    pub(super) fn store_block(
        &self,
        node: &Node,
        snapshot: &Snapshot,
        size: u64,
        bases: &Bases,
    ) -> Result<BlockOutcome> {
        if let Some(appended) = &snapshot.appended {
            return Ok(BlockOutcome::Stored(snapshot.clone(), appended.clone()));
        }
        let limit = self.bytes_in(snapshot.block, size);
        let mut raw = match self.base(node.ino, snapshot, limit, bases) {
            Base::Nothing => Vec::new(),
            Base::Block(extent, block) => counted(&extent, &block).to_vec(),
            Base::Cold => return Ok(BlockOutcome::Cold),
            Base::Unreadable(error) => {
                let why = format!("the rest of block {} cannot be read: {error}", snapshot.block);
                let why = Error::with(Errno::IO, why);
                return Ok(match error.kind {
                    LoadErrorKind::Damaged => BlockOutcome::Lost(snapshot.clone(), why),
                    LoadErrorKind::Failed | LoadErrorKind::Moved => BlockOutcome::Deferred(why),
                });
            }
        };
        raw.truncate(limit);
        raw.resize(raw.len().max(snapshot.data.end().min(limit)), 0);
        snapshot.data.overlay(0, &mut raw);
        Ok(BlockOutcome::Stored(snapshot.clone(), Arc::new(self.append(&raw)?)))
    }

    /// Stores a block's bytes, unless they are stored already.
    fn append(&self, raw: &[u8]) -> Result<Appended> {
        let encoded = self.codec.stage(raw)?;
        let header = Header::parse(&encoded)?;
        reserve::ensure(self.store(), Purpose::Data)?;
        if let Some(held) = self.equals.found(self.equal(raw, &header)) {
            return Ok(Appended {
                extent: held.extent(),
                _kept: Kept::Held(held),
            });
        }
        let Tag(tag) = Tag::written(header.method);
        let pending = self.store().append_pending(&encoded)?;
        let extent = Extent::new((pending.id(), pending.location()), tag, header.raw_len);
        Ok(Appended {
            extent: extent.with_digest(header.raw_crc),
            _kept: Kept::Pending(pending),
        })
    }

    /// A stored block with these bytes that is in memory, too: a flush waits neither for the disk nor for a decode to
    /// save space. What else is equal is left to the packer.
    fn equal(&self, raw: &[u8], header: &Header) -> lmfs_indexer::Result<Option<HeldBlock>> {
        let found = self.store().find_equal(header.raw_crc, header.raw_len)?;
        match found.iter().find(|found| self.reader.is_cached_as(found, raw)) {
            Some(equal) => self.store().hold(equal.id),
            None => Ok(None),
        }
    }

    /// What lies below a block's written bytes in the file, of which it has `limit` bytes.
    fn base(&self, ino: u64, snapshot: &Snapshot, limit: usize, bases: &Bases) -> Base {
        let (block, data) = (snapshot.block, &snapshot.data);
        if data.covers(0..limit) {
            return Base::Nothing;
        }
        let extent = match self.reader.extent(ino, block) {
            Ok(Some(extent)) => extent,
            Ok(None) => return Base::Nothing,
            Err(error) => return Base::Unreadable(LoadError::caused(LoadErrorKind::Failed, error)),
        };
        if data.covers(0..limit.min(extent.raw_len as usize)) {
            return Base::Nothing;
        }
        // What was decoded for another extent may be older than what a flush stored since.
        match bases.get(&block).filter(|(id, _)| *id == extent.id) {
            Some((_, Ok(decoded))) => Base::Block(extent, decoded.clone()),
            Some((_, Err(error))) => Base::Unreadable(error.clone()),
            None => match self.reader.cached(ino, block, &extent) {
                Some(decoded) => Base::Block(extent, decoded),
                None => Base::Cold,
            },
        }
    }
}
