//! Reading a segment record by record, and finding the way again after damage.

use super::frame::{FRAME_LEN, Frame};
use super::segment::{HEADER_LEN, Segment};
use crate::io::Io;
use crate::{Error, Result};
use std::ops::ControlFlow;

/// What is found at a place of a segment.
pub(crate) enum Item<'a> {
    /// A record as it was written.
    Record {
        offset: u64,
        frame: Frame,
        payload: &'a [u8],
    },
    /// A record with a good frame and a bad payload.
    BadPayload { offset: u64, frame: Frame },
    /// Bytes that are no record.
    Garbage { offset: u64, end: u64 },
    /// A record, or the place of one, that the disk does not give.
    Unreadable { offset: u64, end: u64, error: Error },
}

impl Item<'_> {
    pub(crate) fn end(&self) -> u64 {
        match self {
            Self::Record { offset, frame, .. } | Self::BadPayload { offset, frame } => offset + frame.record_len(),
            Self::Garbage { end, .. } | Self::Unreadable { end, .. } => *end,
        }
    }
}

const WINDOW: usize = 1 << 20;

/// A window over a segment.
struct Window<'a> {
    io: &'a dyn Io,
    segment: &'a Segment,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    fn new(io: &'a dyn Io, segment: &'a Segment) -> Self {
        Self {
            io,
            segment,
            start: 0,
            bytes: Vec::new(),
        }
    }

    /// `len` bytes at `offset`, fewer at the end of the file.
    fn get(&mut self, offset: u64, len: usize) -> Result<&[u8]> {
        let have = offset.checked_sub(self.start).and_then(|o| usize::try_from(o).ok());
        let inside = have.is_some_and(|o| o + len <= self.bytes.len());
        if !inside {
            let read = |len| self.segment.read(self.io, offset, len);
            // A bad sector must not take its surroundings along.
            self.bytes = read(len.max(WINDOW)).or_else(|_| read(len))?;
            self.start = offset;
        }
        let from = (offset - self.start) as usize;
        let rest = self.bytes.get(from..).unwrap_or_default();
        Ok(rest.get(..len).unwrap_or(rest))
    }
}

/// Shows what lies in `from..to` of a segment, in order, until `each` breaks.
pub(crate) fn scan<B>(
    io: &dyn Io,
    segment: &Segment,
    from: u64,
    to: u64,
    mut each: impl FnMut(Item<'_>) -> ControlFlow<B>,
) -> Result<Option<B>> {
    let mut window = Window::new(io, segment);
    let mut at = from.max(HEADER_LEN as u64);
    while at < to {
        let item = item(&mut window, at, to)?;
        at = item.end();
        if let ControlFlow::Break(b) = each(item) {
            return Ok(Some(b));
        }
    }
    Ok(None)
}

/// What is at `at`.
fn item<'w>(window: &'w mut Window<'_>, at: u64, to: u64) -> Result<Item<'w>> {
    let salt = window.segment.salt;
    let frame = match window.get(at, FRAME_LEN) {
        Ok(bytes) => Frame::decode(bytes, salt, at),
        Err(error) => return unreadable(at, resync(window, at + 1, to), error),
    };
    let Some(frame) = frame.filter(|f| at + f.record_len() <= to) else {
        let end = resync(window, at + 1, to);
        return Ok(Item::Garbage { offset: at, end });
    };
    let record = match window.get(at, frame.record_len() as usize) {
        Ok(record) => record,
        Err(error) => return unreadable(at, at + frame.record_len(), error),
    };
    let payload = record.get(FRAME_LEN..).unwrap_or_default();
    let good = payload.len() == frame.len as usize && frame.payload_crc(payload) == frame.crc;
    Ok(if good {
        Item::Record {
            offset: at,
            frame,
            payload,
        }
    } else {
        Item::BadPayload { offset: at, frame }
    })
}

/// An error of the disk is a thing to be found; any other is one.
fn unreadable<'w>(offset: u64, end: u64, error: Error) -> Result<Item<'w>> {
    match error {
        Error::Io { .. } => Ok(Item::Unreadable { offset, end, error }),
        e => Err(e),
    }
}

/// The next place from `from` on, up to `to`, where a whole record stands, or `to`.
pub(crate) fn next_record(io: &dyn Io, segment: &Segment, from: u64, to: u64) -> u64 {
    resync(&mut Window::new(io, segment), from, to)
}

/// Bytes that a disk reads or does not read together, at least.
const SECTOR: u64 = 512;

fn resync(window: &mut Window<'_>, mut at: u64, to: u64) -> u64 {
    while at < to {
        match item_begins(window, at, to) {
            Ok(true) => return at,
            Ok(false) => at += 1,
            // Mostly the sector where the record would begin: what lies in it cannot be found.
            Err(_) => at = (at / SECTOR + 1) * SECTOR,
        }
    }
    to
}

fn item_begins(window: &mut Window<'_>, at: u64, to: u64) -> Result<bool> {
    let salt = window.segment.salt;
    let Some(frame) = Frame::decode(window.get(at, FRAME_LEN)?, salt, at).filter(|f| at + f.record_len() <= to) else {
        return Ok(false);
    };
    let payload = window.get(at, frame.record_len() as usize)?.get(FRAME_LEN..);
    Ok(payload.is_some_and(|payload| frame.payload_crc(payload) == frame.crc))
}
