//! Online logistic mixing: weighted sums of stretched probabilities, trained by their own coding error.
//!
//! After Mahoney's gated linear mixing (PAQ7, 2005; "Data Compression Explained", section 4.3): a context selects a set
//! of weights; the set's output is `squash(sum of weight * input)`, and after the bit each weight moves by `rate *
//! input * (bit - output)`.

use super::layout::{FINAL_MIXERS, MIXERS};
use super::math::{LIMIT, squash};
use crate::simd::WAYS;
use crate::simd::whole::Whole;

/// Binary digits after the point of a weight.
pub(super) const WEIGHT_BITS: u32 = 18;
/// Weights stay within ±4.
const WEIGHT_LIMIT: i32 = 1 << (WEIGHT_BITS + 2);

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

    #[inline(always)]
    fn load<S: Whole>(&self, s: S) -> [S::I; V] {
        self.0.each_ref().map(|x| s.load_int(x))
    }

    /// Products of weights and inputs, to be summed: in units of 1/4096 of the inputs'.
    #[inline(always)]
    fn products<S: Whole>(&self, s: S, inputs: &[S::I; V]) -> S::I {
        let mut sum = s.splat_int(0);
        for (w, x) in self.0.iter().zip(inputs) {
            let w = s.shift_right::<6>(s.load_int(w));
            sum = s.add_int(sum, s.mul_int(w, *x));
        }
        sum
    }

    /// Moves the weights by `inputs * error / 2^14`.
    #[inline(always)]
    fn train<S: Whole>(&mut self, s: S, inputs: &[S::I; V], error: i32) {
        let e = s.splat_int(error);
        let (half, limit) = (s.splat_int(1 << 13), s.splat_int(WEIGHT_LIMIT));
        for (w, x) in self.0.iter_mut().zip(inputs) {
            let delta = s.shift_right::<14>(s.add_int(s.mul_int(*x, e), half));
            let moved = s.add_int(s.load_int(w), delta);
            let moved = s.max_int(s.min_int(moved, limit), s.splat_int(-WEIGHT_LIMIT));
            s.store_int(moved, w);
        }
    }
}

/// Up to [`MIXERS`] mixers over the same inputs, each with its own sets of weights, and up to [`FINAL_MIXERS`] that mix
/// their outputs.
pub(super) struct Mixer<const V: usize> {
    /// Weight sets of all first-layer mixers, one after the other.
    first_layer: Vec<Set<V>>,
    /// Weight sets of the second layer, likewise.
    final_layer: Vec<Set<1>>,
    /// First set of each mixer.
    base: [u32; MIXERS],
    /// Sets chosen for this bit.
    chosen: [u32; MIXERS],
    chosen_final: [u32; FINAL_MIXERS],
    /// Mixers in use, and final ones.
    used: usize,
    final_used: usize,
    /// Weight sets of those in use.
    sets_in_use: (usize, usize),
    /// First set of each final mixer.
    final_base: [u32; FINAL_MIXERS],
    /// Their inputs and outputs: stretched, zeros behind those in use; probabilities.
    inputs: Set<V>,
    outputs: Set<1>,
    p: Set<1>,
    /// The mixed prediction, stretched, and the probabilities by the final mixers.
    pub(super) mixed: i32,
    p_final: [i32; FINAL_MIXERS],
}

/// Where the sets of each of up to `N` mixers begin, and how many there are in all.
fn bases<const N: usize>(sets: &[u32]) -> ([u32; N], u32) {
    let mut base = [0; N];
    let mut total = 0u32;
    for (b, n) in base.iter_mut().zip(sets) {
        *b = total;
        total += n;
    }
    (base, total)
}

impl<const V: usize> Mixer<V> {
    /// Mixers with this many sets each, without weights; [`import`](Self::import) gives them some.
    pub(super) fn new(sets: &[u32], final_sets: &[u32]) -> Self {
        let (base, total) = bases(sets);
        let (final_base, final_total) = bases(final_sets);
        Mixer {
            first_layer: vec![Set::ZERO; total as usize],
            final_layer: vec![Set::ZERO; final_total as usize],
            base,
            chosen: base,
            chosen_final: [0; FINAL_MIXERS],
            used: sets.len(),
            final_used: final_sets.len(),
            sets_in_use: (total as usize, final_total as usize),
            final_base,
            inputs: Set::ZERO,
            outputs: Set::ZERO,
            p: Set::ZERO,
            mixed: 0,
            p_final: [0; FINAL_MIXERS],
        }
    }

    /// Takes over the weights of the first `used` mixers (2, 4 or 8) and `final_used` final ones (1 or 2).
    pub(super) fn import(&mut self, (used, final_used): (usize, usize), first: &[Set<V>], last: &[Set<1>]) {
        (self.used, self.final_used) = (used, final_used);
        self.sets_in_use = (first.len(), last.len());
        self.first_layer[..first.len()].copy_from_slice(first);
        self.final_layer[..last.len()].copy_from_slice(last);
    }

    /// The weight sets of the first-layer mixers in use.
    pub(super) fn first_layer_in_use(&self) -> &[Set<V>] {
        &self.first_layer[..self.sets_in_use.0]
    }

    /// The weight sets of the final mixers in use.
    pub(super) fn final_layer_in_use(&self) -> &[Set<1>] {
        &self.final_layer[..self.sets_in_use.1]
    }

    /// The mixed probability. `sets[j]` selects the weights of mixer `j`, `final_sets` those of the final ones.
    #[inline(always)]
    pub(super) fn predict<S: Whole>(
        &mut self,
        s: S,
        inputs: [S::I; V],
        sets: &[u32; MIXERS],
        final_sets: [u32; FINAL_MIXERS],
    ) -> i32 {
        // Loops of known length are unrolled.
        match self.used {
            2 => self.predict_used::<S, 2>(s, inputs, sets, final_sets),
            4 => self.predict_used::<S, 4>(s, inputs, sets, final_sets),
            _ => self.predict_used::<S, 8>(s, inputs, sets, final_sets),
        }
    }

    #[inline(always)]
    fn predict_used<S: Whole, const USED: usize>(
        &mut self,
        s: S,
        inputs: [S::I; V],
        sets: &[u32; MIXERS],
        final_sets: [u32; FINAL_MIXERS],
    ) -> i32 {
        for (to, x) in self.inputs.0.iter_mut().zip(inputs) {
            s.store_int(x, to);
        }
        let mut products = [s.splat_int(0); MIXERS];
        for j in 0..USED {
            let chosen = self.base[j].wrapping_add(sets[j]);
            self.chosen[j] = chosen;
            products[j] = self.first_layer[chosen as usize].products(s, &inputs);
        }
        let [a, b, c, d, ..] = products;
        let sums = if USED <= 4 {
            s.sums([a, b, c, d])
        } else {
            s.sums_of_8(products)
        };
        let outputs = s.shift_right::<{ WEIGHT_BITS - 6 }>(sums);
        let outputs = s.max_int(s.min_int(outputs, s.splat_int(LIMIT)), s.splat_int(-LIMIT));
        let [to] = &mut self.outputs.0;
        s.store_int(outputs, to);
        let mut sum = 0;
        for which in 0..self.final_used {
            self.chosen_final[which] = self.final_base[which].wrapping_add(final_sets[which]);
            sum += self.finish(s, outputs, which);
        }
        // The mean of one or two.
        self.mixed = sum >> (self.final_used - 1);
        // Not needed now, but while the coder is at work.
        for j in 0..USED {
            self.p.0[0][j] = squash(self.outputs.0[0][j]);
        }
        squash(self.mixed)
    }

    /// What a final mixer makes of the outputs.
    #[inline(always)]
    fn finish<S: Whole>(&mut self, s: S, outputs: S::I, which: usize) -> i32 {
        let sum = s.sum_of_8(self.final_layer[self.chosen_final[which] as usize].products(s, &[outputs]));
        let mixed = (sum >> (WEIGHT_BITS - 6)).clamp(-LIMIT, LIMIT);
        self.p_final[which] = squash(mixed);
        mixed
    }

    /// Learns from the bit that followed, the layers at `rate / 65536` and `final_rate / 65536`.
    #[inline(always)]
    pub(super) fn update<S: Whole>(&mut self, s: S, bit: bool, rate: i32, final_rate: i32) {
        let target = i32::from(bit) << 16;
        match self.used {
            2 => self.update_used::<S, 2>(s, target, rate),
            4 => self.update_used::<S, 4>(s, target, rate),
            _ => self.update_used::<S, 8>(s, target, rate),
        }
        let outputs = self.outputs.load(s);
        for which in 0..self.final_used {
            let error = target.wrapping_sub(self.p_final[which]).wrapping_mul(final_rate) >> 8;
            self.final_layer[self.chosen_final[which] as usize].train(s, &outputs, error);
        }
    }

    #[inline(always)]
    fn update_used<S: Whole, const USED: usize>(&mut self, s: S, target: i32, rate: i32) {
        let inputs = self.inputs.load(s);
        for j in 0..USED {
            let error = target.wrapping_sub(self.p.0[0][j]).wrapping_mul(rate) >> 8;
            self.first_layer[self.chosen[j] as usize].train(s, &inputs, error);
        }
    }
}
