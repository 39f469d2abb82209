//! Stored blocks, 64 in a row: where each lies and how many use it. docs/FORMAT.md, "Page".

use super::RUN;
use crate::log::block_record_len;
use crate::types::{BlockRef, StoredBlock};
use crate::wire::{Reader, put_varint};

/// The stored blocks of one row, always [`RUN`] of them.
pub(crate) type Row = Vec<Option<StoredBlock>>;

const PRESENT: u8 = 1;
const SAME_SEGMENT: u8 = 2;
/// The record begins where that of the block before ends.
const NEXT_RECORD: u8 = 4;
const SAME_TAG: u8 = 8;
const SAME_RAW_LEN: u8 = 16;
/// More than one extent names it.
const SHARED: u8 = 32;
const ALL: u8 = 63;

/// The block before, and where the record after it would begin.
#[derive(Clone, Copy, Default)]
struct Context {
    segment: u32,
    next: u64,
    tag: u8,
    raw_len: u32,
}

impl Context {
    fn after(id: u64, s: &StoredBlock) -> Self {
        Self {
            segment: s.r.segment,
            next: u64::from(s.r.offset) + block_record_len(id, s.r.len),
            tag: s.tag,
            raw_len: s.raw_len,
        }
    }
}

/// The blocks from number `first` on, without those at the end that are not in use; None if none is.
pub(crate) fn encode_blocks(first: u64, blocks: &[Option<StoredBlock>]) -> Option<Vec<u8>> {
    let len = blocks.iter().rposition(Option::is_some)? + 1;
    let (mut out, mut before) = (Vec::new(), Context::default());
    for (id, stored) in (first..).zip(blocks.iter().take(len)) {
        let Some(s) = stored else {
            out.push(0);
            continue;
        };
        let mut flags = PRESENT;
        let mut set = |on: bool, flag: u8| flags |= if on { flag } else { 0 };
        set(s.r.segment == before.segment, SAME_SEGMENT);
        set(u64::from(s.r.offset) == before.next, NEXT_RECORD);
        set(s.tag == before.tag, SAME_TAG);
        set(s.raw_len == before.raw_len, SAME_RAW_LEN);
        set(s.users != 1, SHARED);
        out.push(flags);
        put_varint(&mut out, u64::from(s.r.len));
        if flags & SAME_SEGMENT == 0 {
            put_varint(&mut out, u64::from(s.r.segment));
        }
        if flags & NEXT_RECORD == 0 {
            put_varint(&mut out, u64::from(s.r.offset));
        }
        if flags & SAME_TAG == 0 {
            out.push(s.tag);
        }
        if flags & SAME_RAW_LEN == 0 {
            put_varint(&mut out, u64::from(s.raw_len));
        }
        if flags & SHARED != 0 {
            put_varint(&mut out, s.users);
        }
        out.extend_from_slice(&s.digest.to_le_bytes());
        before = Context::after(id, s);
    }
    Some(out)
}

/// Reads the stored blocks from number `first` on.
pub(crate) fn decode_blocks(first: u64, bytes: &[u8]) -> Option<Row> {
    let mut r = Reader::new(bytes);
    let (mut out, mut before) = (Row::with_capacity(RUN as usize), Context::default());
    for id in first.. {
        if r.is_empty() {
            break;
        }
        if out.len() == RUN as usize {
            return None;
        }
        let flags = r.u8()?;
        if flags == 0 {
            out.push(None);
            continue;
        }
        if flags & PRESENT == 0 || flags & !ALL != 0 || id == 0 {
            return None;
        }
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
        // Sums over all users stay far from the end of 64 bits.
        let users = match flags & SHARED {
            0 => 1,
            _ => r.varint().filter(|users| *users > 1 && *users >> 31 == 0)?,
        };
        let stored = StoredBlock {
            r: BlockRef { segment, offset, len },
            tag,
            raw_len,
            digest: r.u32()?,
            users,
        };
        before = Context::after(id, &stored);
        out.push(Some(stored));
    }
    out.resize(RUN as usize, None);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_stored() -> impl Strategy<Value = Option<StoredBlock>> {
        let place = (0..3u32, 0..1000u32, 0..1000u32);
        let rest = (0..2u8, 0..3u32, any::<u32>(), prop_oneof![Just(1), 2..100u64]);
        let stored = (place, rest).prop_map(|((segment, offset, len), (tag, raw_len, digest, users))| StoredBlock {
            r: BlockRef { segment, offset, len },
            tag,
            raw_len,
            digest,
            users,
        });
        proptest::option::of(stored)
    }

    proptest! {
        #[test]
        fn blocks_come_back(mut row in proptest::collection::vec(any_stored(), 0..=RUN as usize), run in 1..1000u64) {
            row.resize(RUN as usize, None);
            match encode_blocks(run * RUN, &row) {
                Some(bytes) => prop_assert_eq!(decode_blocks(run * RUN, &bytes), Some(row)),
                None => prop_assert!(row.iter().all(Option::is_none)),
            }
        }

        #[test]
        fn any_bytes_are_blocks_or_none(bytes: Vec<u8>) {
            if let Some(row) = decode_blocks(0, &bytes) {
                prop_assert_eq!(row.len(), RUN as usize);
            }
        }
    }
}
