//! Online logistic mixing: a weighted sum of stretched probabilities, trained by its own coding error.
//!
//! After Mahoney's gated linear mixing (PAQ7, 2005; "Data Compression Explained", section 4.3), but with one output:
//! several contexts select a set of weights each, the weights of an input are the sum of those of all sets, and after
//! the bit every selected set moves by `rate * input * (bit - output)`. So there is one sum, one probability and one
//! step per bit, however many sets there are.

use super::layout::MIXERS;
use super::math::{LIMIT, squash};
use crate::simd::WAYS;
use crate::simd::whole::Whole;

/// Binary digits after the point of a weight.
pub(super) const WEIGHT_BITS: u32 = 22;
/// Binary digits of a weight that are left out of products, so that these fit.
const UNUSED_BITS: u32 = 10;

/// `V` vectors of weights, or of inputs, in cache lines of their own.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct Set<const V: usize>([[i32; WAYS]; V]);

impl<const V: usize> Set<V> {
    pub(super) const ZERO: Self = Set([[0; WAYS]; V]);

    /// The weights in their order.
    pub(super) fn flat(&self) -> &[i32] {
        self.0.as_flattened()
    }

    /// The same.
    pub(super) fn flat_mut(&mut self) -> &mut [i32] {
        self.0.as_flattened_mut()
    }
}

/// A mixer of `V` vectors of inputs whose weights come from up to [`MIXERS`] selected sets.
pub(super) struct Mixer<const V: usize> {
    /// The sets of all selectors, one after the other.
    sets: Vec<Set<V>>,
    /// First set of each selector.
    base: [u32; MIXERS],
    /// Sets chosen for this bit.
    chosen: [u32; MIXERS],
    /// Selectors in use, and how many sets they have.
    used: usize,
    sets_in_use: usize,
    inputs: Set<V>,
    /// The mixed prediction, stretched, and its probability.
    pub(super) mixed: i32,
    p: i32,
}

impl<const V: usize> Mixer<V> {
    /// A mixer whose selectors have this many sets each, without weights; [`import`](Self::import) gives it some.
    pub(super) fn new(sizes: &[u32]) -> Self {
        let total = sizes.iter().sum::<u32>();
        let mut base = [total; MIXERS];
        let mut next = 0;
        for (base, size) in base.iter_mut().zip(sizes) {
            *base = next;
            next += size;
        }
        Mixer {
            sets: vec![Set::ZERO; total as usize],
            base,
            chosen: base,
            used: sizes.len(),
            sets_in_use: total as usize,
            inputs: Set::ZERO,
            mixed: 0,
            p: 0,
        }
    }

    /// Takes over the weights of the first `used` selectors (2, 4, 5 or 8). Sets that are not given have no weights.
    pub(super) fn import(&mut self, used: usize, sets: &[Set<V>]) {
        self.used = used;
        self.sets_in_use = self.base.get(used).map_or(self.sets.len(), |&next| next as usize);
        let (known, others) = self.sets[..self.sets_in_use].split_at_mut(sets.len());
        known.copy_from_slice(sets);
        others.fill(Set::ZERO);
    }

    /// Makes all weights from this set on zero.
    pub(super) fn clear_from(&mut self, set: usize) {
        self.sets[set..].fill(Set::ZERO);
    }

    /// The weight sets of the selectors in use.
    pub(super) fn in_use(&self) -> &[Set<V>] {
        &self.sets[..self.sets_in_use]
    }

    /// The mixed probability. `sets[j]` is what selector `j` selects.
    #[inline(always)]
    pub(super) fn predict<S: Whole>(&mut self, s: S, inputs: [S::I; V], sets: &[u32; MIXERS]) -> i32 {
        // Loops of known length are unrolled.
        match self.used {
            2 => self.predict_used::<S, 2>(s, inputs, sets),
            4 => self.predict_used::<S, 4>(s, inputs, sets),
            5 => self.predict_used::<S, 5>(s, inputs, sets),
            _ => self.predict_used::<S, 8>(s, inputs, sets),
        }
    }

    #[inline(always)]
    fn predict_used<S: Whole, const USED: usize>(&mut self, s: S, inputs: [S::I; V], sets: &[u32; MIXERS]) -> i32 {
        let mut weights = [s.splat_int(0); V];
        for j in 0..USED {
            // The weights of all selected sets add up, so the product with the inputs is taken once.
            let chosen = self.base[j].wrapping_add(sets[j]);
            self.chosen[j] = chosen;
            for (sum, w) in weights.iter_mut().zip(&self.sets[chosen as usize].0) {
                *sum = s.add_int(*sum, s.load_int(w));
            }
        }
        let mut products = s.splat_int(0);
        for ((w, x), to) in weights.into_iter().zip(inputs).zip(&mut self.inputs.0) {
            products = s.add_int(products, s.mul_int(s.shift_right::<UNUSED_BITS>(w), x));
            s.store_int(x, to);
        }
        // Beyond the limit the logistic function is flat and nothing more would be learned.
        let mixed = s.sum(products) >> (WEIGHT_BITS - UNUSED_BITS);
        self.mixed = mixed.clamp(-LIMIT, LIMIT);
        self.p = squash(self.mixed);
        self.p
    }

    /// Learns from the bit that followed, at `rate / 65536`.
    #[inline(always)]
    pub(super) fn update<S: Whole>(&mut self, s: S, bit: bool, rate: i32) {
        // The derivative of the coding cost by the mixed value is the error itself, so no division is needed.
        let error = (i32::from(bit) << 16).wrapping_sub(self.p).wrapping_mul(rate) >> 8;
        match self.used {
            2 => self.update_used::<S, 2>(s, error),
            4 => self.update_used::<S, 4>(s, error),
            5 => self.update_used::<S, 5>(s, error),
            _ => self.update_used::<S, 8>(s, error),
        }
    }

    /// Moves the weights of all chosen sets by `inputs * error`.
    #[inline(always)]
    fn update_used<S: Whole, const USED: usize>(&mut self, s: S, error: i32) {
        let (error, half) = (s.splat_int(error), s.splat_int(1 << 9));
        // Every chosen set moves by the same step: the steps are computed once for all of them.
        let mut deltas = [half; V];
        for (delta, x) in deltas.iter_mut().zip(&self.inputs.0) {
            *delta = s.shift_right::<10>(s.add_int(s.mul_int(s.load_int(x), error), half));
        }
        for j in 0..USED {
            for (w, delta) in self.sets[self.chosen[j] as usize].0.iter_mut().zip(deltas) {
                s.store_int(s.add_int(s.load_int(w), delta), w);
            }
        }
    }
}
