//! One segment file: its name, header and footer. docs/FORMAT.md, "Segment".

use super::frame::{FRAME_LEN, MAX_PAYLOAD, damaged, open_block, open_dictionary};
use super::{FOLDER, Position};
use crate::dictionary::DictionaryId;
use crate::io::{File, Io, read_full};
use crate::limits::MAX_DICTIONARY;
use crate::types::BlockRef;
use crate::wire::{Reader, put_varint};
use crate::{Error, Result};
use lru::LruCache;
use parking_lot::{Mutex, MutexGuard};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Bytes before the first record.
pub(crate) const HEADER_LEN: usize = 52;
/// Format version of segments.
pub(crate) const VERSION: u16 = 1;
const MAGIC: &[u8; 8] = b"LMFSSEG\0";
const TRAILER_MAGIC: &[u8; 4] = b"LMFE";
const TRAILER_LEN: usize = 12;

/// Name of a segment file.
pub(crate) fn segment_name(id: u32) -> String {
    format!("{FOLDER}/{id:08x}.seg")
}

/// Number in the name of a segment file.
pub(crate) fn segment_number(name: &str) -> Option<u32> {
    let hex = name.strip_suffix(".seg").filter(|hex| hex.len() == 8)?;
    let id = u32::from_str_radix(hex, 16).ok()?;
    (format!("{id:08x}") == hex && id > 0).then_some(id)
}

/// Start of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) segment: u32,
    pub(crate) store_id: [u8; 16],
    /// Number of the last transaction before this segment.
    pub(crate) seq: u64,
    /// Where the newest checkpoint complete by then begins; segment 0: there is none.
    pub(crate) checkpoint: Position,
}

impl Header {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&0u16.to_le_bytes());
        out.extend_from_slice(&self.segment.to_le_bytes());
        out.extend_from_slice(&self.store_id);
        out.extend_from_slice(&self.seq.to_le_bytes());
        out.extend_from_slice(&self.checkpoint.segment.to_le_bytes());
        out.extend_from_slice(&self.checkpoint.offset.to_le_bytes());
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        out
    }

    /// Reads a header: None if it is damaged, an error if a newer version wrote it.
    pub(crate) fn decode(bytes: &[u8], path: &str) -> Result<Option<Self>> {
        let Some(bytes) = bytes.get(..HEADER_LEN) else {
            return Ok(None);
        };
        let (body, crc) = bytes.split_at(HEADER_LEN - 4);
        if crc32fast::hash(body).to_le_bytes() != crc || !body.starts_with(MAGIC) {
            return Ok(None);
        }
        let mut r = Reader::new(body);
        let mut read = || {
            r.take(MAGIC.len())?;
            let version = r.u16()?;
            r.u16()?;
            let (segment, store_id, seq) = (r.u32()?, r.array()?, r.u64()?);
            let checkpoint = Position {
                segment: r.u32()?,
                offset: r.u32()?,
            };
            Some((
                version,
                Self {
                    segment,
                    store_id,
                    seq,
                    checkpoint,
                },
            ))
        };
        match read() {
            Some((version, _)) if version > VERSION => Err(Error::NewerFormat {
                path: path.to_owned(),
                found: version,
                known: VERSION,
            }),
            other => Ok(other.map(|(_, header)| header)),
        }
    }
}

/// What a sealed segment says of itself, so that a rebuild reads only what it must.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Footer {
    /// Number of the last transaction in or before the segment.
    pub(crate) seq: u64,
    /// Stretches (start, end) outside of which there are only blocks.
    pub(crate) runs: Vec<(u32, u32)>,
}

/// Stretches closer than this are one: a few blocks between are skipped faster than described.
const GAP: u32 = 64 << 10;

impl Footer {
    /// Notes a record that is no block.
    pub(crate) fn note(&mut self, start: u32, end: u32) {
        match self.runs.last_mut() {
            Some(last) if start.saturating_sub(last.1) < GAP => last.1 = end,
            _ => self.runs.push((start, end)),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.seq);
        let mut at = 0;
        for (start, end) in &self.runs {
            put_varint(&mut out, u64::from(start - at));
            put_varint(&mut out, u64::from(end - start));
            at = *end;
        }
        out
    }

    pub(crate) fn decode(payload: &[u8]) -> Option<Self> {
        let mut r = Reader::new(payload);
        let mut out = Self {
            seq: r.varint()?,
            runs: Vec::new(),
        };
        let mut at = 0u32;
        while !r.is_empty() {
            let (gap, len) = (r.varint32()?, r.varint32()?);
            // Each is looked for: there are no more of them than any writer makes.
            if len == 0 || (gap < GAP && !out.runs.is_empty()) {
                return None;
            }
            let start = at.checked_add(gap)?;
            at = start.checked_add(len)?;
            out.runs.push((start, at));
        }
        Some(out)
    }

    /// The last bytes of a sealed segment: where the footer's record begins.
    pub(crate) fn trailer(offset: u32) -> Vec<u8> {
        let mut out = offset.to_le_bytes().to_vec();
        out.extend_from_slice(TRAILER_MAGIC);
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        out
    }

    fn parse_trailer(bytes: &[u8]) -> Option<u32> {
        let (body, crc) = bytes.split_at_checked(TRAILER_LEN - 4)?;
        if crc32fast::hash(body).to_le_bytes() != crc || !body.ends_with(TRAILER_MAGIC) {
            return None;
        }
        Reader::new(body).u32()
    }
}

/// Files that may be open for reading at a time: a log may have more segments than a process may have files.
const OPEN: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

/// Open files of segments by number, for reading: those used last.
pub(crate) struct Handles(Mutex<LruCache<u32, Arc<dyn File>>>);

impl Default for Handles {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(OPEN)))
    }
}

impl Handles {
    fn lock(&self) -> MutexGuard<'_, LruCache<u32, Arc<dyn File>>> {
        self.0.lock()
    }
}

/// A segment file, opened when needed.
pub(crate) struct Segment {
    pub(crate) id: u32,
    /// Seed of frame checksums: a record of another store or segment is none of ours.
    pub(crate) salt: u32,
    len: AtomicU64,
    sealed: AtomicBool,
    /// A handle that stays open. Changed only under the lock of `handles`.
    pinned: Mutex<Option<Arc<dyn File>>>,
    handles: Arc<Handles>,
}

impl Segment {
    pub(crate) fn new(id: u32, store_id: &[u8; 16], len: u64, sealed: bool, handles: &Arc<Handles>) -> Self {
        let mut h = crc32fast::Hasher::new();
        h.update(store_id);
        h.update(&id.to_le_bytes());
        let (len, sealed) = (AtomicU64::new(len), AtomicBool::new(sealed));
        Self {
            id,
            salt: h.finalize(),
            len,
            sealed,
            pinned: Mutex::default(),
            handles: Arc::clone(handles),
        }
    }

    pub(crate) fn name(&self) -> String {
        segment_name(self.id)
    }

    /// Bytes of the file.
    pub(crate) fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    pub(crate) fn set_len(&self, len: u64) {
        self.len.store(len, Ordering::Release);
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    pub(crate) fn set_sealed(&self) {
        self.sealed.store(true, Ordering::Release);
    }

    fn pinned(&self) -> MutexGuard<'_, Option<Arc<dyn File>>> {
        self.pinned.lock()
    }

    /// Keeps this handle open: what is written must be synced through it.
    pub(crate) fn set_file(&self, file: Arc<dyn File>) {
        let _one_at_a_time = self.handles.lock();
        *self.pinned() = Some(file);
    }

    /// Keeps the file open, so that it can be read when its name is gone.
    pub(crate) fn pin(&self, io: &dyn Io) -> Result<()> {
        let mut handles = self.handles.lock();
        let open = handles.pop(&self.id);
        let mut pinned = self.pinned();
        if pinned.is_none() {
            *pinned = Some(open.map_or_else(|| self.open(io), Ok)?);
        }
        Ok(())
    }

    /// From now on the file is open when it is read, as all others are.
    pub(crate) fn unpin(&self) {
        let mut handles = self.handles.lock();
        if let Some(file) = self.pinned().take() {
            handles.put(self.id, file);
        }
    }

    /// The name leads to another file from now on.
    pub(crate) fn forget_file(&self) {
        let mut handles = self.handles.lock();
        handles.pop(&self.id);
        *self.pinned() = None;
    }

    pub(crate) fn file(&self, io: &dyn Io) -> Result<Arc<dyn File>> {
        let mut handles = self.handles.lock();
        if let Some(file) = self.pinned().as_ref().or_else(|| handles.get(&self.id)) {
            return Ok(Arc::clone(file));
        }
        let file = self.open(io)?;
        handles.put(self.id, Arc::clone(&file));
        Ok(file)
    }

    fn open(&self, io: &dyn Io) -> Result<Arc<dyn File>> {
        // The segment that grows is written through the same handle after a reopening; a store on a read-only disk has
        // none that does.
        io.open(&self.name(), true)
            .or_else(|_| io.open(&self.name(), false))
            .map_err(|e| Error::io("open", &self.name(), e))
    }

    /// Reads up to `len` bytes at `offset`, fewer at the end of the file.
    pub(crate) fn read(&self, io: &dyn Io, offset: u64, len: usize) -> Result<Vec<u8>> {
        let left = usize::try_from(self.len().saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut buf = vec![0; len.min(left)];
        let n = read_full(self.file(io)?.as_ref(), &mut buf, offset).map_err(|e| Error::io("read", &self.name(), e))?;
        buf.truncate(n);
        Ok(buf)
    }

    /// Has copies forgotten of a record that is damaged; whether there were any.
    fn forget(&self, io: &dyn Io, offset: u32, len: usize) -> bool {
        let start = u64::from(offset);
        self.file(io).is_ok_and(|file| file.forget(start..start + len as u64))
    }

    /// The next bytes from `from` on that may have been written, as [`File::data`] says.
    pub(crate) fn data(&self, io: &dyn Io, from: u64) -> Result<Range<u64>> {
        let found = self.file(io)?.data(from);
        found.map_err(|e| Error::io("look for holes of", &self.name(), e))
    }

    /// Reads a block; its number comes with it.
    pub(crate) fn read_block(&self, io: &dyn Io, r: BlockRef) -> Result<(u64, Vec<u8>)> {
        const NUMBER: usize = 10;
        if r.len as usize > MAX_PAYLOAD {
            return Err(damaged(r, "no record is as long as its extent says"));
        }
        let mut record = self.read(io, u64::from(r.offset), FRAME_LEN + NUMBER + r.len as usize)?;
        if open_block(&record, self.salt, r).is_err() && self.forget(io, r.offset, record.len()) {
            record = self.read(io, u64::from(r.offset), record.len())?;
        }
        let (id, bytes) = open_block(&record, self.salt, r)?;
        let start = bytes.as_ptr() as usize - record.as_ptr() as usize;
        let end = start + bytes.len();
        record.truncate(end);
        record.drain(..start);
        Ok((id, record))
    }

    /// Reads a copy of a dictionary.
    pub(crate) fn read_dictionary(&self, io: &dyn Io, id: DictionaryId, r: BlockRef) -> Result<Vec<u8>> {
        if r.len as usize > MAX_DICTIONARY {
            return Err(damaged(r, "no dictionary is as long as its row says"));
        }
        let len = FRAME_LEN + id.len() + r.len as usize;
        let mut record = self.read(io, u64::from(r.offset), len)?;
        if open_dictionary(&record, self.salt, r, id).is_err() && self.forget(io, r.offset, len) {
            record = self.read(io, u64::from(r.offset), len)?;
        }
        Ok(open_dictionary(&record, self.salt, r, id)?.to_vec())
    }

    /// The footer of a sealed segment, None where there is none that can be believed or read.
    pub(crate) fn footer(&self, io: &dyn Io) -> Option<Footer> {
        match self.read_footer(io) {
            Ok(footer) => footer,
            Err(e) => {
                tracing::warn!("{e}");
                None
            }
        }
    }

    fn read_footer(&self, io: &dyn Io) -> Result<Option<Footer>> {
        let len = self.len();
        let Some(at) = len.checked_sub(TRAILER_LEN as u64) else {
            return Ok(None);
        };
        let Some(offset) = Footer::parse_trailer(&self.read(io, at, TRAILER_LEN)?) else {
            return Ok(None);
        };
        let size = at.checked_sub(u64::from(offset));
        let Some(size) = size.filter(|size| *size <= (FRAME_LEN + MAX_PAYLOAD) as u64) else {
            return Ok(None);
        };
        let record = self.read(io, u64::from(offset), size as usize)?;
        let Some((frame, payload)) = record.split_at_checked(FRAME_LEN) else {
            return Ok(None);
        };
        let Some(frame) = super::Frame::decode(frame, self.salt, u64::from(offset)) else {
            return Ok(None);
        };
        let good = frame.kind == super::RecordKind::Footer && frame.payload_crc(payload) == frame.crc;
        Ok(if good { Footer::decode(payload) } else { None })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::io::MemIo;

    /// Every segment that was ever read stayed open, until the process had no more files to open.
    #[test]
    fn a_log_of_many_segments_has_few_open_files() {
        let (io, handles) = (MemIo::new(), Arc::default());
        let segments: Vec<_> = (1..1000)
            .map(|id| {
                io.create(&segment_name(id))
                    .unwrap()
                    .write_at(&[id as u8; 10], 0)
                    .unwrap();
                Segment::new(id, &[1; 16], 10, true, &handles)
            })
            .collect();
        let first = segments.first().unwrap();
        first.pin(&io).unwrap();
        io.remove(&first.name()).unwrap();
        for _ in 0..2 {
            for segment in &segments {
                assert_eq!(segment.read(&io, 0, 10).unwrap(), vec![segment.id as u8; 10]);
            }
        }
        assert_eq!(handles.lock().len(), OPEN.get());
    }

    /// An extent and a trailer, both of 4 GiB in a file of holes, each took as much memory.
    #[test]
    fn records_longer_than_any_are_not_read() {
        let io = MemIo::new();
        let len = 64 << 20;
        let segment = Segment::new(1, &[1; 16], len, true, &Arc::default());
        let file = io.create(&segment.name()).unwrap();
        file.set_len(len).unwrap();
        file.write_at(&Footer::trailer(HEADER_LEN as u32), len - TRAILER_LEN as u64)
            .unwrap();
        assert!(segment.read_footer(&io).unwrap().is_none());
        let r = BlockRef {
            segment: 1,
            offset: HEADER_LEN as u32,
            len: u32::MAX,
        };
        let refused = segment.read_block(&io, r);
        assert!(
            matches!(&refused, Err(Error::Damaged { why, .. }) if why.contains("as long")),
            "{refused:?}"
        );
    }
}
