//! Applying the log's transactions, in order and without a gap.

use super::checkpoint::{complete, load, walk};
use super::files::Files;
use super::replayed::Replayed;
use crate::apply;
use crate::change::{Malformed, decode_transaction};
use crate::counters::Counters;
use crate::index::{Index, MemPages, Pages};
use crate::io::Io;
use crate::log::{Frame, Item, Measured, Position, RecordKind, Segment};
use crate::store::OpenReport;
use crate::wire::Reader;
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// Makes empty pages for a new index.
pub(super) type NewPages<'a> = &'a dyn Fn() -> Result<Box<dyn Pages>>;

/// Makes the state from the log alone: from the newest checkpoint that leads to the end without a gap, or else from
/// the beginning.
pub(super) fn replay(
    io: &dyn Io,
    files: &Files,
    salvage: bool,
    pages: NewPages<'_>,
    report: &mut OpenReport,
) -> Result<Replayed> {
    // The log is no worse for an index that cannot be written.
    let attempt_from =
        |start, salvage, report: &mut OpenReport| match attempt_from(io, files, start, salvage, Some(pages), report) {
            Err(Error::Index(why)) => {
                *report = OpenReport::default();
                report
                    .warnings
                    .push(format!("{why}: the index is kept in memory until the next start"));
                attempt_from(io, files, start, salvage, None, report)
            }
            other => other,
        };
    let newest = files.segments.keys().next_back().copied().unwrap_or(0);
    let headers = files
        .segments
        .values()
        .rev()
        .filter_map(|(_, h)| h.as_ref().map(|h| h.checkpoint));
    // Places that a valid record names. Mostly the first is right; only damage makes us read on for others.
    let mut starts = complete(io, files, newest)?;
    starts.extend(headers.filter(|p| p.segment > 0));
    // Without any, mostly there is no checkpoint yet, and the beginning is right.
    let mut starts = few(starts);
    if starts.is_empty() {
        starts.push(None);
    }
    let mut first_error = None;
    let mut searched = false;
    let mut next = 0;
    loop {
        let Some(start) = starts.get(next).copied() else {
            if searched {
                break;
            }
            searched = true;
            let more = few(complete(io, files, 0)?).into_iter().chain([None]);
            let more: Vec<_> = more.filter(|p| !starts.contains(p)).collect();
            starts.extend(more);
            continue;
        };
        next += 1;
        let mut attempt = OpenReport::default();
        match attempt_from(start, false, &mut attempt) {
            Ok(state) => {
                report.transactions = attempt.transactions;
                report.warnings.append(&mut attempt.warnings);
                return Ok(state);
            }
            Err(e @ Error::LogDamaged { .. }) => {
                first_error.get_or_insert(e);
            }
            Err(e) => return Err(e),
        }
    }
    let error = first_error.unwrap_or_else(|| Error::NotAStore("the log is empty".into()));
    if !salvage {
        return Err(error);
    }
    report.warnings.push(error.to_string());
    for start in starts {
        let mut attempt = OpenReport::default();
        if let Ok(state) = attempt_from(start, true, &mut attempt) {
            report.transactions = attempt.transactions;
            report.warnings.append(&mut attempt.warnings);
            return Ok(state);
        }
    }
    Err(error)
}

/// Checkpoints that are tried, beside the beginning, each of which may take reading the whole log. A log has as many
/// only if somebody made it to keep us busy.
const MOST_STARTS: usize = 16;

/// The first places of these, each once.
fn few(places: Vec<Position>) -> Vec<Option<Position>> {
    let mut known = BTreeSet::new();
    let new = places.into_iter().filter(|place| known.insert(*place));
    new.take(MOST_STARTS).map(Some).collect()
}

/// Makes the state from one starting point; without `pages`, in memory.
fn attempt_from(
    io: &dyn Io,
    files: &Files,
    start: Option<Position>,
    salvage: bool,
    pages: Option<NewPages<'_>>,
    report: &mut OpenReport,
) -> Result<Replayed> {
    let in_memory = pages.is_none();
    let pages = || pages.map_or_else(|| Ok(Box::new(MemPages::default()) as Box<dyn Pages>), |pages| pages());
    let state = match start {
        Some(at) => load(io, files, at, pages()?)?,
        None => Replayed {
            index: Index::new(pages()?),
            counters: Counters::default(),
            seq: 0,
            checkpoint: Position::default(),
            since: 0,
            measured: Measured::default(),
        },
    };
    let mut r = Replay {
        state,
        salvage,
        in_memory,
        report,
    };
    walk(io, files, start.unwrap_or_default(), |segment, item| {
        match r.item(segment, item) {
            Ok(()) => ControlFlow::Continue(()),
            Err(e) => ControlFlow::Break(Err(e)),
        }
    })?;
    r.end(io, files)?;
    Ok(r.state)
}

struct Replay<'a> {
    state: Replayed,
    salvage: bool,
    /// Nothing but the log can be to blame for what the index says.
    in_memory: bool,
    report: &'a mut OpenReport,
}

impl Replay<'_> {
    fn item(&mut self, segment: &Segment, item: Item<'_>) -> Result<()> {
        match item {
            Item::Record { offset, frame, payload } => {
                let is_transaction = frame.kind == RecordKind::Transaction;
                let ahead = self.ahead(&frame);
                if ahead == 0 {
                    return Ok(());
                }
                let missing = ahead - u64::from(is_transaction);
                if missing > 0 {
                    let (first, last) = (self.state.seq.saturating_add(1), self.state.seq.saturating_add(missing));
                    self.lost(
                        segment,
                        offset,
                        format!("transactions {first} to {last} are missing before it"),
                    )?;
                    self.state.seq = last;
                }
                if is_transaction {
                    self.transaction(segment, offset, payload)
                } else {
                    Ok(())
                }
            }
            Item::BadPayload { offset, frame } if frame.kind.is_contents() => {
                let text = format!(
                    "the {} at offset {offset} of {} ({} bytes) is damaged",
                    frame.kind.name(),
                    segment.name(),
                    frame.len
                );
                self.report.warnings.push(text);
                Ok(())
            }
            Item::Unreadable { offset, error, .. } => {
                self.report
                    .warnings
                    .push(format!("{} cannot be read at offset {offset}: {error}", segment.name()));
                Ok(())
            }
            // Its frame is whole, and says so itself: perhaps no record follows that would.
            Item::BadPayload { offset, frame } if self.ahead(&frame) > 0 => {
                let last = self.state.seq.saturating_add(self.ahead(&frame));
                self.lost(segment, offset, format!("transaction {last} is damaged"))?;
                self.state.seq = last;
                Ok(())
            }
            // Whether a transaction was lost here shows in the number of the next record, or of the marker.
            Item::BadPayload { offset, .. } | Item::Garbage { offset, .. } => {
                self.report
                    .warnings
                    .push(format!("{} is damaged at offset {offset}", segment.name()));
                Ok(())
            }
        }
    }

    /// How many transactions a record is ahead of us; more than half the range means behind.
    fn ahead(&self, frame: &Frame) -> u64 {
        let ahead = frame.seq.wrapping_sub(self.state.seq as u32);
        u64::from(if ahead > u32::MAX / 2 { 0 } else { ahead })
    }

    fn transaction(&mut self, segment: &Segment, offset: u64, payload: &[u8]) -> Result<()> {
        self.state.seq = self.state.seq.saturating_add(1);
        self.report.transactions += 1;
        self.state.since += payload.len() as u64;
        let mut r = Reader::new(payload);
        let changes = match r.varint() {
            None => Err(Malformed::Empty),
            Some(_) => decode_transaction(r.rest()),
        };
        let applied = match changes.map(|changes| apply::effect(&self.state.index, self.state.seq, &changes)) {
            Ok(Ok(effect)) => Ok(effect),
            // That is no fault of the log.
            Ok(Err(e @ Error::Index(_))) if !self.in_memory => return Err(e),
            Ok(Err(e)) => Err(e.to_string()),
            Err(why) => Err(why.to_string()),
        };
        match applied {
            Ok(effect) => {
                // As the commit counted it.
                self.state.since += effect.put_bytes().saturating_sub(payload.len() as u64);
                self.state.index.apply(effect.rows);
                self.state.counters.add(&effect.counters);
                self.state.index.settle(usize::MAX).map(drop)
            }
            Err(why) => self.lost(segment, offset, format!("transaction {}: {why}", self.state.seq)),
        }
    }

    /// Nothing may be missing at the very end either, where no later record would show it.
    fn end(&mut self, io: &dyn Io, files: &Files) -> Result<()> {
        let Some((segment, header)) = files.segments.values().next_back() else {
            return Ok(());
        };
        let footer = if segment.is_sealed() { segment.footer(io) } else { None };
        let known = [header.map(|h| h.seq), footer.map(|f| f.seq)];
        let Some(last) = known.into_iter().flatten().max() else {
            return Ok(());
        };
        if last > self.state.seq {
            let first = self.state.seq.saturating_add(1);
            let end = segment.len();
            self.lost(
                segment,
                end,
                format!("transactions {first} to {last} are missing before it"),
            )?;
            self.state.seq = last;
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::list;
    use super::*;
    use crate::index::{Changes, Entry};
    use crate::{Change, CreateOptions, MemIo, OpenOptions, Store};
    use std::sync::Arc;

    /// An index on a full disk.
    struct NoRoom;

    impl Pages for NoRoom {
        fn floor(&self, _key: &[u8]) -> Result<Option<Entry>> {
            Ok(None)
        }

        fn write(&mut self, _changes: Changes) -> Result<()> {
            Err(Error::Index("no room".into()))
        }

        fn flush(&mut self) -> Result<()> {
            Ok(())
        }

        fn in_memory(&self) -> bool {
            false
        }
    }

    /// It was called damage of the log, or the store was not opened at all.
    #[test]
    fn an_index_that_cannot_be_written_is_made_in_memory() {
        let io = MemIo::new();
        let store = Store::create(Arc::new(io.clone()), CreateOptions::new([1; 16])).unwrap();
        let key = |n: u32| n.to_be_bytes().to_vec();
        for from in (0..9000).step_by(100) {
            let put = |n| Change::PutMeta {
                key: key(n),
                value: vec![7; 1000],
            };
            let _put = store.commit((from..from + 100).map(put).collect()).unwrap();
        }
        for checkpoint in [false, true] {
            if checkpoint {
                store.checkpoint().unwrap();
            }
            let files = list(&io, &OpenOptions::default()).unwrap();
            let mut report = OpenReport::default();
            let replayed = replay(&io, &files, false, &|| Ok(Box::new(NoRoom)), &mut report).unwrap();
            let row = replayed.index.get(&crate::index::rows::meta_key(&key(8999))).unwrap();
            assert_eq!(row, Some(vec![7; 1000]), "{checkpoint}");
            assert_eq!(replayed.checkpoint.segment > 0, checkpoint);
            assert_eq!(report.warnings.len(), 1, "{report:?}");
        }
    }
}
