//! Checkpoints: all rows written into the log, so that what came before can be forgotten. docs/FORMAT.md, "Checkpoint".

use super::Store;
use crate::index::{Snapshot, packed, page::Writer};
use crate::log::{FOLDER, Measured, Position, RecordKind};
use crate::wire::{Reader, put_varint};
use crate::{Error, Result};
use std::ops::ControlFlow;

/// Rows of one record take about this many bytes.
const ROWS: usize = 64 << 10;

/// Transactions worth this many bytes, or that put so many bytes of rows, are replayed faster than a checkpoint is
/// written.
const DUE: u64 = 4 << 20;

/// Bytes that a checkpoint may take beside its rows: frames, a footer, a header, and what the filesystem rounds up to.
const BESIDE: u64 = 32 << 10;

/// Bytes that must be free for writing a checkpoint with so many bytes of rows.
fn room_for(rows: u64) -> u64 {
    rows.saturating_add(rows / 8).saturating_add(BESIDE)
}

/// First record of a checkpoint: the state after which transaction it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Begin {
    pub(crate) seq: u64,
    pub(crate) max_ino: u64,
    pub(crate) max_id: u64,
}

impl Begin {
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        put_varint(out, self.seq);
        put_varint(out, self.max_ino);
        put_varint(out, self.max_id);
    }

    pub(crate) fn decode(payload: &[u8]) -> Option<Self> {
        let mut r = Reader::new(payload);
        // Both are counted on from here.
        let mut number = || r.varint().filter(|n| *n <= i64::MAX as u64);
        Some(Self {
            seq: number()?,
            max_ino: number()?,
            max_id: number()?,
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
        let _one_at_a_time = self.checkpointing.lock();
        // A part of one helps nobody, and takes what is needed to delete more.
        let free = self.free_space()?;
        if room_for(self.row_bytes(|rows| room_for(rows) <= free)?) > free {
            return Err(Error::NoSpace {
                what: "a checkpoint, without which no old segment can go",
                path: FOLDER.into(),
            });
        }
        let (begin, at) = self.begin_checkpoint()?;
        let written = self.checkpoint_rows(between);
        self.state_mut().snapshot = None;
        let (rows, bytes) = written?;
        self.log
            .append(RecordKind::CheckpointEnd, 25, |out, _| End { begin, rows }.encode(out))?;
        self.log.sync()?;
        self.log.set_checkpoint(begin, Measured { bytes, at });
        Ok(())
    }

    /// Chooses the moment whose rows are written; gives its place in the log and what was written before it.
    fn begin_checkpoint(&self) -> Result<(Position, u64)> {
        let _no_commits = self.committing();
        let (seq, max_ino, max_id) = (self.log.seq(), self.max_ino(), self.max_id());
        let begin = self.log.append(RecordKind::CheckpointBegin, 30, |out, _| {
            Begin { seq, max_ino, max_id }.encode(out)
        })?;
        // From here on a commit keeps the old rows that the checkpoint has not written yet.
        self.state_mut().snapshot = Some(Snapshot::default());
        Ok((begin, self.log.written()))
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
                let packed = packed::pack(&bytes).map_err(|e| Error::io("compress a checkpoint for", FOLDER, e))?;
                self.log.append(RecordKind::CheckpointRows, packed.len(), |out, _| {
                    out.extend_from_slice(&packed)
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
        let since = self.log.since_checkpoint();
        let due = since > DUE && since > self.log.rows().0;
        if due {
            self.checkpoint().map(|()| true)
        } else {
            Ok(false)
        }
    }

    /// Bytes that must stay free where the store lies, so that a checkpoint can be written and old segments deleted.
    pub fn checkpoint_room(&self) -> u64 {
        room_for(self.row_bytes_at_most())
    }

    /// Bytes that all rows take, or a little more: known without looking at them, but after much was deleted it is too
    /// much.
    pub(super) fn row_bytes_at_most(&self) -> u64 {
        let (measured, since) = self.log.rows();
        measured.saturating_add(since)
    }

    /// As [`Store::row_bytes_at_most`]; if that is not `good`, the rows are looked at.
    pub(super) fn row_bytes(&self, good: impl Fn(u64) -> bool) -> Result<u64> {
        let (measured, since) = self.log.rows();
        if since > 0 && !good(measured.saturating_add(since)) {
            self.measure_rows()?;
        }
        Ok(self.row_bytes_at_most())
    }

    /// Looks how much the rows take, piece by piece, as commits wait for each. What is committed meanwhile counts twice
    /// at most.
    fn measure_rows(&self) -> Result<()> {
        let at = {
            let _all_applied = self.committing();
            self.log.written()
        };
        let (mut bytes, mut next) = (0, Some(Vec::new()));
        while let Some(from) = next {
            let end = bytes + ROWS as u64;
            next = self.state().index.scan(&from, |key, value| {
                if bytes >= end {
                    return ControlFlow::Break(key.to_vec());
                }
                bytes += (key.len() + value.len()) as u64;
                ControlFlow::Continue(())
            })?;
        }
        self.log.set_rows(Measured { bytes, at });
        Ok(())
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{Change, CreateOptions, Extent, Inode, Kind, MAX_COPIED, MemIo, OpenOptions, Time};
    use std::sync::Arc;

    /// Regression: a change of 20 bytes that copies many extents counted for 20 bytes of rows, so that a checkpoint
    /// was not due for long, and the room kept for it was too small.
    #[test]
    fn the_rows_of_copies_count() {
        let io = MemIo::new();
        let store = Store::create(Arc::new(io.clone()), CreateOptions::new([1; 16])).unwrap();
        let file = |ino| Change::PutInode(Inode::new(ino, Kind::File, 0o644, Time::default()));
        let extent = Extent::new(store.append_block(b"bytes").unwrap(), 0, 5);
        let put = Change::PutExtents {
            ino: 2,
            first: 0,
            extents: vec![Some(extent); MAX_COPIED as usize],
        };
        let _made = store.commit(vec![file(2), put]).unwrap();
        for ino in 3..100 {
            let copy = Change::CopyExtents {
                ino,
                first: 0,
                from: 2,
                from_first: 0,
                count: MAX_COPIED,
            };
            let _copied = store.commit(vec![file(ino), copy]).unwrap();
        }
        store.sync().unwrap();
        let options = OpenOptions {
            rebuild: true,
            ..OpenOptions::default()
        };
        let (again, _) = Store::open(Arc::new(MemIo::from_files(io.files())), options).unwrap();
        for store in [store, again] {
            let (at_most, since) = (store.row_bytes_at_most(), store.log.since_checkpoint());
            store.measure_rows().unwrap();
            let rows = store.row_bytes_at_most();
            assert!(
                rows > 100_000 && at_most >= rows && since >= rows,
                "{at_most} {since} {rows}"
            );
        }
    }
}
