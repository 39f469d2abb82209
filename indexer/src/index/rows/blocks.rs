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

/// Reads all stored blocks from number `first` on.
pub(crate) fn decode_blocks(first: u64, bytes: &[u8]) -> Option<Row> {
    let mut row = RowReader::new(first, bytes);
    row.block(first.checked_add(RUN - 1)?)?;
    (row.at == bytes.len()).then_some(())?;
    row.blocks.resize(RUN as usize, None);
    Some(row.blocks)
}

/// A row that is decoded as far as its blocks are asked for: each is told by the one before.
pub(crate) struct RowReader<B> {
    first: u64,
    bytes: B,
    /// Bytes that are decoded.
    at: usize,
    blocks: Row,
    before: Before,
}

impl<B: AsRef<[u8]>> RowReader<B> {
    /// A row with the stored blocks from number `first` on.
    pub(crate) fn new(first: u64, bytes: B) -> Self {
        Self {
            first,
            bytes,
            at: 0,
            blocks: Row::with_capacity(RUN as usize),
            before: Before::default(),
        }
    }

    /// A stored block of this row, if it is in use; `None` if the row does not decode as far as that.
    pub(crate) fn block(&mut self, id: u64) -> Option<Option<StoredBlock>> {
        let wanted = id.checked_sub(self.first).filter(|at| *at < RUN)? as usize;
        let bytes = self.bytes.as_ref();
        let mut reader = Reader::new(bytes.get(self.at..)?);
        for id in self.first + self.blocks.len() as u64.. {
            if self.blocks.len() > wanted || reader.is_empty() {
                break;
            }
            let stored = decode_block(id, &mut self.before, &mut reader)?;
            self.blocks.push(stored);
            self.at = bytes.len() - reader.rest().len();
        }
        Some(self.blocks.get(wanted).copied().flatten())
    }
}

/// Reads the stored block with number `id`, the one after `before`.
fn decode_block(id: u64, before: &mut Before, r: &mut Reader<'_>) -> Option<Option<StoredBlock>> {
    let flags = r.u8()?;
    if flags == 0 {
        return Some(None);
    }
    if !placement::is_block(flags & !(REFERS | REFERRED)) || id == 0 {
        return None;
    }
    let p = before.read(r, flags)?;
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
    *before = Before::after(id, p);
    Some(Some(StoredBlock {
        location: p.location,
        tag: p.tag,
        raw_len: p.raw_len,
        digest: r.u32()?,
        users,
        reference,
        referrers,
    }))
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
        fn blocks_of_a_row_can_be_asked_for_in_any_order(
            mut row in proptest::collection::vec(any_stored(), 1..=RUN as usize),
            asked in proptest::collection::vec(0..RUN, 1..9),
        ) {
            row.resize(RUN as usize, None);
            let bytes = encode_blocks(RUN, &row).unwrap_or_default();
            let mut reader = RowReader::new(RUN, &bytes);
            for at in asked {
                prop_assert_eq!(reader.block(RUN + at), row.get(at as usize).copied());
            }
            prop_assert_eq!(reader.block(2 * RUN), None);
            prop_assert_eq!(reader.block(RUN - 1), None);
        }

        #[test]
        fn any_bytes_are_blocks_or_none(bytes: Vec<u8>) {
            if let Some(row) = decode_blocks(0, &bytes) {
                prop_assert_eq!(row.len(), RUN as usize);
            }
        }
    }
}
