//! What stands around every record: 14 bytes. docs/FORMAT.md, "Record".

use crate::dictionary::DictionaryId;
use crate::types::BlockRef;
use crate::wire::{Reader, varint_len};
use crate::{Error, Result};

/// Bytes before a record's payload.
pub(crate) const FRAME_LEN: usize = 14;

/// Longest payload.
pub(crate) const MAX_PAYLOAD: usize = (1 << 24) - 1;

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum RecordKind {
    Block = 0xb1,
    Dictionary = 0xd7,
    Transaction = 0xa2,
    CheckpointBegin = 0xc3,
    CheckpointRows = 0xc4,
    CheckpointEnd = 0xc5,
    Footer = 0xf6,
}

impl RecordKind {
    /// Whether it holds contents: opening a store needs none of it.
    pub(crate) fn is_contents(self) -> bool {
        matches!(self, Self::Block | Self::Dictionary)
    }

    /// What a message calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Dictionary => "dictionary",
            Self::Transaction => "transaction",
            Self::CheckpointBegin | Self::CheckpointRows | Self::CheckpointEnd => "checkpoint",
            Self::Footer => "footer",
        }
    }

    fn from_u8(v: u8) -> Option<Self> {
        [
            Self::Block,
            Self::Dictionary,
            Self::Transaction,
            Self::CheckpointBegin,
            Self::CheckpointRows,
            Self::CheckpointEnd,
            Self::Footer,
        ]
        .into_iter()
        .find(|k| *k as u8 == v)
    }
}

/// The frame of a record. It has a checksum of its own, so that lengths can be believed before the payload is read,
/// and records can be found again after damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: RecordKind,
    /// Bytes of the payload.
    pub(crate) len: u32,
    /// Number of the last transaction at or before this record, low 32 bits.
    pub(crate) seq: u32,
    /// CRC-32 of the frame's first eight bytes and the payload.
    pub(crate) crc: u32,
}

impl Frame {
    /// Bytes of the whole record.
    pub(crate) fn record_len(&self) -> u64 {
        FRAME_LEN as u64 + u64::from(self.len)
    }

    fn start(&self) -> [u8; 8] {
        let [l0, l1, l2, _] = self.len.to_le_bytes();
        let [s0, s1, s2, s3] = self.seq.to_le_bytes();
        [self.kind as u8, l0, l1, l2, s0, s1, s2, s3]
    }

    /// The frame of a payload.
    pub(crate) fn of(kind: RecordKind, seq: u64, payload: &[u8]) -> Self {
        let mut frame = Self {
            kind,
            len: payload.len() as u32,
            seq: seq as u32,
            crc: 0,
        };
        frame.crc = frame.payload_crc(payload);
        frame
    }

    pub(crate) fn payload_crc(&self, payload: &[u8]) -> u32 {
        let mut h = crc32fast::Hasher::new();
        h.update(&self.start());
        h.update(payload);
        h.finalize()
    }

    /// The frame's bytes at `offset` of the segment that `salt` stands for.
    pub(crate) fn encode(&self, salt: u32, offset: u64) -> [u8; FRAME_LEN] {
        let mut out = [0; FRAME_LEN];
        let bytes = self.start().into_iter();
        let bytes = bytes.chain(check(salt, offset, &self.start(), self.crc).to_le_bytes());
        out.iter_mut()
            .zip(bytes.chain(self.crc.to_le_bytes()))
            .for_each(|(o, b)| *o = b);
        out
    }

    /// Reads a frame; None if these bytes are none.
    pub(crate) fn decode(bytes: &[u8], salt: u32, offset: u64) -> Option<Self> {
        let mut r = Reader::new(bytes);
        let start: [u8; 8] = r.array()?;
        let kind = RecordKind::from_u8(*start.first()?)?;
        let (stored, crc) = (r.u16()?, r.u32()?);
        if stored != check(salt, offset, &start, crc) {
            return None;
        }
        let [_, l0, l1, l2, s0, s1, s2, s3] = start;
        let (len, seq) = (
            u32::from_le_bytes([l0, l1, l2, 0]),
            u32::from_le_bytes([s0, s1, s2, s3]),
        );
        Some(Self { kind, len, seq, crc })
    }
}

fn check(salt: u32, offset: u64, start: &[u8; 8], crc: u32) -> u16 {
    let mut h = crc32fast::Hasher::new_with_initial(salt);
    h.update(&offset.to_le_bytes());
    h.update(start);
    h.update(&crc.to_le_bytes());
    h.finalize() as u16
}

/// Bytes of the record of stored block `id` of `len` bytes.
pub(crate) fn block_record_len(id: u64, len: u32) -> u64 {
    (FRAME_LEN + varint_len(id)) as u64 + u64::from(len)
}

/// Bytes of the record of a copy of a dictionary, which has `len` bytes.
pub(crate) fn dictionary_record_len(len: u32) -> u64 {
    (FRAME_LEN + size_of::<DictionaryId>()) as u64 + u64::from(len)
}

/// Number and bytes of a block record's payload.
pub(crate) fn parse_block(payload: &[u8]) -> Option<(u64, &[u8])> {
    let mut r = Reader::new(payload);
    Some((r.varint()?, r.rest()))
}

/// The error for a block that cannot be given back.
pub(crate) fn damaged(r: BlockRef, why: impl Into<String>) -> Error {
    Error::Damaged {
        segment: r.segment,
        offset: r.offset,
        ino: None,
        block: None,
        why: why.into(),
    }
}

/// Checks a record as read from the disk and gives its payload.
fn open_record(record: &[u8], salt: u32, r: BlockRef, kind: RecordKind) -> Result<&[u8]> {
    let (frame, rest) = record
        .split_at_checked(FRAME_LEN)
        .ok_or_else(|| damaged(r, "the segment ends before it"))?;
    let frame = Frame::decode(frame, salt, u64::from(r.offset)).ok_or_else(|| damaged(r, "no record begins here"))?;
    if frame.kind != kind {
        return Err(damaged(r, "the record here is another one"));
    }
    let payload = rest
        .get(..frame.len as usize)
        .ok_or_else(|| damaged(r, "the segment ends within it"))?;
    if frame.payload_crc(payload) != frame.crc {
        return Err(damaged(r, "the checksum is wrong"));
    }
    Ok(payload)
}

fn check_len(r: BlockRef, bytes: &[u8]) -> Result<()> {
    if bytes.len() == r.len as usize {
        return Ok(());
    }
    Err(damaged(
        r,
        format!("it holds {} bytes where {} are expected", bytes.len(), r.len),
    ))
}

/// Checks a block's record as read from the disk and gives its number and bytes.
pub(crate) fn open_block(record: &[u8], salt: u32, r: BlockRef) -> Result<(u64, &[u8])> {
    let payload = open_record(record, salt, r, RecordKind::Block)?;
    let (id, bytes) = parse_block(payload).ok_or_else(|| damaged(r, "the record has no number"))?;
    check_len(r, bytes)?;
    Ok((id, bytes))
}

/// Checks a dictionary's record as read from the disk and gives its bytes.
pub(crate) fn open_dictionary(record: &[u8], salt: u32, r: BlockRef, id: DictionaryId) -> Result<&[u8]> {
    let payload = open_record(record, salt, r, RecordKind::Dictionary)?;
    let bytes = payload
        .strip_prefix(&id)
        .ok_or_else(|| damaged(r, "it is another dictionary"))?;
    check_len(r, bytes)?;
    Ok(bytes)
}
