//! Applying the log's transactions, in order and without a gap.

use super::Files;
use crate::apply;
use crate::change::decode_transaction;
use crate::counters::Counters;
use crate::index::{Index, MemPages};
use crate::io::Io;
use crate::log::{Item, Position, RecordKind, Segment, scan};
use crate::store::OpenReport;
use crate::wire::Reader;
use crate::{Error, Result};
use std::ops::ControlFlow;

/// The state after the last transaction.
pub(super) struct Replayed {
    pub(super) index: Index,
    pub(super) counters: Counters,
    pub(super) seq: u64,
    pub(super) checkpoint: Position,
}

/// Makes the state from the log alone.
pub(super) fn replay(
    io: &dyn Io,
    files: &Files,
    salvage: bool,
    report: &mut OpenReport,
) -> Result<Replayed> {
    let mut r = Replay {
        state: Replayed {
            index: Index::new(Box::new(MemPages::default())),
            counters: Counters::default(),
            seq: 0,
            checkpoint: Position::default(),
        },
        salvage,
        report,
    };
    for (segment, _) in files.segments.values() {
        let runs = match segment.is_sealed() {
            true => segment.footer(io)?.map(|f| f.runs),
            false => None,
        };
        for (from, to) in runs.unwrap_or_else(|| vec![(0, segment.len() as u32)]) {
            let to = u64::from(to).min(segment.len());
            let failed = scan(io, segment, u64::from(from), to, |item| {
                match r.item(segment, item) {
                    Ok(true) => ControlFlow::Continue(()),
                    Ok(false) => ControlFlow::Break(None),
                    Err(e) => ControlFlow::Break(Some(e)),
                }
            })?;
            if let Some(e) = failed.flatten() {
                return Err(e);
            }
        }
    }
    Ok(r.state)
}

struct Replay<'a> {
    state: Replayed,
    salvage: bool,
    report: &'a mut OpenReport,
}

impl Replay<'_> {
    /// Takes one item; false after the last of a segment.
    fn item(&mut self, segment: &Segment, item: Item<'_>) -> Result<bool> {
        match item {
            Item::Record {
                offset,
                frame,
                payload,
            } => {
                let step = frame.seq.wrapping_sub(self.state.seq as u32);
                match frame.kind {
                    RecordKind::Transaction if step == 1 => {
                        self.transaction(segment, offset, payload)?
                    }
                    RecordKind::Transaction if step == 0 || step > u32::MAX / 2 => {}
                    _ if step > 0 && step <= u32::MAX / 2 => {
                        let (first, last) = (self.state.seq + 1, self.state.seq + u64::from(step));
                        let last = if frame.kind == RecordKind::Transaction {
                            last - 1
                        } else {
                            last
                        };
                        self.lost(
                            segment,
                            offset,
                            format!("transactions {first} to {last} are missing"),
                        )?;
                        self.state.seq = last;
                        if frame.kind == RecordKind::Transaction {
                            self.transaction(segment, offset, payload)?;
                        }
                    }
                    _ => {}
                }
                Ok(frame.kind != RecordKind::Footer)
            }
            Item::BadPayload { offset, frame } if frame.kind == RecordKind::Block => {
                self.report.warnings.push(format!(
                    "the block at offset {offset} of {} ({} bytes) is damaged",
                    segment.name(),
                    frame.len
                ));
                Ok(true)
            }
            // Whether a transaction was lost here shows in the number of the next record.
            Item::BadPayload { offset, .. } | Item::Garbage { offset, .. } => {
                self.report
                    .warnings
                    .push(format!("{} is damaged at offset {offset}", segment.name()));
                Ok(true)
            }
        }
    }

    fn transaction(&mut self, segment: &Segment, offset: u64, payload: &[u8]) -> Result<()> {
        self.state.seq += 1;
        self.report.transactions += 1;
        let mut r = Reader::new(payload);
        let applied = match r.varint() {
            None => Err("it is empty".to_owned()),
            Some(_) => decode_transaction(r.rest()).and_then(|changes| {
                apply::effect(&self.state.index, &changes).map_err(|e| e.to_string())
            }),
        };
        match applied {
            Ok(effect) => {
                self.state.index.apply(effect.rows);
                self.state.counters.add(&effect.counters);
                self.state.index.settle()
            }
            Err(why) => self.lost(
                segment,
                offset,
                format!("transaction {}: {why}", self.state.seq),
            ),
        }
    }

    fn lost(&mut self, segment: &Segment, offset: u64, why: String) -> Result<()> {
        if !self.salvage {
            return Err(Error::LogDamaged {
                segment: segment.id,
                offset,
                why,
            });
        }
        self.report
            .warnings
            .push(format!("{} at offset {offset}: {why}", segment.name()));
        Ok(())
    }
}
