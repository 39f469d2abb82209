//! Where a block lies and what is in it, in bytes, told by the block before. Transactions and rows share this.
//! docs/FORMAT.md, "Extents" and "Page".

use crate::log::block_record_len;
use crate::types::BlockRef;
use crate::wire::{Reader, put_varint};

const PRESENT: u8 = 1;
const SAME_SEGMENT: u8 = 2;
/// The record begins where that of the block before ends.
const NEXT_RECORD: u8 = 4;
const SAME_TAG: u8 = 8;
const SAME_RAW_LEN: u8 = 16;
/// A bit that each user of this gives a meaning of its own.
pub(crate) const OWN: u8 = 32;
const ALL: u8 = 63;

/// Where a block lies, its tag, and its bytes when decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placement {
    pub(crate) location: BlockRef,
    pub(crate) tag: u8,
    pub(crate) raw_len: u32,
}

/// The block before, and where the record after it would begin.
#[derive(Clone, Copy, Default)]
pub(crate) struct Before {
    segment: u32,
    next: u64,
    tag: u8,
    raw_len: u32,
}

impl Before {
    /// What the block after number `id` is told by.
    pub(crate) fn after(id: u64, p: Placement) -> Self {
        Self {
            segment: p.location.segment,
            next: u64::from(p.location.offset) + block_record_len(id, p.location.len),
            tag: p.tag,
            raw_len: p.raw_len,
        }
    }

    /// The flags of a block. The caller may add [`OWN`].
    pub(crate) fn flags(&self, p: Placement) -> u8 {
        let mut flags = PRESENT;
        let mut set = |on: bool, flag: u8| flags |= if on { flag } else { 0 };
        set(p.location.segment == self.segment, SAME_SEGMENT);
        set(u64::from(p.location.offset) == self.next, NEXT_RECORD);
        set(p.tag == self.tag, SAME_TAG);
        set(p.raw_len == self.raw_len, SAME_RAW_LEN);
        flags
    }

    /// Reads what [`put`] wrote. `None` if it is cut off or cannot be.
    pub(crate) fn read(&self, r: &mut Reader<'_>, flags: u8) -> Option<Placement> {
        let len = r.varint32()?;
        let segment = match flags & SAME_SEGMENT {
            0 => r.varint32()?,
            _ => self.segment,
        };
        let offset = match flags & NEXT_RECORD {
            0 => r.varint32()?,
            _ => u32::try_from(self.next).ok()?,
        };
        let tag = if flags & SAME_TAG == 0 { r.u8()? } else { self.tag };
        let raw_len = match flags & SAME_RAW_LEN {
            0 => r.varint32()?,
            _ => self.raw_len,
        };
        let location = BlockRef { segment, offset, len };
        Some(Placement { location, tag, raw_len })
    }
}

/// Whether these can be the flags of a block.
pub(crate) fn is_block(flags: u8) -> bool {
    flags & PRESENT != 0 && flags & !ALL == 0
}

/// Appends what the flags do not tell.
pub(crate) fn put(out: &mut Vec<u8>, flags: u8, p: Placement) {
    put_varint(out, u64::from(p.location.len));
    if flags & SAME_SEGMENT == 0 {
        put_varint(out, u64::from(p.location.segment));
    }
    if flags & NEXT_RECORD == 0 {
        put_varint(out, u64::from(p.location.offset));
    }
    if flags & SAME_TAG == 0 {
        out.push(p.tag);
    }
    if flags & SAME_RAW_LEN == 0 {
        put_varint(out, u64::from(p.raw_len));
    }
}
