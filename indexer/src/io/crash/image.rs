//! What a power cut does to writes that were not synced.

/// What becomes of that which was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It is there: a killed process, not a power cut.
    Nothing,
    /// It is gone.
    Everything,
    /// Each write, cut, creation and removal is there, gone, or, for a write, there in part, independently of the
    /// others: what this number, the seed of a random generator, says.
    Any(u64),
}

/// The disk's own unit of writing: a torn write leaves some of these.
const SECTOR: u64 = 512;

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n.max(1)
    }
}

pub(super) fn set_len(data: &mut Vec<u8>, len: u64) {
    data.resize(usize::try_from(len).unwrap_or(usize::MAX), 0);
}

pub(super) fn write(data: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let from = usize::try_from(offset).unwrap_or(usize::MAX);
    let to = from.saturating_add(bytes.len());
    if data.len() < to {
        data.resize(to, 0);
    }
    if let Some(place) = data.get_mut(from..to) {
        place.copy_from_slice(bytes);
    }
}

/// Writes nothing of `bytes`, a first part, or some of the sectors.
pub(super) fn tear(data: &mut Vec<u8>, offset: u64, bytes: &[u8], random: &mut Random) {
    match random.below(3) {
        0 => {}
        1 => {
            let n = random.below(bytes.len() as u64) as usize;
            write(data, offset, bytes.get(..n).unwrap_or_default());
        }
        _ => {
            let (mut offset, mut rest) = (offset, bytes);
            while !rest.is_empty() {
                let n = rest.len().min((SECTOR - offset % SECTOR) as usize);
                let (sector, later) = rest.split_at(n);
                if random.below(2) == 0 {
                    write(data, offset, sector);
                }
                (offset, rest) = (offset + n as u64, later);
            }
        }
    }
}
