//! Extents in bytes, as a transaction names them: about 9 for a block that follows its neighbour in the log.
//! docs/FORMAT.md, "Extents".

use crate::log::block_record_len;
use crate::types::{BlockRef, Extent};
use crate::wire::{Reader, put_varint};

const PRESENT: u8 = 1;
const SAME_SEGMENT: u8 = 2;
/// The record begins where the previous extent's record ends.
const NEXT_RECORD: u8 = 4;
const SAME_TAG: u8 = 8;
const SAME_RAW_LEN: u8 = 16;
/// Its number follows the previous extent's.
const NEXT_ID: u8 = 32;
const ALL: u8 = 63;

/// The extent before, and what would follow it.
#[derive(Clone, Copy, Default)]
struct Context {
    segment: u32,
    next: u64,
    tag: u8,
    raw_len: u32,
    id: u64,
}

impl Context {
    fn after(e: &Extent) -> Self {
        Self {
            segment: e.r.segment,
            next: u64::from(e.r.offset) + block_record_len(e.id, e.r.len),
            tag: e.tag,
            raw_len: e.raw_len,
            id: e.id,
        }
    }
}

/// Appends the number of extents and each of them.
pub(crate) fn encode_extents(out: &mut Vec<u8>, extents: &[Option<Extent>]) {
    put_varint(out, extents.len() as u64);
    let mut before = Context::default();
    for extent in extents {
        let Some(e) = extent else {
            out.push(0);
            continue;
        };
        let mut flags = PRESENT;
        let mut set = |on: bool, flag: u8| flags |= if on { flag } else { 0 };
        set(e.r.segment == before.segment, SAME_SEGMENT);
        set(u64::from(e.r.offset) == before.next, NEXT_RECORD);
        set(e.tag == before.tag, SAME_TAG);
        set(e.raw_len == before.raw_len, SAME_RAW_LEN);
        set(Some(e.id) == before.id.checked_add(1), NEXT_ID);
        out.push(flags);
        if flags & NEXT_ID == 0 {
            put_varint(out, e.id);
        }
        put_varint(out, u64::from(e.r.len));
        if flags & SAME_SEGMENT == 0 {
            put_varint(out, u64::from(e.r.segment));
        }
        if flags & NEXT_RECORD == 0 {
            put_varint(out, u64::from(e.r.offset));
        }
        if flags & SAME_TAG == 0 {
            out.push(e.tag);
        }
        if flags & SAME_RAW_LEN == 0 {
            put_varint(out, u64::from(e.raw_len));
        }
        out.extend_from_slice(&e.digest.to_le_bytes());
        before = Context::after(e);
    }
}

/// Reads what [`encode_extents`] wrote, at most `max` extents.
pub(crate) fn decode_extents(r: &mut Reader<'_>, max: usize) -> Option<Vec<Option<Extent>>> {
    let count = usize::try_from(r.varint()?)
        .ok()
        .filter(|&n| n <= max && n <= r.rest().len())?;
    let mut out = Vec::with_capacity(count);
    let mut before = Context::default();
    for _ in 0..count {
        let flags = r.u8()?;
        if flags == 0 {
            out.push(None);
            continue;
        }
        if flags & PRESENT == 0 || flags & !ALL != 0 {
            return None;
        }
        let id = match flags & NEXT_ID {
            0 => r.varint()?,
            _ => before.id.checked_add(1)?,
        };
        let len = r.varint32()?;
        let segment = match flags & SAME_SEGMENT {
            0 => r.varint32()?,
            _ => before.segment,
        };
        let offset = match flags & NEXT_RECORD {
            0 => r.varint32()?,
            _ => u32::try_from(before.next).ok()?,
        };
        let tag = if flags & SAME_TAG == 0 { r.u8()? } else { before.tag };
        let raw_len = match flags & SAME_RAW_LEN {
            0 => r.varint32()?,
            _ => before.raw_len,
        };
        let e = Extent {
            id,
            r: BlockRef { segment, offset, len },
            tag,
            raw_len,
            digest: r.u32()?,
        };
        before = Context::after(&e);
        out.push(Some(e));
    }
    Some(out)
}
