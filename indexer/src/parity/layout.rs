//! Where things stand in a parity file. docs/FORMAT.md, "Parity".

use crate::wire::Reader;
use crate::{Error, Result};

/// Bytes of the header.
pub(crate) const HEADER_LEN: usize = 64;
const MAGIC: &[u8; 8] = b"LMFSPAR\0";
const VERSION: u16 = 1;
const SEALED: u16 = 1;

/// Shards are no smaller than this, and a multiple of it: what the coder's vectors take at a time.
const GRAIN: u64 = 64;
/// A large segment's shards are as large as what a disk loses at once.
const SECTOR: u64 = 4096;
/// A small segment has about this many shards, so that parity of a few percent is more than one of them.
const FEW: u64 = 256;
/// No segment has more data shards than this when it is written; the code can do with twice as many.
const MANY: u64 = 16384;
/// Shards are no larger than what the largest segment (places in it are numbers of 32 bits) needs.
const LARGEST: u64 = (1 << 32) / MANY;
/// The code's limit for data shards, and for parity shards.
const LIMIT: u32 = 32768;

/// What a parity file protects and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) segment: u32,
    pub(crate) store_id: [u8; 16],
    /// Bytes of the segment, from its first.
    pub(crate) covered: u64,
    /// They are all of a sealed segment.
    pub(crate) sealed: bool,
    /// Bytes in a shard.
    pub(crate) shard: u32,
    /// Data shards; the last is filled up with zeros.
    pub(crate) data: u32,
    /// Parity shards: as many data shards may be lost.
    pub(crate) parity: u32,
}

impl Layout {
    /// The layout for `percent` percent of parity.
    pub(crate) fn plan(segment: u32, store_id: [u8; 16], covered: u64, sealed: bool, percent: u8) -> Self {
        let shard = (covered / FEW).clamp(GRAIN, SECTOR).max(covered.div_ceil(MANY));
        let shard = shard.next_multiple_of(GRAIN);
        let data = covered.div_ceil(shard);
        let parity = (data * u64::from(percent)).div_ceil(100).clamp(1, data.max(1));
        Self {
            segment,
            store_id,
            covered,
            sealed,
            shard: shard as u32,
            data: data as u32,
            parity: parity as u32,
        }
    }

    /// Bytes of the checksums of all shards.
    pub(crate) fn table_len(&self) -> usize {
        4 * (self.data as usize + self.parity as usize)
    }

    /// Where a parity shard begins, or for `i` behind the last one the second table.
    pub(crate) fn parity_at(&self, i: u32) -> u64 {
        (HEADER_LEN + self.table_len()) as u64 + u64::from(i) * u64::from(self.shard)
    }

    /// Bytes of the whole file.
    pub(crate) fn file_len(&self) -> u64 {
        self.parity_at(self.parity) + (HEADER_LEN + self.table_len()) as u64
    }

    /// The header of a file whose table has this CRC-32.
    pub(crate) fn encode(&self, table_crc: u32) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(if self.sealed { SEALED } else { 0 }).to_le_bytes());
        out.extend_from_slice(&self.segment.to_le_bytes());
        out.extend_from_slice(&self.store_id);
        out.extend_from_slice(&self.covered.to_le_bytes());
        for v in [self.shard, self.data, self.parity, table_crc, 0] {
            out.extend_from_slice(&v.to_le_bytes());
        }
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        out
    }

    /// Reads a header and its table's CRC-32: None if it is damaged, an error if a newer version wrote it.
    pub(crate) fn decode(bytes: &[u8], path: &str) -> Result<Option<(Self, u32)>> {
        let Some((body, crc)) = bytes.split_at_checked(HEADER_LEN - 4) else {
            return Ok(None);
        };
        if crc32fast::hash(body).to_le_bytes() != crc || !body.starts_with(MAGIC) {
            return Ok(None);
        }
        let mut r = Reader::new(body);
        let mut read = || {
            r.take(MAGIC.len())?;
            let (version, flags) = (r.u16()?, r.u16()?);
            let (segment, store_id, covered) = (r.u32()?, r.array()?, r.u64()?);
            let (shard, data, parity, table_crc) = (r.u32()?, r.u32()?, r.u32()?, r.u32()?);
            let sealed = flags & SEALED != 0;
            let layout = Self {
                segment,
                store_id,
                covered,
                sealed,
                shard,
                data,
                parity,
            };
            Some((version, layout, table_crc))
        };
        match read() {
            Some((version, ..)) if version > VERSION => Err(Error::NewerFormat {
                path: path.to_owned(),
                found: version,
                known: VERSION,
            }),
            Some((_, layout, crc)) => Ok(layout.makes_sense().then_some((layout, crc))),
            None => Ok(None),
        }
    }

    /// Nothing that a hostile header says leads to more memory than the segment's length.
    fn makes_sense(&self) -> bool {
        let shard = u64::from(self.shard);
        shard > 0
            && shard.is_multiple_of(GRAIN)
            && shard <= LARGEST
            && (1..=u64::from(u32::MAX)).contains(&self.covered)
            && self.covered.div_ceil(shard) == u64::from(self.data)
            && self.data <= LIMIT
            && (1..=self.data).contains(&self.parity)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn parity_takes_the_percent_it_is_given() {
        for covered in [
            53,
            300,
            4096,
            100_000,
            1 << 20,
            64 << 20,
            (64 << 20) + 1,
            1 << 30,
            u64::from(u32::MAX),
        ] {
            for percent in [1, 5, 20, 50] {
                let l = Layout::plan(3, [1; 16], covered, true, percent);
                assert!(l.makes_sense(), "{l:?}");
                let wanted = covered * u64::from(percent) / 100;
                let parity = u64::from(l.parity) * u64::from(l.shard);
                assert!(parity >= wanted && parity <= wanted + 2 * u64::from(l.shard), "{l:?}");
                let (back, crc) = Layout::decode(&l.encode(77), "p").unwrap().unwrap();
                assert_eq!((back, crc), (l, 77));
            }
        }
        let usual = Layout::plan(3, [1; 16], 64 << 20, true, 5);
        assert_eq!((usual.shard, usual.data, usual.parity), (4096, 16384, 820));
    }

    /// A header of 64 bytes made scrub allocate 4 GiB.
    #[test]
    fn shards_larger_than_any_segment_needs_are_refused() {
        for (shard, covered) in [(u32::MAX - 63, 100), (LARGEST as u32 + 64, 100), (4096, 1 << 32)] {
            let layout = Layout {
                segment: 3,
                store_id: [1; 16],
                covered,
                sealed: true,
                shard,
                data: covered.div_ceil(u64::from(shard)) as u32,
                parity: 1,
            };
            assert_eq!(Layout::decode(&layout.encode(0), "p").unwrap(), None, "{layout:?}");
        }
    }

    #[test]
    fn headers_that_make_no_sense_are_none() {
        let good = Layout::plan(3, [1; 16], 100_000, true, 5);
        let bad = [
            Layout { shard: 0, ..good },
            Layout { shard: 63, ..good },
            Layout { covered: 0, ..good },
            Layout {
                covered: u64::MAX,
                ..good
            },
            Layout { data: 0, ..good },
            Layout { data: u32::MAX, ..good },
            Layout { parity: 0, ..good },
            Layout {
                parity: good.data + 1,
                ..good
            },
        ];
        for layout in bad {
            assert_eq!(Layout::decode(&layout.encode(0), "p").unwrap(), None, "{layout:?}");
        }
        let bytes = good.encode(0);
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            *bad.get_mut(at).unwrap() ^= 4;
            assert_eq!(Layout::decode(&bad, "p").unwrap(), None);
            assert_eq!(Layout::decode(bytes.get(..at).unwrap(), "p").unwrap(), None);
        }
    }
}
