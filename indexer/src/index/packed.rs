//! A page as it lies in the log and in the index of a small store: compressed. docs/FORMAT.md, "Page".

use crate::wire::{Reader, put_varint};
use zstd::zstd_safe::find_frame_compressed_size;

/// Most bytes that the rows of one page take: several times what a writer puts into one.
pub(crate) const MAX_ROWS: usize = 1 << 20;

/// Most bytes of rows for each byte of a frame. Real rows have a few; without a bound, a small log could stand for an
/// index that fills the disk.
const MAX_RATIO: usize = 32;

/// Higher levels take ten times as long for two percent.
const LEVEL: i32 = 3;

/// The rows of a page, packed. Those that compress too well stay as they are.
pub(crate) fn pack(rows: &[u8]) -> std::io::Result<Vec<u8>> {
    let frame = zstd::bulk::compress(rows, LEVEL)?;
    let mut out = Vec::new();
    if frame.len() < rows.len() && rows.len() <= frame.len() * MAX_RATIO {
        put_varint(&mut out, rows.len() as u64);
        out.extend_from_slice(&frame);
    } else {
        put_varint(&mut out, 0);
        out.extend_from_slice(rows);
    }
    Ok(out)
}

/// The rows that [`pack`] was given. `None` if these bytes are no packed page, or one with more than [`MAX_ROWS`] bytes
/// of rows, or with more than a frame of that length can have. No memory is taken for these.
pub(crate) fn unpack(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut r = Reader::new(bytes);
    let len = usize::try_from(r.varint()?).ok().filter(|len| *len <= MAX_ROWS)?;
    let rest = r.rest();
    if len == 0 {
        return (rest.len() <= MAX_ROWS).then(|| rest.to_vec());
    }
    // One frame and nothing else: every page has one form of being read.
    if len > rest.len() * MAX_RATIO || find_frame_compressed_size(rest).ok()? != rest.len() {
        return None;
    }
    let rows = zstd::bulk::decompress(rest, len).ok()?;
    (rows.len() == len).then_some(rows)
}

/// Bytes that take half of their length when they are packed.
#[cfg(test)]
pub(super) fn digits(len: usize) -> Vec<u8> {
    let numbers = (0..len as u32 / 8).map(|n| n.wrapping_mul(2_654_435_761) % 100_000_000);
    numbers.flat_map(|n| format!("{n:08}").into_bytes()).collect()
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
        let packed = pack(&digits(MAX_ROWS)).unwrap();
        assert!(packed.len() < MAX_ROWS * 3 / 4, "{}", packed.len());
        assert_eq!(unpack(&packed), Some(digits(MAX_ROWS)));
        assert_eq!(unpack(&pack(&digits(MAX_ROWS + 8)).unwrap()), None);
        let frame = |rows: &[u8]| zstd::bulk::compress(rows, LEVEL).unwrap();
        for (len, frames) in [
            (u64::MAX, frame(b"rows")),
            (3, frame(b"rows")),
            (5, frame(b"rows")),
            (8, [frame(b"rows"), frame(b"rows")].concat()),
            (4, [frame(b"rows"), vec![0]].concat()),
            (4, Vec::new()),
            (MAX_ROWS as u64, frame(&vec![0; MAX_ROWS])),
        ] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, len);
            bytes.extend_from_slice(&frames);
            assert_eq!(unpack(&bytes), None, "{len}");
        }
    }

    /// They would be refused, and a log of them could stand for an index of any size.
    #[test]
    fn rows_that_compress_too_well_stay_as_they_are() {
        let zeros = vec![0; MAX_ROWS];
        let packed = pack(&zeros).unwrap();
        assert_eq!(packed.len(), 1 + MAX_ROWS);
        assert_eq!(unpack(&packed), Some(zeros));
        assert_eq!(unpack(&pack(&vec![0; MAX_ROWS + 1]).unwrap()), None);
        assert_eq!(unpack(&[]), None);
    }
}
