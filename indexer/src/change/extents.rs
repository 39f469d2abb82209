//! A run of extents in bytes: about 4 for each that follows its neighbour in the log. docs/FORMAT.md, "Extents".

use crate::log::block_record_len;
use crate::types::{BlockRef, Extent};
use crate::wire::{Reader, put_varint};

const PRESENT: u8 = 1;
const SAME_SEGMENT: u8 = 2;
/// The record begins where the previous extent's record ends.
const NEXT_RECORD: u8 = 4;
const SAME_TAG: u8 = 8;
const SAME_RAW_LEN: u8 = 16;
const ALL: u8 = 31;

/// The extent before, and where the record after it would begin.
#[derive(Clone, Copy, Default)]
struct Context {
    segment: u32,
    next: u64,
    tag: u8,
    raw_len: u32,
}

impl Context {
    fn after(ino: u64, block: u64, e: &Extent) -> Self {
        let next = u64::from(e.r.offset) + block_record_len(ino, block, e.r.len);
        Self {
            segment: e.r.segment,
            next,
            tag: e.tag,
            raw_len: e.raw_len,
        }
    }
}

/// Appends the number of extents and each of them; the first is block `first` of `ino`.
pub(crate) fn encode_extents(out: &mut Vec<u8>, ino: u64, first: u64, extents: &[Option<Extent>]) {
    put_varint(out, extents.len() as u64);
    let mut before = Context::default();
    for (block, extent) in (first..).zip(extents) {
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
        out.push(flags);
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
        before = Context::after(ino, block, e);
    }
}

/// Reads what [`encode_extents`] wrote, at most `max` extents.
pub(crate) fn decode_extents(r: &mut Reader<'_>, ino: u64, first: u64, max: usize) -> Option<Vec<Option<Extent>>> {
    let count = usize::try_from(r.varint()?)
        .ok()
        .filter(|&n| n <= max && n <= r.rest().len())?;
    first.checked_add(count as u64)?;
    let mut out = Vec::with_capacity(count);
    let mut before = Context::default();
    for block in (first..).take(count) {
        let flags = r.u8()?;
        if flags == 0 {
            out.push(None);
            continue;
        }
        if flags & PRESENT == 0 || flags & !ALL != 0 {
            return None;
        }
        let len = r.varint32()?;
        let segment = if flags & SAME_SEGMENT != 0 {
            before.segment
        } else {
            r.varint32()?
        };
        let offset = if flags & NEXT_RECORD != 0 {
            u32::try_from(before.next).ok()?
        } else {
            r.varint32()?
        };
        let tag = if flags & SAME_TAG != 0 { before.tag } else { r.u8()? };
        let raw_len = if flags & SAME_RAW_LEN != 0 {
            before.raw_len
        } else {
            r.varint32()?
        };
        let e = Extent {
            r: BlockRef { segment, offset, len },
            tag,
            raw_len,
        };
        before = Context::after(ino, block, &e);
        out.push(Some(e));
    }
    Some(out)
}
