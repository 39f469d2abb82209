//! Reading a segment record by record, and finding the way again after damage.

use super::frame::{FRAME_LEN, Frame};
use super::segment::{HEADER_LEN, Segment};
use crate::io::Io;
use crate::{Error, Result};
use rustix::io::Errno;
use std::ops::{ControlFlow, Range};

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

/// Bytes that are searched for the next record before whoever scans is shown how far it is, and may end it.
const PIECE: u64 = 16 << 20;

/// Bytes, for each place searched, that a search for the next record reads for frames that turn out to stand before no
/// record. Chance needs 3 at most (one place in 2.8 million looks like a frame, and claims 8 MiB). Beyond this
/// somebody made frames to keep us busy, each of which claims the same long payload.
const VAIN: u64 = 64;

/// A window over a segment.
struct Window<'a> {
    io: &'a dyn Io,
    segment: &'a Segment,
    start: u64,
    bytes: Vec<u8>,
    /// Where it ends, unless a record reaches beyond.
    end: u64,
    /// Places of it that are known to be in no hole.
    data: Range<u64>,
    /// Places so far at which a search looked for a record.
    searched: u64,
    /// Bytes that searches read in vain so far.
    vain: u64,
}

impl<'a> Window<'a> {
    fn new(io: &'a dyn Io, segment: &'a Segment, end: u64) -> Self {
        Self {
            io,
            segment,
            end,
            start: 0,
            bytes: Vec::new(),
            data: 0..0,
            searched: 0,
            vain: 0,
        }
    }

    /// `len` bytes at `offset`, fewer at the end of the file.
    fn get(&mut self, offset: u64, len: usize) -> Result<&[u8]> {
        let have = offset.checked_sub(self.start).and_then(|o| usize::try_from(o).ok());
        let inside = have.is_some_and(|o| o + len <= self.bytes.len());
        if !inside {
            let read = |len| self.segment.read(self.io, offset, len);
            // Neither what nobody looks at nor the zeros of holes.
            let data = self.data.contains(&offset).then_some(self.data.end);
            let end = data.map_or(self.end, |end| end.min(self.end));
            let most = usize::try_from(end.saturating_sub(offset)).map_or(WINDOW, |most| most.min(WINDOW));
            // A bad sector must not take its surroundings along.
            self.bytes = read(len.max(most)).or_else(|_| read(len))?;
            self.start = offset;
        }
        let from = (offset - self.start) as usize;
        let rest = self.bytes.get(from..).unwrap_or_default();
        Ok(rest.get(..len).unwrap_or(rest))
    }

    /// The first place from `at` on that is in no hole: none begins a record. An error of the disk is one of reading.
    fn past_hole(&mut self, at: u64) -> u64 {
        if !self.data.contains(&at) {
            let all = at..at.saturating_add(WINDOW as u64);
            self.data = self.segment.data(self.io, at).unwrap_or(all);
        }
        self.data.start.max(at)
    }
}

/// A search for records in a segment.
pub(crate) struct Search<'a>(Window<'a>);

impl<'a> Search<'a> {
    pub(crate) fn new(io: &'a dyn Io, segment: &'a Segment) -> Self {
        Self(Window::new(io, segment, segment.len()))
    }

    /// The next place from `from` on, up to `to`, where a whole record stands, or else some place at which to search
    /// on, or `to`.
    pub(crate) fn next_record(&mut self, from: u64, to: u64) -> u64 {
        resync(&mut self.0, from, to)
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
    let mut window = Window::new(io, segment, to);
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
    /// What the system says when the process has too many files open.
    const SHORTAGE: [Errno; 2] = [Errno::MFILE, Errno::NFILE];
    match error {
        Error::Io { ref source, .. } if Errno::from_io_error(source).is_some_and(|e| SHORTAGE.contains(&e)) => {
            Err(error)
        }
        Error::Io { .. } => Ok(Item::Unreadable { offset, end, error }),
        e => Err(e),
    }
}

/// Bytes that a disk reads or does not read together, at least.
const SECTOR: u64 = 512;

fn resync(window: &mut Window<'_>, mut at: u64, to: u64) -> u64 {
    let pause = at.saturating_add(PIECE).min(to);
    while at < pause {
        let data = window.past_hole(at);
        if data > at {
            at = data.min(to);
            continue;
        }
        window.searched += 1;
        match item_begins(window, at, to) {
            Ok(true) => return at,
            Ok(false) => at += 1,
            // Mostly the sector where the record would begin: what lies in it cannot be found.
            Err(_) => at = (at / SECTOR + 1) * SECTOR,
        }
    }
    at.min(to)
}

fn item_begins(window: &mut Window<'_>, at: u64, to: u64) -> Result<bool> {
    let salt = window.segment.salt;
    let Some(frame) = Frame::decode(window.get(at, FRAME_LEN)?, salt, at).filter(|f| at + f.record_len() <= to) else {
        return Ok(false);
    };
    if window.vain > VAIN * (window.searched + WINDOW as u64) {
        // Its own checksum has to do. The reader steps over what it claims, or refuses it.
        return Ok(true);
    }
    let payload = window.get(at, frame.record_len() as usize)?.get(FRAME_LEN..);
    let good = payload.is_some_and(|payload| frame.payload_crc(payload) == frame.crc);
    if !good {
        window.vain += frame.record_len();
    }
    Ok(good)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::{FOLDER, segment_name};
    use super::*;
    use crate::io::{Fault, FaultIo, MemIo, RealIo};
    use crate::log::RecordKind;
    use std::sync::Arc;

    /// Regression: each of the 4 GiB of a file of holes was looked at, and nothing could end that.
    #[test]
    fn holes_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let io = FaultIo::new(Arc::new(RealIo::new(folder.path()).unwrap()));
        io.make_dir(FOLDER).unwrap();
        let len = u64::from(u32::MAX);
        let segment = Segment::new(1, &[7; 16], len, true, &Arc::default());
        let file = io.create(&segment_name(1)).unwrap();
        file.set_len(len).unwrap();
        let payload = b"far behind";
        let (at, frame) = (3 << 30, Frame::of(RecordKind::Block, 1, payload));
        let record = [&frame.encode(segment.salt, at)[..], payload].concat();
        file.write_at(&[1; 100], 1 << 30).unwrap();
        file.write_at(&record, at).unwrap();

        // Counts the calls.
        io.fail(Fault::Error, u64::MAX, 0);
        let mut found = Vec::new();
        let whole = scan(&io, &segment, 0, len, |item| {
            if let Item::Record { offset, payload, .. } = item {
                found.push((offset, payload.to_vec()));
            }
            ControlFlow::<()>::Continue(())
        });
        assert_eq!(whole.unwrap(), None);
        assert_eq!(found, [(at, payload.to_vec())]);
        let mut window = Window::new(&io, &segment, len);
        assert_eq!(resync(&mut window, HEADER_LEN as u64, len), 1 << 30);
        let calls = io.mend().0;
        println!("{calls} calls, {} places searched", window.searched);
        assert!(calls < 40, "{calls} calls");
    }

    /// Whoever scans is asked whether to go on.
    #[test]
    fn a_long_search_is_shown_in_pieces() {
        let io = MemIo::default();
        let len = 2 * PIECE + 1000;
        let segment = Segment::new(1, &[7; 16], len, true, &Arc::default());
        let file = io.create(&segment_name(1)).unwrap();
        file.set_len(len).unwrap();
        let mut ends = Vec::new();
        let stopped = scan(&io, &segment, 0, len, |item| {
            ends.push(item.end());
            match ends.len() {
                2 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        });
        assert_eq!(stopped.unwrap(), Some(()));
        assert!(ends.iter().all(|end| *end < len), "{ends:?}");
    }

    /// Every 14 bytes a frame that claims the next MiB: 20,000 checksums of a MiB each for a hundredth of a segment.
    #[test]
    fn a_segment_full_of_frames_without_records_is_scanned_in_bounded_work() {
        let io = MemIo::default();
        let (len, claim) = (1 << 20 | 1 << 18, vec![0; 1 << 20]);
        let segment = Segment::new(1, &[7; 16], len, true, &Arc::default());
        let mut bytes = vec![0; HEADER_LEN];
        while bytes.len() as u64 + FRAME_LEN as u64 <= len {
            let mut frame = Frame::of(RecordKind::Block, 1, &claim);
            frame.crc ^= 1;
            let at = bytes.len() as u64;
            bytes.extend_from_slice(&frame.encode(segment.salt, at));
        }
        bytes.resize(len as usize, 0);
        io.make_dir(FOLDER).unwrap();
        io.create(&segment_name(1)).unwrap().write_at(&bytes, 0).unwrap();

        let mut window = Window::new(&io, &segment, len);
        let found = resync(&mut window, HEADER_LEN as u64, len);
        let most = VAIN * (window.searched + WINDOW as u64) + (2 << 20);
        assert!(window.vain <= most, "{} bytes in vain", window.vain);
        // There may be something, so nothing is taken for a torn tail.
        assert!(found < len);
        let mut end = 0;
        let stopped = scan(&io, &segment, 0, len, |item| {
            end = item.end();
            assert!(!matches!(item, Item::Record { .. }));
            ControlFlow::<()>::Continue(())
        });
        assert_eq!((stopped.unwrap(), end), (None, len));
    }
}
