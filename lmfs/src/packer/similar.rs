//! Which blocks are alike: a sketch of each, and a table of them.
//!
//! A sketch has the least of the hashes of all windows of a block (min-hash, bottom-k). Two blocks have as large a
//! share of them in common as of their windows, so inserted and shifted bytes matter little. The table is in memory and
//! bounded. A process that opens a store begins with an empty one and reads some of the blocks that are packed already
//! (`Packer::recall`): keeping the sketches would take a tenth of what similar blocks take.

use std::collections::{BTreeSet, HashMap};

/// Hashes in a sketch.
const HASHES: usize = 16;
/// Bytes of a window.
const WINDOW: usize = 16;
/// Hashes in each half of the table, which takes about 50 bytes for each. When the newer half is full, the older one is
/// forgotten.
const HALF: usize = 1 << 19;

/// The hashes of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sketch(Vec<u32>);

impl Sketch {
    pub fn of(raw: &[u8]) -> Sketch {
        /// Of the polynomial that is the hash of a window.
        const BASE: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut leaving = 1_u64;
        (0..WINDOW).for_each(|_| leaving = leaving.wrapping_mul(BASE));
        let mut least = BTreeSet::new();
        let (mut hash, mut greatest) = (0_u64, u32::MAX);
        for (at, &byte) in raw.iter().enumerate() {
            hash = hash.wrapping_mul(BASE).wrapping_add(u64::from(byte) + 1);
            if let Some(gone) = at.checked_sub(WINDOW).and_then(|gone| raw.get(gone)) {
                hash = hash.wrapping_sub(leaving.wrapping_mul(u64::from(*gone) + 1));
            }
            if at + 1 < WINDOW {
                continue;
            }
            let mixed = ((hash ^ hash >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93) >> 32) as u32;
            if mixed < greatest && least.insert(mixed) && least.len() > HASHES {
                least.pop_last();
                greatest = least.last().copied().unwrap_or(u32::MAX);
            }
        }
        Sketch(least.into_iter().collect())
    }
}

/// A block that has something in common with another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Alike<T> {
    pub block: T,
    /// At least half of the windows are the same.
    pub is_close: bool,
}

/// The sketches of blocks. Of several blocks with one hash, the first and the last that were added are found by it: the
/// last is the most similar one as a rule, and the first the one that needs the fewest others.
pub(super) struct Similar<T> {
    newer: HashMap<u32, [T; 2]>,
    older: HashMap<u32, [T; 2]>,
}

impl<T> Default for Similar<T> {
    fn default() -> Similar<T> {
        Similar {
            newer: HashMap::new(),
            older: HashMap::new(),
        }
    }
}

impl<T: Copy + Ord + std::hash::Hash> Similar<T> {
    /// Adds a block.
    pub fn add(&mut self, sketch: &Sketch, block: T) {
        for &hash in &sketch.0 {
            if self.newer.len() >= HALF {
                self.older = std::mem::take(&mut self.newer);
            }
            let older = &self.older;
            // The first one of the older half stays the first.
            let first = || older.get(&hash).map_or([block; 2], |[first, _]| [*first, block]);
            self.newer.entry(hash).or_insert_with(first)[1] = block;
        }
    }

    /// The blocks that have something in common with this one, the most similar one first, and of those that are
    /// equally so the greatest.
    pub fn find(&self, sketch: &Sketch) -> Vec<Alike<T>> {
        let mut found: Vec<(usize, T)> = self.common(sketch).into_iter().map(|(block, n)| (n, block)).collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        let alike = |(n, block)| Alike {
            block,
            is_close: n * 2 >= sketch.0.len(),
        };
        found.into_iter().map(alike).collect()
    }

    /// How many hashes other blocks have in common with this one.
    fn common(&self, sketch: &Sketch) -> HashMap<T, usize> {
        let mut common: HashMap<T, usize> = HashMap::new();
        let known = |hash| self.newer.get(hash).or_else(|| self.older.get(hash));
        for [first, last] in sketch.0.iter().filter_map(known) {
            *common.entry(*last).or_default() += 1;
            if first != last {
                *common.entry(*first).or_default() += 1;
            }
        }
        common
    }

    /// Whether nothing was added yet.
    pub fn is_empty(&self) -> bool {
        self.newer.is_empty()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    fn text(from: u32, lines: u32) -> Vec<u8> {
        let line = |i: u32| format!("line {} of {}: {}\n", i, i * 7919 % 1009, i.wrapping_mul(2_654_435_761));
        (from..from + lines).flat_map(|i| line(i).into_bytes()).collect()
    }

    fn found(similar: &Similar<u32>, sketch: &Sketch) -> Vec<(u32, bool)> {
        let found = similar.find(sketch).into_iter();
        found.map(|alike| (alike.block, alike.is_close)).collect()
    }

    /// Regression: the first of several blocks was hidden as soon as the newer half of the table began anew.
    #[test]
    fn the_first_block_is_found_after_the_older_half_was_filled() {
        let mut similar = Similar::default();
        let sketch = Sketch::of(&text(0, 500));
        similar.add(&sketch, 1);
        similar.older = std::mem::take(&mut similar.newer);
        similar.add(&sketch, 2);
        assert_eq!(found(&similar, &sketch), [(2, true), (1, true)]);
    }

    #[test]
    fn blocks_that_share_bytes_are_found_and_others_are_not() {
        let mut similar = Similar::default();
        assert!(similar.is_empty());
        similar.add(&Sketch::of(&text(0, 500)), 1);
        similar.add(&Sketch::of(&text(10_000, 500)), 2);
        let mut shifted = b"something new in front of it\n".to_vec();
        shifted.extend(text(100, 450));
        assert_eq!(found(&similar, &Sketch::of(&shifted)), [(1, true)]);
        assert_eq!(found(&similar, &Sketch::of(&text(20_000, 500))), []);
        let half = [text(20_000, 500), text(10_000, 250)].concat();
        assert_eq!(found(&similar, &Sketch::of(&half)), [(2, false)]);
        similar.add(&Sketch::of(&shifted), 3);
        similar.add(&Sketch::of(&shifted), 4);
        let again = found(&similar, &Sketch::of(&shifted));
        assert_eq!(again.first(), Some(&(4, true)), "the later one");
        assert!(again.contains(&(1, true)), "and the first");
        for short in [&b""[..], b"too short"] {
            similar.add(&Sketch::of(short), 5);
            assert_eq!(found(&similar, &Sketch::of(short)), []);
        }
        similar.add(&Sketch::of(b"just one window more"), 6);
        assert_eq!(found(&similar, &Sketch::of(b"just one window more")), [(6, true)]);
    }

    #[test]
    fn a_sketch_does_not_depend_on_what_is_around_a_window() {
        let whole = Sketch::of(&text(0, 40));
        let repeated = Sketch::of(&text(0, 40).repeat(2));
        let common = whole.0.iter().filter(|hash| repeated.0.contains(hash)).count();
        assert!(common >= HASHES - 2, "{common}");
        assert_eq!(Sketch::of(&[7; 1000]).0.len(), 1);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_oldest() {
        let mut similar = Similar::default();
        let sketch = |n: u32| Sketch((n * 16..n * 16 + 16).collect());
        let fill = (HALF / 16) as u32;
        for n in 0..2 * fill + 1 {
            similar.add(&sketch(n), n);
        }
        assert!(similar.newer.len() + similar.older.len() <= 2 * HALF);
        assert_eq!(found(&similar, &sketch(0)), []);
        assert_eq!(found(&similar, &sketch(2 * fill)), [(2 * fill, true)]);
        assert_eq!(found(&similar, &sketch(fill + 1)), [(fill + 1, true)]);
    }
}
