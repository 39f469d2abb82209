//! A page as it lies in the log and in the index of a small store: compressed. docs/FORMAT.md, "Page".

use crate::wire::{Reader, put_varint};
use zstd::zstd_safe::find_frame_compressed_size;

/// Most bytes that the rows of one page take: several times what a writer puts into one.
pub(crate) const MAX_ROWS: usize = 1 << 20;

/// Higher levels take ten times as long for two percent.
const LEVEL: i32 = 3;

/// The rows of a page, packed.
pub(crate) fn pack(rows: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    put_varint(&mut out, rows.len() as u64);
    out.extend_from_slice(&zstd::bulk::compress(rows, LEVEL)?);
    Ok(out)
}

/// The rows that [`pack`] was given. `None` if these bytes are no packed page, or one with more than [`MAX_ROWS`] bytes
/// of rows, for which no memory is taken.
pub(crate) fn unpack(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut r = Reader::new(bytes);
    let len = usize::try_from(r.varint()?).ok().filter(|len| *len <= MAX_ROWS)?;
    // One frame and nothing else: every page has one form of being read.
    if find_frame_compressed_size(r.rest()).ok()? != r.rest().len() {
        return None;
    }
    let rows = zstd::bulk::decompress(r.rest(), len).ok()?;
    (rows.len() == len).then_some(rows)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_come_back(rows: Vec<u8>) {
            prop_assert_eq!(unpack(&pack(&rows).unwrap()), Some(rows));
        }

        #[test]
        fn any_bytes_are_unpacked_without_a_panic(bytes: Vec<u8>, rows: Vec<u8>, at: usize, bit in 0..8u8) {
            unpack(&bytes);
            let mut packed = pack(&rows).unwrap();
            let at = at % packed.len();
            *packed.get_mut(at).unwrap() ^= 1 << bit;
            unpack(&packed);
        }
    }

    #[test]
    fn a_length_that_is_not_that_of_the_rows_is_refused_before_memory_is_taken() {
        let zeros = vec![0; MAX_ROWS];
        let packed = pack(&zeros).unwrap();
        assert!(packed.len() < 1000, "{}", packed.len());
        assert_eq!(unpack(&packed).unwrap(), zeros);
        assert_eq!(unpack(&pack(&vec![0; MAX_ROWS + 1]).unwrap()), None);
        let frame = |rows: &[u8]| zstd::bulk::compress(rows, LEVEL).unwrap();
        for (len, frames) in [
            (u64::MAX, frame(b"rows")),
            (3, frame(b"rows")),
            (5, frame(b"rows")),
            (8, [frame(b"rows"), frame(b"rows")].concat()),
            (4, [frame(b"rows"), vec![0]].concat()),
            (0, Vec::new()),
        ] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, len);
            bytes.extend_from_slice(&frames);
            assert_eq!(unpack(&bytes), None, "{len}");
        }
    }
}
