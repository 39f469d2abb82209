//! Secondary symbol estimation as an input: what the language model's prediction turned out to mean in `N` contexts of
//! the block.
//!
//! The model is the same for every block. Where it is too sure or too hesitant here, these maps learn it. PPMd and PAQ
//! apply the same estimation to the result instead of an input.

use super::apm::Apm;
use super::layout::SSE_RATE;
use super::math::stretch;

/// Maps of hashed contexts.
pub(super) struct SseInput<const N: usize> {
    maps: [Apm<9>; N],
    /// Binary logarithm of the contexts of a map.
    log2: u32,
}

impl<const N: usize> SseInput<N> {
    /// Maps that know nothing yet, for a block of `len` bytes.
    pub(super) fn new(len: usize) -> Self {
        // About one context for each eight bytes: more would not see a decision twice.
        let log2 = (usize::BITS - len.leading_zeros()).clamp(11, 19) - 3;
        SseInput {
            maps: std::array::from_fn(|_| Apm::new(1 << log2)),
            log2,
        }
    }

    /// The stretched probabilities that `stretched` turned out to mean in contexts with these hashes.
    #[inline(always)]
    pub(super) fn predict(&mut self, stretched: i32, hashes: [u64; N]) -> [i32; N] {
        let contexts = hashes.map(|hash| (hash >> (64 - self.log2)) as u32);
        for (map, context) in self.maps.iter().zip(contexts) {
            map.prefetch(context);
        }
        std::array::from_fn(|i| {
            let p = self.maps[i].refine(stretched, contexts[i]);
            stretch(p.clamp(1, 65535) as u32)
        })
    }

    /// Learns the bit that followed.
    #[inline(always)]
    pub(super) fn update(&mut self, bit: bool) {
        for map in &mut self.maps {
            map.update(bit, SSE_RATE);
        }
    }
}
