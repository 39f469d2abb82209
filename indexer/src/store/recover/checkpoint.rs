//! Reading a checkpoint back, and finding those that are there.

use super::files::Files;
use super::replayed::Replayed;
use crate::Result;
use crate::counters::Counters;
use crate::index::page::Rows;
use crate::index::{Loader, Pages, packed};
use crate::io::Io;
use crate::log::{Item, Measured, Position, RecordKind, Segment, scan};
use crate::store::checkpoint::{Begin, End, unusable};
use std::ops::ControlFlow;

/// Shows the items of all segments from a place on, the way a reader of metadata sees them: blocks of sealed segments
/// may be passed over.
pub(super) fn walk(
    io: &dyn Io,
    files: &Files,
    from: Position,
    mut each: impl FnMut(&Segment, Item<'_>) -> ControlFlow<Result<()>>,
) -> Result<()> {
    for (segment, _) in files.segments.range(from.segment..).map(|(_, s)| s) {
        let footer = if segment.is_sealed() { segment.footer(io) } else { None };
        let runs = footer.map_or_else(|| vec![(0, segment.len() as u32)], |f| f.runs);
        let first = if segment.id == from.segment { from.offset } else { 0 };
        for (start, end) in runs {
            let (start, end) = (u64::from(start.max(first)), u64::from(end).min(segment.len()));
            let mut over = false;
            let stopped = scan(io, segment, start, end, |item| {
                if let Item::Record { frame, .. } = &item
                    && frame.kind == RecordKind::Footer
                {
                    over = true;
                    return ControlFlow::Break(Ok(()));
                }
                each(segment, item)
            })?;
            match stopped {
                Some(result) if !over => return result,
                _ => {}
            }
        }
    }
    Ok(())
}

/// Where checkpoints begin that some record says are complete, newest first.
pub(super) fn complete(io: &dyn Io, files: &Files, from: u32) -> Result<Vec<Position>> {
    let mut found = Vec::new();
    walk(
        io,
        files,
        Position {
            segment: from,
            offset: 0,
        },
        |_, item| {
            if let Item::Record { frame, payload, .. } = item
                && frame.kind == RecordKind::CheckpointEnd
                && let Some(end) = End::decode(payload)
            {
                found.push(end.begin);
            }
            ControlFlow::Continue(())
        },
    )?;
    found.reverse();
    Ok(found)
}

/// Reads the checkpoint that begins at `at` into `pages`.
pub(super) fn load(io: &dyn Io, files: &Files, at: Position, pages: Box<dyn Pages>) -> Result<Replayed> {
    let mut reading = Reading {
        at,
        begin: None,
        done: None,
        rows: 0,
        bytes: 0,
        loader: Loader::new(pages),
        counters: Counters::default(),
    };
    if !files.segments.contains_key(&at.segment) {
        return Err(unusable(at, "the checkpoint's segment is missing"));
    }
    walk(io, files, at, |segment, item| match reading.item(segment, item) {
        Ok(false) => ControlFlow::Continue(()),
        Ok(true) => ControlFlow::Break(Ok(())),
        Err(e) => ControlFlow::Break(Err(e)),
    })?;
    let (Some(begin), Some(end)) = (reading.begin, reading.done) else {
        return Err(unusable(at, "the checkpoint is not complete"));
    };
    // Rows that a bad record took along are missed here. The log is then replayed from an older checkpoint.
    if end.rows != reading.rows {
        return Err(unusable(
            at,
            format!("the checkpoint has {} of {} rows", reading.rows, end.rows),
        ));
    }
    // Numbers of deleted inodes have no rows, and must not be given out again.
    reading.counters.max_ino = reading.counters.max_ino.max(begin.max_ino);
    reading.counters.max_id = reading.counters.max_id.max(begin.max_id);
    let index = reading.loader.finish()?;
    Ok(Replayed {
        index,
        counters: reading.counters,
        seq: begin.seq,
        checkpoint: at,
        since: 0,
        measured: Measured {
            bytes: reading.bytes,
            at: 0,
        },
    })
}

struct Reading {
    at: Position,
    begin: Option<Begin>,
    done: Option<End>,
    rows: u64,
    /// Bytes of these.
    bytes: u64,
    loader: Loader,
    counters: Counters,
}

impl Reading {
    /// Takes one item; true when the checkpoint is complete.
    fn item(&mut self, segment: &Segment, item: Item<'_>) -> Result<bool> {
        let (offset, frame, payload) = match item {
            Item::Record { offset, frame, payload } => (offset, frame, payload),
            Item::BadPayload { frame, .. } if frame.kind.is_contents() => return Ok(false),
            // If rows were lost here, the count of rows will say so.
            Item::BadPayload { .. } | Item::Garbage { .. } | Item::Unreadable { .. } => return Ok(false),
        };
        let here = Position {
            segment: segment.id,
            offset: offset as u32,
        };
        match (frame.kind, self.begin) {
            (RecordKind::CheckpointBegin, None) if here == self.at => self.begin = Begin::decode(payload),
            (_, None) => return Err(unusable(self.at, "no checkpoint begins here")),
            (RecordKind::CheckpointBegin, Some(_)) => {
                return Err(unusable(self.at, "the checkpoint was given up"));
            }
            (RecordKind::CheckpointRows, _) => self.take(payload)?,
            (RecordKind::CheckpointEnd, _) => {
                self.done = End::decode(payload).filter(|end| end.begin == self.at);
                return Ok(true);
            }
            _ => {}
        }
        Ok(false)
    }

    fn take(&mut self, payload: &[u8]) -> Result<()> {
        let page = packed::unpack(payload)
            .ok_or_else(|| unusable(self.at, "rows of the checkpoint cannot be decompressed"))?;
        self.bytes += page.len() as u64;
        let mut rows = Rows::new(&page);
        let bad = |at| move |_| unusable(at, "a row of the checkpoint does not decode");
        while let Some((key, value)) = rows.next().map_err(bad(self.at))? {
            self.rows += 1;
            self.counters
                .row(key, value)
                .ok_or_else(|| unusable(self.at, "a row of the checkpoint makes no sense"))?;
            if !self.loader.takes(key) {
                return Err(unusable(self.at, "the rows of the checkpoint are out of order"));
            }
            self.loader.push(key, value)?;
        }
        Ok(())
    }
}
