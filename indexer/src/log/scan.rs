//! Reading a segment record by record, and finding the way again after damage.

use super::frame::{FRAME_LEN, Frame};
use super::segment::{HEADER_LEN, Segment};
use crate::Result;
use crate::io::Io;
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
}

impl Item<'_> {
    pub(crate) fn end(&self) -> u64 {
        match self {
            Self::Record { offset, frame, .. } | Self::BadPayload { offset, frame } => offset + frame.record_len(),
            Self::Garbage { end, .. } => *end,
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

impl Window<'_> {
    /// `len` bytes at `offset`, fewer at the end of the file.
    fn get(&mut self, offset: u64, len: usize) -> Result<&[u8]> {
        let have = offset.checked_sub(self.start).and_then(|o| usize::try_from(o).ok());
        let inside = have.is_some_and(|o| o + len <= self.bytes.len());
        if !inside {
            self.bytes = self.segment.read(self.io, offset, len.max(WINDOW))?;
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
    let mut window = Window {
        io,
        segment,
        start: 0,
        bytes: Vec::new(),
    };
    let mut at = from.max(HEADER_LEN as u64);
    while at < to {
        let frame = Frame::decode(window.get(at, FRAME_LEN)?, segment.salt, at);
        let item = match frame {
            Some(frame) if at + frame.record_len() <= to => {
                let record = window.get(at, frame.record_len() as usize)?;
                let payload = record.get(FRAME_LEN..).unwrap_or_default();
                if payload.len() == frame.len as usize && frame.payload_crc(payload) == frame.crc {
                    Item::Record {
                        offset: at,
                        frame,
                        payload,
                    }
                } else {
                    Item::BadPayload { offset: at, frame }
                }
            }
            _ => Item::Garbage {
                offset: at,
                end: resync(&mut window, at + 1, to)?,
            },
        };
        at = item.end();
        if let ControlFlow::Break(b) = each(item) {
            return Ok(Some(b));
        }
    }
    Ok(None)
}

/// The next place from `at` on where a whole record stands, or `to`.
fn resync(window: &mut Window<'_>, mut at: u64, to: u64) -> Result<u64> {
    while at < to {
        let salt = window.segment.salt;
        if let Some(frame) = Frame::decode(window.get(at, FRAME_LEN)?, salt, at)
            && at + frame.record_len() <= to
        {
            let record = window.get(at, frame.record_len() as usize)?;
            if record
                .get(FRAME_LEN..)
                .is_some_and(|payload| frame.payload_crc(payload) == frame.crc)
            {
                return Ok(at);
            }
        }
        at += 1;
    }
    Ok(to)
}
