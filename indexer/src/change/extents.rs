//! Extents in bytes, as a transaction names them: about 9 for a block that follows its neighbour in the log.
//! docs/FORMAT.md, "Extents".

use crate::placement::{self, Before, OWN, Placement};
use crate::types::Extent;
use crate::wire::{Reader, put_varint};

/// The flag of an extent whose number follows the previous one's.
const NEXT_ID: u8 = OWN;

fn placement(e: &Extent) -> Placement {
    Placement {
        location: e.location,
        tag: e.tag,
        raw_len: e.raw_len,
    }
}

/// Appends the number of extents and each of them.
pub(crate) fn encode_extents(out: &mut Vec<u8>, extents: &[Option<Extent>]) {
    put_varint(out, extents.len() as u64);
    let (mut before, mut last) = (Before::default(), 0_u64);
    for extent in extents {
        let Some(e) = extent else {
            out.push(0);
            continue;
        };
        let next = if Some(e.id) == last.checked_add(1) { NEXT_ID } else { 0 };
        let flags = before.flags(placement(e)) | next;
        out.push(flags);
        if next == 0 {
            put_varint(out, e.id);
        }
        placement::put(out, flags, placement(e));
        out.extend_from_slice(&e.digest.to_le_bytes());
        (before, last) = (Before::after(e.id, placement(e)), e.id);
    }
}

/// Reads what [`encode_extents`] wrote, at most `max` extents.
pub(crate) fn decode_extents(r: &mut Reader<'_>, max: usize) -> Option<Vec<Option<Extent>>> {
    let count = usize::try_from(r.varint()?)
        .ok()
        .filter(|&n| n <= max && n <= r.rest().len())?;
    let mut out = Vec::with_capacity(count);
    let (mut before, mut last) = (Before::default(), 0_u64);
    for _ in 0..count {
        let flags = r.u8()?;
        if flags == 0 {
            out.push(None);
            continue;
        }
        if !placement::is_block(flags) {
            return None;
        }
        let id = match flags & NEXT_ID {
            0 => r.varint()?,
            _ => last.checked_add(1)?,
        };
        let p = before.read(r, flags)?;
        let e = Extent {
            id,
            location: p.location,
            tag: p.tag,
            raw_len: p.raw_len,
            digest: r.u32()?,
        };
        (before, last) = (Before::after(id, p), id);
        out.push(Some(e));
    }
    Some(out)
}
