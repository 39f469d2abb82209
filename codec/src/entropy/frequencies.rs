//! From logits to integer frequencies, the same on every machine.
//!
//! Only IEEE 754 binary32 additions, subtractions and multiplications in a fixed order per element, no library function
//! and no fused multiply-add, so the frequencies follow from the bits of the logits alone. docs/FORMAT.md,
//! "Frequencies", is normative.

#![allow(
    clippy::indexing_slicing,
    reason = "a hot loop over tables sized here; ranks come from the decision tree of the same vocabulary"
)]

use crate::model::{Token, Vocabulary};
use crate::simd::dispatch::Dispatch;
use crate::simd::{Simd, Task, WAYS};

/// Version of the mapping from logits to probabilities; part of a block's parameters.
pub const VERSION: u8 = 1;

/// Binary digits of the frequency of the most probable token.
const SCALE_BITS: i32 = 25;

/// Tokens whose frequencies are summed together: a group's sum stays below 2^32, and a sum up to any rank needs the
/// groups before it and at most 63 tokens more.
const GROUP: usize = 64;

/// Logits beyond this are as good as infinite. NaN counts as minus infinity.
const LIMIT: f32 = 1e30;

/// Frequencies of the expressible tokens, in byte order, with sums.
#[derive(Clone, Debug)]
pub struct Frequencies {
    /// Tokens in rank order.
    order: Vec<Token>,
    /// The first token, if tokens in rank order have consecutive numbers: then nothing needs to be gathered.
    consecutive: Option<usize>,
    gathered: Vec<f32>,
    /// By rank, zero-padded to whole groups.
    frequencies: Vec<u32>,
    /// Sum of all groups before each group, and at the end of all.
    before: Vec<u64>,
}

impl Frequencies {
    /// Room for the distributions of a vocabulary; all frequencies are zero.
    pub fn new(vocabulary: &Vocabulary) -> Frequencies {
        let order = vocabulary.sorted().to_vec();
        let first = order.first().map_or(0, |&token| token as usize);
        let consecutive = (first..).zip(&order).all(|(at, &token)| at == token as usize);
        let groups = order.len().div_ceil(GROUP);
        Frequencies {
            consecutive: consecutive.then_some(first),
            gathered: vec![0.0; order.len()],
            frequencies: vec![0; groups * GROUP],
            before: vec![0; groups + 1],
            order,
        }
    }

    /// Computes the frequencies: 2^25 for the most probable token, at least 1 for all, in proportion to the exponential
    /// of the logits. `logits` has one entry per token of the vocabulary, in the order of token ids; tokens that are
    /// not expressible are left out.
    pub fn set(&mut self, logits: &[f32]) {
        if let Some(first) = self.consecutive {
            return self.set_ranked(&logits[first..first + self.order.len()]);
        }
        let mut gathered = std::mem::take(&mut self.gathered);
        for (to, &token) in gathered.iter_mut().zip(&self.order) {
            *to = logits[token as usize];
        }
        self.set_ranked(&gathered);
        self.gathered = gathered;
    }

    /// [`set`](Self::set) from the logits of the expressible tokens in rank order. Those of other tokens are not told.
    pub fn set_ranked(&mut self, logits: &[f32]) {
        assert_eq!(logits.len(), self.order.len(), "a logit for every rank");
        Dispatch::detect().run(Fill {
            logits,
            frequencies: &mut self.frequencies,
            before: &mut self.before,
        });
    }

    /// Sum of the frequencies of all ranks below `rank`.
    #[inline]
    pub fn below(&self, rank: usize) -> u64 {
        let group = rank / GROUP;
        let rest = &self.frequencies[group * GROUP..rank];
        self.before[group] + u64::from(rest.iter().fold(0_u32, |sum, &f| sum.wrapping_add(f)))
    }

    /// Sum of all frequencies.
    pub fn total(&self) -> u64 {
        self.before.last().copied().unwrap_or_default()
    }
}

/// Frequencies and sums of groups from logits in rank order; [`Frequencies`] has what they mean.
struct Fill<'a> {
    logits: &'a [f32],
    frequencies: &'a mut [u32],
    before: &'a mut [u64],
}

impl Task for Fill<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let max = s.splat(largest(s, self.logits));
        let mut sum = 0_u64;
        let groups = self.logits.chunks(GROUP).zip(self.frequencies.as_chunks_mut().0);
        for ((logits, frequencies), before) in groups.zip(&mut *self.before) {
            *before = sum;
            let mut padded = [-LIMIT; GROUP];
            let whole = logits.first_chunk().unwrap_or_else(|| {
                padded[..logits.len()].copy_from_slice(logits);
                &padded
            });
            let mut group = fill_group(s, whole, max, frequencies);
            for beyond in &mut frequencies[logits.len()..] {
                group = group.wrapping_sub(*beyond);
                *beyond = 0;
            }
            sum = sum.wrapping_add(u64::from(group));
        }
        if let Some(last) = self.before.last_mut() {
            *last = sum;
        }
    }
}

/// The largest logit, between -[`LIMIT`] and [`LIMIT`]; NaN counts as minus infinity.
#[inline(always)]
fn largest<S: Simd>(s: S, logits: &[f32]) -> f32 {
    let (chunks, rest) = logits.as_chunks::<WAYS>();
    let mut maxima = [s.splat(-LIMIT); 4];
    let (fours, ones) = chunks.as_chunks::<4>();
    for four in fours {
        for (max, chunk) in maxima.iter_mut().zip(four) {
            *max = s.at_least(s.load(chunk), *max);
        }
    }
    for chunk in ones {
        maxima[0] = s.at_least(s.load(chunk), maxima[0]);
    }
    let [a, b, c, d] = maxima;
    let mut last = [-LIMIT; WAYS];
    s.store(s.at_least(s.at_least(a, b), s.at_least(c, d)), &mut last);
    let all = last.iter().chain(rest);
    let max = all.fold(-LIMIT, |max, &logit| if logit > max { logit } else { max });
    if max < LIMIT { max } else { LIMIT }
}

/// The frequencies of 64 logits, and their sum.
#[inline(always)]
fn fill_group<S: Simd>(s: S, logits: &[f32; GROUP], max: S::F, frequencies: &mut [u32; GROUP]) -> u32 {
    let mut sum = s.splat_int(0);
    let parts = logits.as_chunks::<WAYS>().0.iter();
    for (logits, frequencies) in parts.zip(frequencies.as_chunks_mut::<WAYS>().0) {
        let frequency = scaled_exp(s, s.load(logits), max);
        s.store_unsigned(frequency, frequencies);
        sum = s.add_int(sum, frequency);
    }
    let mut sums = [0; WAYS];
    s.store_unsigned(sum, &mut sums);
    sums.iter().fold(0, |sum: u32, &f| sum.wrapping_add(f))
}

/// e^(logit - max) * 2^25, rounded down, at least 1.
#[inline(always)]
fn scaled_exp<S: Simd>(s: S, logit: S::F, max: S::F) -> S::I {
    /// 1.5 * 2^23: added to a small number it leaves the nearest integer in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    // NaN becomes the least logit.
    let logit = s.at_most(s.at_least(logit, s.splat(-LIMIT)), max);
    let exponent = s.mul(s.sub(logit, max), s.splat(std::f32::consts::LOG2_E));
    let exponent = s.at_least(exponent, s.splat(-40.0));
    let rounded = s.add(exponent, s.splat(ROUND));
    let x = s.sub(exponent, s.sub(rounded, s.splat(ROUND)));
    // 2^x for |x| <= 1/2: Taylor to the fifth power, relative error below 3e-6.
    let mut power = s.splat(0.001_333_355_8);
    for coefficient in [0.009_618_129, 0.055_504_11, 0.240_226_5, std::f32::consts::LN_2, 1.0] {
        power = s.add(s.mul(power, x), s.splat(coefficient));
    }
    // The integer part goes straight into the exponent field.
    let value = s.of_bits(s.add_int(s.bits(power), s.shift_left::<23>(s.bits(rounded))));
    // At most 2^25, so every conversion is exact after rounding down.
    let scaled = s.mul(value, s.splat((1_i32 << SCALE_BITS) as f32));
    s.truncate(s.at_least(scaled, s.splat(1.0)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn vocabulary(extra: usize) -> Vocabulary {
        let words = (0..extra).map(|i| format!("{i:06}").into_bytes());
        let tokens: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).chain(words).collect();
        Vocabulary::new(&tokens, None).unwrap()
    }

    fn noise(seed: u64) -> impl Iterator<Item = f32> {
        let mut state = seed;
        std::iter::repeat_with(move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 24) as f32
        })
    }

    /// Cost of coding what the logits themselves say, in bits, and the entropy.
    fn costs(distribution: &Frequencies, vocabulary: &Vocabulary, logits: &[f32]) -> (f64, f64) {
        let max = logits.iter().copied().fold(f32::MIN, f32::max);
        let weights: Vec<f64> = vocabulary
            .sorted()
            .iter()
            .map(|&t| f64::from(logits[t as usize] - max).exp())
            .collect();
        let total: f64 = weights.iter().sum();
        let mut sums = (0.0, 0.0);
        for (rank, weight) in weights.iter().enumerate() {
            let p = weight / total;
            let frequency = distribution.below(rank + 1) - distribution.below(rank);
            assert!(frequency > 0, "rank {rank}");
            let q = frequency as f64 / distribution.total() as f64;
            if p > 0.0 {
                sums.0 -= p * q.log2();
                sums.1 -= p * p.log2();
            }
        }
        sums
    }

    #[test]
    fn costs_little_more_than_the_entropy_for_any_size_and_sharpness() {
        for extra in [0, 4096 - 256, 150_000] {
            let vocabulary = vocabulary(extra);
            let mut distribution = Frequencies::new(&vocabulary);
            for spread in [0.0, 1.0, 8.0, 25.0] {
                let logits: Vec<f32> = noise(7).take(vocabulary.len()).map(|x| (x - 0.3) * spread).collect();
                distribution.set(&logits);
                let (cost, entropy) = costs(&distribution, &vocabulary, &logits);
                assert!(
                    cost <= entropy * 1.005 + 0.005,
                    "{extra} {spread}: {cost} bits, entropy {entropy}"
                );
            }
        }
    }

    #[test]
    fn logits_that_are_not_numbers_give_a_distribution() {
        let vocabulary = vocabulary(40);
        let mut distribution = Frequencies::new(&vocabulary);
        for odd in [
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::MAX,
            f32::MIN,
            -0.0,
            f32::MIN_POSITIVE,
        ] {
            for logits in [vec![odd; vocabulary.len()], noise(3).take(295).chain([odd]).collect()] {
                distribution.set(&logits);
                let ranks = 0..vocabulary.sorted().len();
                assert!(
                    ranks
                        .clone()
                        .all(|rank| distribution.below(rank) < distribution.below(rank + 1)),
                    "{odd}"
                );
            }
        }
    }

    /// docs/FORMAT.md, "Frequencies", for one token, without vectors.
    fn frequency(logit: f32, max: f32) -> u32 {
        let logit = if logit > -LIMIT { logit } else { -LIMIT };
        let logit = if logit < max { logit } else { max };
        let exponent = (logit - max) * std::f32::consts::LOG2_E;
        let exponent = if exponent > -40.0 { exponent } else { -40.0 };
        let rounded = exponent + 12_582_912.0;
        let x = exponent - (rounded - 12_582_912.0);
        let mut power = 0.001_333_355_8_f32;
        for coefficient in [0.009_618_129, 0.055_504_11, 0.240_226_5, std::f32::consts::LN_2, 1.0] {
            power = power * x + coefficient;
        }
        let value = f32::from_bits(power.to_bits().wrapping_add(rounded.to_bits() << 23));
        ((value * 33_554_432.0) as u32).max(1)
    }

    #[test]
    fn all_vectors_give_the_frequencies_of_the_definition() {
        let odd = [f32::NAN, f32::NEG_INFINITY, -0.0, f32::MIN, -1e-40];
        for n in [1, 15, 16, 63, 64, 65, 256, 1000, 4096] {
            for spread in [0.0, 1.0, 30.0, 1e3, 1e35] {
                let logits = noise(1).map(|x| (x - 0.5) * spread).chain(odd);
                let logits: Vec<f32> = logits.take(n).chain(odd).collect();
                let max = logits
                    .iter()
                    .fold(-LIMIT, |max, &v| if v > max { v } else { max })
                    .min(LIMIT);
                let expected: Vec<u32> = logits.iter().map(|&v| frequency(v, max)).collect();
                let groups = logits.len().div_ceil(GROUP);
                let (mut frequencies, mut before) = (vec![7; groups * GROUP], vec![7; groups + 1]);
                let sums = || -> Vec<u64> {
                    let sums = expected
                        .chunks(GROUP)
                        .map(|g| g.iter().map(|&f| u64::from(f)).sum::<u64>());
                    let all = [0].into_iter().chain(sums);
                    all.scan(0, |sum, group| {
                        *sum += group;
                        Some(*sum)
                    })
                    .collect()
                };
                for dispatch in Dispatch::all() {
                    dispatch.run(Fill {
                        logits: &logits,
                        frequencies: &mut frequencies,
                        before: &mut before,
                    });
                    assert_eq!(frequencies[..logits.len()], expected, "{n} {spread} {dispatch:?}");
                    assert!(frequencies[logits.len()..].iter().all(|&f| f == 0));
                    assert_eq!(before, sums(), "{n} {spread} {dispatch:?}");
                }
            }
        }
    }

    #[test]
    fn known_frequencies() {
        // The normative examples of docs/FORMAT.md.
        let expected = [
            (0.0, 33_554_432),
            (-1.0, 12_343_976),
            (-5.0, 226_088),
            (-17.0, 1),
            (-1e9, 1),
        ];
        for (logit, known) in expected {
            let found = frequency(logit, 0.0);
            assert!(found.abs_diff(known) <= 40, "{logit}: {found}");
        }
    }

    #[test]
    fn sums_are_those_of_the_single_frequencies() {
        let vocabulary = vocabulary(1000);
        let mut distribution = Frequencies::new(&vocabulary);
        let logits: Vec<f32> = noise(11).take(vocabulary.len()).map(|x| x * 9.0).collect();
        distribution.set(&logits);
        let mut sum = 0;
        for rank in 0..vocabulary.sorted().len() {
            assert_eq!(distribution.below(rank), sum);
            sum += u64::from(distribution.frequencies[rank]);
        }
        assert_eq!(distribution.total(), sum);
    }
}
