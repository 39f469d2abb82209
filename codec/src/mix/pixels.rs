//! Pixels of one bit: what the bits around the next one say, if a block's rows are those of a black and white image.
//!
//! After the templates of JBIG (ITU-T T.82, section 6.2), in four sizes; the mixer finds out whether they say anything.

use super::block::{Block, ByteState};
use super::context::Lane;
use super::counter::Counter;
use super::layout::salt;
use super::math::{hash, stretch};

/// Neighbourhoods.
pub(super) const TEMPLATES: usize = 4;
/// How many pixels a neighbourhood's probability looks back on.
const LIMIT: u32 = 30;
const LOG2: u32 = 16;

/// Probabilities by neighbourhood.
pub(super) struct Pixels {
    counters: Vec<Counter>,
    found: [usize; TEMPLATES],
}

impl Pixels {
    pub(super) fn new() -> Self {
        Pixels {
            counters: Vec::new(),
            found: [0; TEMPLATES],
        }
    }

    /// Forgets everything; `used`: whether the block has rows.
    pub(super) fn reset(&mut self, used: bool) {
        // Empty counters say that no block of this kind is under way.
        self.counters.clear();
        if used {
            self.counters.resize(TEMPLATES << LOG2, Counter::new(32768, 0));
        }
    }

    /// Whether the block has rows.
    #[inline(always)]
    pub(super) fn is_used(&self) -> bool {
        !self.counters.is_empty()
    }

    /// Stretched probabilities of the next bit.
    #[inline(always)]
    pub(super) fn predict(&mut self, lane: &Lane, block: &Block, byte: ByteState) -> [i32; TEMPLATES] {
        let ByteState { partial, bits } = byte;
        // Row k above, its pixel right above the next one at bit 4, those left of it higher.
        let row = |k: u32| {
            let distance = k.wrapping_mul(block.stride);
            let at = |distance: u32| lane.back(&block.bytes, distance) as u32;
            let after = if distance > 1 { at(distance.wrapping_sub(1)) } else { 0 };
            (at(distance.wrapping_add(1)) << 16 | at(distance) << 8 | after) >> 11u32.wrapping_sub(bits)
        };
        // From `left` pixels left of the one above to `right` right of it.
        let window = |row: u32, left: u32, right: u32| (row >> (4 - right)) & ((1 << (left + right + 1)) - 1);
        let (above, above2, above3) = (row(1), row(2), row(3));
        let known = (lane.last as u32 & 0xFF) << bits | partial & ((1 << bits) - 1);
        let contexts = [
            u64::from(window(above, 2, 2) << 7 | window(above2, 1, 1) << 4 | known & 15),
            u64::from(window(above, 3, 3) << 9 | window(above2, 2, 2) << 4 | known & 15),
            u64::from(window(above, 4, 4)) << 20 | u64::from(window(above2, 3, 3)) << 8 | u64::from(known & 63),
            u64::from(window(above, 3, 3)) << 40
                | u64::from(window(above2, 3, 3)) << 20
                | u64::from(window(above3, 2, 2)) << 8
                | u64::from(known & 255),
        ];
        let mut x = [0; TEMPLATES];
        for i in 0..TEMPLATES {
            self.found[i] = i << LOG2 | (hash(contexts[i], salt::PIXELS + i as u64) >> (64 - LOG2)) as usize;
            x[i] = stretch(self.counters[self.found[i]].p());
        }
        x
    }

    #[inline(always)]
    pub(super) fn update(&mut self, bit: bool) {
        for &place in &self.found {
            self.counters[place].update(bit, LIMIT);
        }
    }
}
