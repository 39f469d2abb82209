//! Checkpoints: all rows written into the log, so that what came before can be forgotten. docs/FORMAT.md, "Checkpoint".

use super::Store;
use crate::index::page::Writer;
use crate::log::{Position, RecordKind};
use crate::wire::{Reader, put_varint};
use crate::{Error, Result};
use std::ops::ControlFlow;

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
    /// collection may drop the transactions before.
    pub fn checkpoint(&self) -> Result<()> {
        self.writable()?;
        let _no_commits = self.committing();
        let (seq, max_ino) = (self.log.seq(), self.max_ino());
        let begin = self.log.append(RecordKind::CheckpointBegin, 20, |out, _| {
            Begin { seq, max_ino }.encode(out)
        })?;
        let mut page = Writer::default();
        let (mut rows, mut size) = (0, 0);
        let mut write = |page: &mut Writer| {
            let bytes = page.take();
            size += bytes.len() as u64;
            self.log
                .append(RecordKind::CheckpointRows, bytes.len(), |out, _| {
                    out.extend_from_slice(&bytes)
                })
                .map(drop)
        };
        let failed = self.state().index.scan(&[], |k, v| {
            page.push(k, v);
            rows += 1;
            match if page.len() >= ROWS { write(&mut page) } else { Ok(()) } {
                Ok(()) => ControlFlow::Continue(()),
                Err(e) => ControlFlow::Break(e),
            }
        })?;
        failed.map_or(Ok(()), Err)?;
        if page.len() > 0 {
            write(&mut page)?;
        }
        self.log
            .append(RecordKind::CheckpointEnd, 25, |out, _| End { begin, rows }.encode(out))?;
        self.log.sync()?;
        self.log.set_checkpoint(begin, size);
        Ok(())
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
