//! Stored blocks, 64 in a row: where each lies and how many use it. docs/FORMAT.md, "Page".

use super::RUN;
use crate::change::block_id;
use crate::placement::{self, Before, OWN, Placement};
use crate::types::StoredBlock;
use crate::wire::{Reader, put_signed, put_varint};

/// The stored blocks of one row, always [`RUN`] of them.
pub(crate) type Row = Vec<Option<StoredBlock>>;

/// The flag of a block that more than one extent names, or none.
const SHARED: u8 = OWN;
/// The flag of a block that refers to another one.
const REFERS: u8 = 64;
/// The flag of a block that others refer to.
const REFERRED: u8 = 128;

fn placement(s: &StoredBlock) -> Placement {
    Placement {
        location: s.location,
        tag: s.tag,
        raw_len: s.raw_len,
    }
}

/// The blocks from number `first` on, without those at the end that are not in use; None if none is.
pub(crate) fn encode_blocks(first: u64, blocks: &[Option<StoredBlock>]) -> Option<Vec<u8>> {
    let len = blocks.iter().rposition(Option::is_some)? + 1;
    let (mut out, mut before) = (Vec::new(), Before::default());
    for (id, stored) in (first..).zip(blocks.iter().take(len)) {
        let Some(s) = stored else {
            out.push(0);
            continue;
        };
        let shared = if s.users == 1 { 0 } else { SHARED };
        let refers = if s.reference == 0 { 0 } else { REFERS };
        let referred = if s.referrers == 0 { 0 } else { REFERRED };
        let flags = before.flags(placement(s)) | shared | refers | referred;
        out.push(flags);
        placement::put(&mut out, flags, placement(s));
        if flags & SHARED != 0 {
            put_varint(&mut out, s.users);
        }
        if flags & REFERS != 0 {
            put_signed(&mut out, id.wrapping_sub(s.reference) as i64);
        }
        if flags & REFERRED != 0 {
            put_varint(&mut out, s.referrers);
        }
        out.extend_from_slice(&s.digest.to_le_bytes());
        before = Before::after(id, placement(s));
    }
    Some(out)
}

/// Reads the stored blocks from number `first` on.
pub(crate) fn decode_blocks(first: u64, bytes: &[u8]) -> Option<Row> {
    let mut r = Reader::new(bytes);
    let (mut out, mut before) = (Row::with_capacity(RUN as usize), Before::default());
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
        if !placement::is_block(flags & !(REFERS | REFERRED)) || id == 0 {
            return None;
        }
        let p = before.read(&mut r, flags)?;
        // Sums over all users stay far from the end of 64 bits.
        let users = match flags & SHARED {
            0 => 1,
            _ => r.varint().filter(|users| *users != 1 && *users >> 31 == 0)?,
        };
        let reference = match flags & REFERS {
            0 => 0,
            _ => id.wrapping_sub(r.signed()? as u64),
        };
        let is_possible = reference != id && block_id(reference).is_ok();
        if flags & REFERS != 0 && !is_possible {
            return None;
        }
        let referrers = match flags & REFERRED {
            0 => 0,
            _ => r.varint().filter(|referrers| *referrers > 0 && *referrers >> 31 == 0)?,
        };
        if users == 0 && referrers == 0 {
            return None;
        }
        let stored = StoredBlock {
            location: p.location,
            tag: p.tag,
            raw_len: p.raw_len,
            digest: r.u32()?,
            users,
            reference,
            referrers,
        };
        before = Before::after(id, p);
        out.push(Some(stored));
    }
    out.resize(RUN as usize, None);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::BlockRef;
    use proptest::prelude::*;

    fn any_stored() -> impl Strategy<Value = Option<StoredBlock>> {
        let place = (0..3u32, 0..1000u32, 0..1000u32);
        let rest = (0..2u8, 0..3u32, any::<u32>(), prop_oneof![Just(1), 2..100u64]);
        // Rows of this test hold numbers from 64 to 63,999.
        let references = (
            prop_oneof![Just(0), 1..64u64, 64_000..=i64::MAX as u64],
            0..3u64,
            any::<bool>(),
        );
        let stored = (place, rest, references).prop_map(
            |((segment, offset, len), (tag, raw_len, digest, users), (reference, referrers, kept))| StoredBlock {
                location: BlockRef { segment, offset, len },
                tag,
                raw_len,
                digest,
                users: if kept && referrers > 0 { 0 } else { users },
                reference,
                referrers,
            },
        );
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
