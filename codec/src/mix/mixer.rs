//! Online logistic mixing: weighted sums of stretched probabilities, trained by their own coding error.
//!
//! After Mahoney's gated linear mixing (PAQ7, 2005; "Data Compression Explained", section 4.3): a context selects a set of
//! weights; the set's output is `squash(sum of weight * input)`, and after the bit each weight moves by
//! `rate * input * (bit - output)`.

use super::math::{LIMIT, squash};

/// Binary digits after the point of a weight.
pub(super) const WEIGHT_BITS: u32 = 18;
/// Weights stay within ±4.
const WEIGHT_LIMIT: i32 = 1 << (WEIGHT_BITS + 2);

/// `sum(weights * inputs)` in the stretched domain, limited to ±[`LIMIT`].
#[inline(always)]
pub(super) fn dot<const N: usize>(weights: &[i32; N], inputs: &[i32; N]) -> i32 {
    let mut sum = 0i32;
    for i in 0..N {
        sum = sum.wrapping_add((weights[i] >> 6).wrapping_mul(inputs[i]));
    }
    (sum >> (WEIGHT_BITS - 6)).clamp(-LIMIT, LIMIT)
}

/// Moves the weights by `rate / 65536 * inputs * error`; `error` is `bit - probability` in units of 1/65536.
#[inline(always)]
pub(super) fn train<const N: usize>(weights: &mut [i32; N], inputs: &[i32; N], error: i32, rate: i32) {
    let e = error.wrapping_mul(rate) >> 8;
    for i in 0..N {
        let delta = inputs[i].wrapping_mul(e).wrapping_add(1 << 13) >> 14;
        weights[i] = weights[i].wrapping_add(delta).clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT);
    }
}

/// Up to `S` mixers over the same `N` inputs, each with its own sets of weights, and one that mixes their outputs.
pub(super) struct Mixer<const N: usize, const S: usize> {
    /// Weight sets of all first-layer mixers, one after the other.
    pub(super) weights: Vec<[i32; N]>,
    /// Weight sets of the second layer.
    pub(super) last: Vec<[i32; S]>,
    /// First set of each mixer.
    base: [u32; S],
    /// Sets chosen for this bit.
    chosen: [u32; S],
    chosen_last: u32,
    /// Mixers in use.
    used: usize,
    /// Theirs, and zeros.
    outputs: [i32; S],
    /// The mixed prediction, stretched.
    pub(super) mixed: i32,
}

impl<const N: usize, const S: usize> Mixer<N, S> {
    /// A mixer without weights; [`import`](Self::import) gives it some.
    pub(super) fn new(sets: &[u32; S], last_sets: u32) -> Self {
        let mut base = [0; S];
        let mut total = 0u32;
        for (b, n) in base.iter_mut().zip(sets) {
            *b = total;
            total += n;
        }
        Mixer {
            weights: vec![[0; N]; total as usize],
            last: vec![[0; S]; last_sets as usize],
            base,
            chosen: base,
            chosen_last: 0,
            used: S,
            outputs: [0; S],
            mixed: 0,
        }
    }

    /// Takes over the weights of `used` mixers (4, 6 or `S`): sets of each, and of the second layer (zeros for mixers that are not used).
    pub(super) fn import(&mut self, used: usize, weights: &[[i32; N]], last: &[[i32; S]]) {
        self.used = used.min(S);
        self.outputs = [0; S];
        self.weights[..weights.len()].copy_from_slice(weights);
        self.last.copy_from_slice(last);
    }

    /// The mixed probability. `sets[j]` selects the weights of mixer `j`.
    #[inline(always)]
    pub(super) fn mix(&mut self, inputs: &[i32; N], sets: &[u32; S], last_set: u32) -> i32 {
        // Loops of known length are unrolled.
        match self.used {
            4 => self.ask::<4>(inputs, sets),
            6 => self.ask::<6>(inputs, sets),
            _ => self.ask::<S>(inputs, sets),
        }
        self.chosen_last = last_set;
        self.mixed = dot(&self.last[last_set as usize], &self.outputs);
        squash(self.mixed)
    }

    #[inline(always)]
    fn ask<const USED: usize>(&mut self, inputs: &[i32; N], sets: &[u32; S]) {
        for j in 0..USED {
            self.chosen[j] = self.base[j].wrapping_add(sets[j]);
            self.outputs[j] = dot(&self.weights[self.chosen[j] as usize], inputs);
        }
    }

    /// Learns from the bit that followed.
    #[inline(always)]
    pub(super) fn update(&mut self, inputs: &[i32; N], bit: bool, rate: i32, last_rate: i32) {
        let target = i32::from(bit) << 16;
        match self.used {
            4 => self.teach::<4>(inputs, target, rate),
            6 => self.teach::<6>(inputs, target, rate),
            _ => self.teach::<S>(inputs, target, rate),
        }
        let error = target.wrapping_sub(squash(self.mixed));
        train(
            &mut self.last[self.chosen_last as usize],
            &self.outputs,
            error,
            last_rate,
        );
    }

    #[inline(always)]
    fn teach<const USED: usize>(&mut self, inputs: &[i32; N], target: i32, rate: i32) {
        for j in 0..USED {
            let error = target.wrapping_sub(squash(self.outputs[j]));
            train(&mut self.weights[self.chosen[j] as usize], inputs, error, rate);
        }
    }
}
