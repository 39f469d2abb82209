//! Checkpoints: all rows written into the log, so that what came before can be forgotten. docs/FORMAT.md, "Checkpoint".

use super::Store;
use crate::index::{Snapshot, page::Writer};
use crate::log::{Position, RecordKind};
use crate::wire::{Reader, put_varint};
use crate::{Error, Result};
use std::ops::ControlFlow;
use std::sync::PoisonError;

/// Rows of one record take about this many bytes.
const ROWS: usize = 64 << 10;

/// Transactions worth this many bytes are replayed faster than a checkpoint is written.
const DUE: u64 = 4 << 20;

/// First record of a checkpoint: the state after which transaction it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Begin {
    pub(crate) seq: u64,
    pub(crate) max_ino: u64,
}

impl Begin {
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        put_varint(out, self.seq);
        put_varint(out, self.max_ino);
    }

    pub(crate) fn decode(payload: &[u8]) -> Option<Self> {
        let mut r = Reader::new(payload);
        // Both are counted on from here.
        let mut number = || r.varint().filter(|n| *n <= i64::MAX as u64);
        Some(Self {
            seq: number()?,
            max_ino: number()?,
        })
    }
}

/// Last record of a checkpoint: without it there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) begin: Position,
    /// Rows in all its records.
    pub(crate) rows: u64,
}

impl End {
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        put_varint(out, u64::from(self.begin.segment));
        put_varint(out, u64::from(self.begin.offset));
        put_varint(out, self.rows);
    }

    pub(crate) fn decode(payload: &[u8]) -> Option<Self> {
        let mut r = Reader::new(payload);
        let begin = Position {
            segment: r.varint32()?,
            offset: r.varint32()?,
        };
        Some(Self {
            begin,
            rows: r.varint()?,
        })
    }
}

impl Store {
    /// Writes all rows into the log and makes them durable: opening after a crash starts from here, and garbage
    /// collection may drop the transactions before. Reading and committing go on meanwhile.
    pub fn checkpoint(&self) -> Result<()> {
        self.checkpoint_with(&mut |_rows| ())
    }

    /// As [`Store::checkpoint`]; `between` is called before each piece and before the end, with the number of rows
    /// written so far. It may use the store, but not ask for a checkpoint or for garbage collection.
    pub fn checkpoint_with(&self, between: &mut dyn FnMut(u64)) -> Result<()> {
        self.writable()?;
        let _one_at_a_time = self.checkpointing.lock().unwrap_or_else(PoisonError::into_inner);
        let (begin, before) = self.begin_checkpoint()?;
        let written = self.checkpoint_rows(between);
        self.state_mut().snapshot = None;
        let (rows, size) = written?;
        self.log
            .append(RecordKind::CheckpointEnd, 25, |out, _| End { begin, rows }.encode(out))?;
        self.log.sync()?;
        self.log.set_checkpoint(begin, before, size);
        Ok(())
    }

    /// Chooses the moment whose rows are written; gives its place in the log and the bytes of transactions before it.
    fn begin_checkpoint(&self) -> Result<(Position, u64)> {
        let _no_commits = self.committing();
        let (seq, max_ino) = (self.log.seq(), self.max_ino());
        let begin = self.log.append(RecordKind::CheckpointBegin, 20, |out, _| {
            Begin { seq, max_ino }.encode(out)
        })?;
        self.state_mut().snapshot = Some(Snapshot::default());
        Ok((begin, self.log.since_checkpoint().0))
    }

    /// Writes the snapshot piece by piece; gives its rows and their bytes.
    fn checkpoint_rows(&self, between: &mut dyn FnMut(u64)) -> Result<(u64, u64)> {
        let (mut rows, mut size) = (0, 0);
        let mut page = Writer::default();
        loop {
            between(rows);
            let mut last = Vec::new();
            // Only for as long as a piece takes: commits wait for it.
            let full = self.state().snapshot_rows(|key, value| {
                page.push(key, value);
                rows += 1;
                if page.len() < ROWS {
                    return ControlFlow::Continue(());
                }
                last.extend_from_slice(key);
                ControlFlow::Break(())
            })?;
            let bytes = page.take();
            if !bytes.is_empty() {
                size += bytes.len() as u64;
                self.log.append(RecordKind::CheckpointRows, bytes.len(), |out, _| {
                    out.extend_from_slice(&bytes)
                })?;
            }
            if full.is_none() {
                between(rows);
                return Ok((rows, size));
            }
            if let Some(snapshot) = &mut self.state_mut().snapshot {
                snapshot.taken(&last);
            }
        }
    }

    /// Writes a checkpoint if replaying the transactions since the last one would take longer than reading a new one.
    /// Call it now and then, when nobody waits; says whether it wrote one.
    pub fn checkpoint_if_due(&self) -> Result<bool> {
        let (since, size) = self.log.since_checkpoint();
        let due = since > DUE.max(size);
        if due {
            self.checkpoint().map(|()| true)
        } else {
            Ok(false)
        }
    }
}

/// The error for a checkpoint that cannot be used.
pub(crate) fn unusable(at: Position, why: impl Into<String>) -> Error {
    Error::LogDamaged {
        segment: at.segment,
        offset: u64::from(at.offset),
        why: why.into(),
    }
}
