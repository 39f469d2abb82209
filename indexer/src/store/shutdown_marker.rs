//! The clean-shutdown marker: what the log and the index were when the store was put away.
//!
//! It lies beside sled's files. When the store is opened for writing it turns into a *dirty* marker, which no longer
//! vouches for the index but still says how far the log was durable. An index that is made anew leaves it there: a log
//! that is refused must be refused the next time as well. Layout: docs/FORMAT.md, "Clean-shutdown marker".

use crate::index::{INDEX_FOLDER, RowSum};
use crate::io::{File, Io, read_full, replace, write_full};
use crate::log::Position;
use crate::wire::{Reader, put_varint};
use crate::{Error, Result};

/// Name of the marker in the index's folder.
pub(crate) const FILE: &str = "mark";
const NAME: &str = "index/mark";
const MAGIC: &[u8; 8] = b"LMFSMARK";
const VERSION: u8 = 1;
/// No marker is longer.
const MAX_LEN: u64 = 64 << 20;

/// The state of a store at a clean close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShutdownMarker {
    pub(crate) store_id: [u8; 16],
    /// Whether nothing was written since, so that the index may be believed.
    pub(crate) clean: bool,
    pub(crate) rows: RowSum,
    /// Number of the last transaction.
    pub(crate) seq: u64,
    pub(crate) checkpoint: Position,
    /// Bytes of transactions since the checkpoint.
    pub(crate) since: u64,
    pub(crate) max_ino: u64,
    /// Greatest number of a stored block ever used.
    pub(crate) max_id: u64,
    /// Segments and their lengths, by number.
    pub(crate) segments: Vec<(u32, u64)>,
}

impl ShutdownMarker {
    /// One that vouches for no index, but for transactions up to `seq` and these lengths of segments.
    pub(crate) fn dirty(store_id: [u8; 16], seq: u64, segments: Vec<(u32, u64)>) -> Self {
        Self {
            store_id,
            clean: false,
            rows: RowSum { rows: 0, crc: 0 },
            seq,
            checkpoint: Position::default(),
            since: 0,
            max_ino: 0,
            max_id: 0,
            segments,
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&[VERSION, u8::from(self.clean)]);
        out.extend_from_slice(&self.store_id);
        out.extend_from_slice(&self.rows.crc.to_le_bytes());
        for v in [
            self.rows.rows,
            self.seq,
            u64::from(self.checkpoint.segment),
            u64::from(self.checkpoint.offset),
            self.since,
            self.max_ino,
            self.max_id,
            self.segments.len() as u64,
        ] {
            put_varint(&mut out, v);
        }
        for (id, len) in &self.segments {
            put_varint(&mut out, u64::from(*id));
            put_varint(&mut out, *len);
        }
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
            return None;
        }
        let mut r = Reader::new(body);
        if r.array::<8>()? != *MAGIC || r.u8()? != VERSION {
            return None;
        }
        let clean = r.u8()? == 1;
        let store_id = r.array()?;
        let crc = r.u32()?;
        let rows = RowSum { rows: r.varint()?, crc };
        let seq = r.varint()?;
        let checkpoint = Position {
            segment: r.varint32()?,
            offset: r.varint32()?,
        };
        let (since, max_ino, max_id, count) = (r.varint()?, r.varint()?, r.varint()?, r.varint()?);
        // No reservation by `count`: it is only believed as far as there are bytes.
        let mut segments = Vec::new();
        for _ in 0..count {
            segments.push((r.varint32()?, r.varint()?));
        }
        // Counters go on from these in steps of one, and must not wrap.
        let countable = seq.max(max_ino).max(max_id).max(since) <= i64::MAX as u64;
        (r.is_empty() && countable).then_some(Self {
            store_id,
            clean,
            rows,
            seq,
            checkpoint,
            since,
            max_ino,
            max_id,
            segments,
        })
    }

    /// Reads the marker. One that is damaged, or lies on a bad sector, is as good as none, and a warning says so. One
    /// that cannot be opened is an error: it may say that the log was durable up to a place where it is damaged now.
    pub(crate) fn read(io: &dyn Io, warnings: &mut Vec<String>) -> Result<Option<Self>> {
        let file = match io.open(NAME, false) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|e| Error::io("open", NAME, e))?,
        };
        let damaged = match bytes(file.as_ref()).map(|bytes| Self::decode(&bytes)) {
            Ok(Some(marker)) => return Ok(Some(marker)),
            Ok(None) => format!("{NAME} is damaged"),
            Err(e) => format!("{NAME} cannot be read: {e}"),
        };
        warnings.push(format!("{damaged}; the log is read instead"));
        Ok(None)
    }

    /// Removes the marker, durably.
    pub(crate) fn remove(io: &dyn Io) -> Result<()> {
        match io.remove(NAME) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other.and_then(|()| io.sync_dir(INDEX_FOLDER)),
        }
        .map_err(|e| Error::io("remove", NAME, e))
    }

    /// Writes the marker, durably, in place of the one before.
    pub(crate) fn write(&self, io: &dyn Io) -> Result<()> {
        let run = || {
            io.make_dir(INDEX_FOLDER)?;
            replace(io, NAME, |file| write_full(file, &self.encode(), 0))?;
            io.sync_dir(INDEX_FOLDER)
        };
        run().map_err(|e| Error::io("write", NAME, e))
    }
}

/// The bytes of the marker's file, no more than a marker can have: a damaged length must not take all memory.
fn bytes(file: &dyn File) -> std::io::Result<Vec<u8>> {
    let len = file.len()?.min(MAX_LEN);
    let mut bytes = vec![0; usize::try_from(len).map_err(std::io::Error::other)?];
    let n = read_full(file, &mut bytes, 0)?;
    bytes.truncate(n);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::io::MemIo;

    #[test]
    fn a_mark_comes_back_and_no_flipped_bit_is_believed() {
        let marker = ShutdownMarker {
            store_id: [7; 16],
            clean: true,
            rows: RowSum { rows: 300, crc: 5 },
            seq: 1 << 40,
            checkpoint: Position { segment: 3, offset: 77 },
            since: 9,
            max_ino: 12,
            max_id: 1 << 33,
            segments: vec![(3, 4096), (9, 1 << 33)],
        };
        let io = MemIo::default();
        let read = |io: &MemIo| {
            let mut warnings = Vec::new();
            (ShutdownMarker::read(io, &mut warnings).unwrap(), warnings.len())
        };
        assert_eq!(read(&io), (None, 0));
        marker.write(&io).unwrap();
        assert_eq!(read(&io), (Some(marker.clone()), 0));
        let bytes = marker.encode();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            *bad.get_mut(at).unwrap() ^= 1;
            assert_eq!(ShutdownMarker::decode(&bad), None);
            assert_eq!(ShutdownMarker::decode(bytes.get(..at).unwrap()), None);
        }
        let file = io.open(NAME, true).unwrap();
        write_full(file.as_ref(), &[!bytes.first().unwrap()], 0).unwrap();
        assert_eq!(read(&io), (None, 1), "a warning tells of the damage");
    }
}
