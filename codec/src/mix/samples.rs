//! Pixels of pictures and samples of sound: numbers that are predicted from those beside them.
//!
//! Several linear predictors give a mean each, and what they missed nearby gives a scale. The logistic distribution of
//! each says how likely the next bit is ([`Distribution`]), and the mixer weighs them, as it weighs contexts.

use super::block::ByteState;
use super::distribution::{Distribution, POINT, WIDE_POINT};
use super::form::Form;
use super::layout::{CONTEXTS, DISTRIBUTIONS, MEANS, salt};
use super::least_squares::LeastSquares;
use super::math::context_hash;
use super::neighbours::Neighbours;
use crate::simd::WAYS;

/// The last mean: the average of the others, weighted by what they missed nearby.
const AVERAGE: usize = MEANS - 1;
/// Binary logarithms of the numbers of the near past and of the longer one.
const NEAR_RATE: u32 = 3;
const FAR_RATE: u32 = 6;

/// What one channel has learned.
struct Channel {
    solutions: [LeastSquares; 2],
    /// Mean distances of the predictions from the numbers, in the near and in the longer past.
    near: [i32; MEANS],
    far: [i32; MEANS],
}

/// The numbers of a block.
pub(super) struct Samples {
    form: Form,
    channels: Vec<Channel>,
    neighbours: Neighbours,
    /// Distances of past predictions from their pixels.
    missed: Vec<[u16; MEANS]>,
    /// Of the present number: the predictions and their distributions.
    means: [i32; MEANS],
    distributions: [Distribution; DISTRIBUTIONS],
    /// The numbers that the bits so far leave.
    low: i32,
    width: i32,
    /// Bits of the sample behind its number that are still to come.
    rest: u32,
    /// Class of what was missed nearby.
    activity: u32,
    /// Twice the binary logarithm of what was missed nearby, rounded down.
    missed_log: u32,
}

impl Samples {
    /// Prepares for a block of this form.
    pub(super) fn new(form: Form) -> Self {
        let neighbours = Neighbours::new(form);
        let distance = form.first_distance();
        let channel = |_| Channel {
            solutions: neighbours.solutions(),
            near: [distance; MEANS],
            far: [distance; MEANS],
        };
        Samples {
            form,
            channels: (0..form.channels).map(channel).collect(),
            neighbours,
            missed: Vec::new(),
            means: [0; MEANS],
            distributions: [Distribution::default(); DISTRIBUTIONS],
            low: 0,
            width: 0,
            rest: 0,
            activity: 0,
            missed_log: 0,
        }
    }

    /// Predicts the number whose first byte comes now. Nothing happens at its second byte.
    pub(super) fn begin_byte(&mut self) {
        if self.width > 1 || self.rest > 0 {
            return;
        }
        (self.low, self.width) = (0, 1 << self.form.bits);
        self.neighbours.find();
        let channel = &self.channels[self.neighbours.channel()];
        let most = f64::from((1 << self.form.bits) - 1);
        let (base, unscale, found) = (self.neighbours.base(), self.form.unscale(), self.neighbours.found());
        let [a, b] = channel
            .solutions
            .each_ref()
            .map(|solution| base + solution.predict(found) * unscale);
        let [c, d] = self.neighbours.fixed();
        let four = [a, b, c, d].map(|mean| mean.clamp(0.0, most));
        let near = match self.form.row {
            0 => channel.near,
            row => self.missed_nearby(row, &channel.near),
        };
        let point = self.form.point();
        let (mut sum, mut weights) = (0.0, 0.0);
        for (mean, missed) in four.iter().zip(near) {
            let distance = f64::from(missed + (1 << (point - 3)));
            let weight = 1.0 / (distance * distance);
            sum += mean * weight;
            weights += weight;
        }
        let fixed_point = |mean: f64| (mean * f64::from(1 << point)) as i32;
        let [a, b, c, d] = four.map(fixed_point);
        self.means = [a, b, c, d, fixed_point(sum / weights)];
        let distribution = if self.form.is_wide() {
            Distribution::wide
        } else {
            Distribution::new
        };
        for i in 0..MEANS {
            self.distributions[i] = distribution(self.means[i], near[i]);
            self.distributions[MEANS + i] = distribution(self.means[i], channel.far[i]);
        }
        // Two classes for each power of two, from 1/16 of a step on.
        let missed = near[AVERAGE].max(2).unsigned_abs();
        let half = missed >> (missed.ilog2() - 1) & 1;
        self.missed_log = 2 * missed.ilog2() + half;
        self.activity = if self.form.is_wide() {
            missed.ilog2().saturating_sub(8).min(15)
        } else {
            self.missed_log.saturating_sub(8).min(15)
        };
    }

    /// What the predictions missed around the next pixel. What they missed before counts as one more neighbour.
    fn missed_nearby(&self, row: usize, before: &[i32; MEANS]) -> [i32; MEANS] {
        let channels = self.form.channels;
        let at = self.missed.len();
        let around = [
            (channels, 2),
            (row, 2),
            (row + channels, 1),
            (row.saturating_sub(channels), 1),
            (2 * channels, 1),
            (2 * row, 1),
        ];
        let mut sums = before.map(|before| 2 * before);
        let mut weights = 2;
        for (distance, weight) in around {
            let place = at.checked_sub(distance);
            if let Some(missed) = place.and_then(|place| self.missed.get(place)) {
                weights += weight;
                for (sum, missed) in sums.iter_mut().zip(missed) {
                    *sum += weight * i32::from(*missed);
                }
            }
        }
        sums.map(|sum| sum / weights)
    }

    /// Stretched probabilities of the next bit.
    #[inline(always)]
    pub(super) fn predict(&self) -> [i32; DISTRIBUTIONS] {
        if self.form.is_wide() {
            return self
                .distributions
                .map(|distribution| distribution.wide_upper_half(self.low, self.width));
        }
        self.distributions
            .map(|distribution| distribution.upper_half(self.low, self.width))
    }

    /// Goes on behind a bit.
    #[inline(always)]
    pub(super) fn push(&mut self, bit: bool) {
        if self.rest > 0 {
            self.rest -= 1;
            return;
        }
        self.width >>= 1;
        if bit {
            self.low += self.width;
        }
        if self.width == 1 {
            self.end();
        }
    }

    /// Learns the number that is known now.
    fn end(&mut self) {
        let channel = &mut self.channels[self.neighbours.channel()];
        let value = (f64::from(self.low) - self.neighbours.base()) * self.form.scale();
        let point = self.form.point();
        for solution in &mut channel.solutions {
            solution.learn(self.neighbours.found(), value);
        }
        let missed = self.means.map(|mean| (mean - (self.low << point)).abs());
        for i in 0..MEANS {
            channel.near[i] += (missed[i] - channel.near[i]) >> NEAR_RATE;
            channel.far[i] += (missed[i] - channel.far[i]) >> FAR_RATE;
        }
        if self.form.row != 0 {
            self.missed.push(missed.map(|missed| missed as u16));
        }
        self.neighbours.push(self.low);
        self.rest = 8 * self.form.rest;
        if self.rest > 0 {
            // They say nothing of what is left.
            self.distributions = [Distribution::default(); DISTRIBUTIONS];
        }
    }

    /// Numbers that a value of the present byte leaves, as a binary logarithm: 0 at the last byte, 8 at the one before.
    #[inline(always)]
    fn bits_below(&self) -> u32 {
        (self.width.max(2).ilog2() - 1) & 24
    }

    /// The byte that the average expects now, and on which side of what is left the average lies: 0 within, 1 above, 2
    /// below.
    #[inline(always)]
    fn expected(&self) -> (u32, u32) {
        self.expected_of((self.means[AVERAGE] + (1 << (POINT - 1))) >> POINT)
    }

    /// The same of wide numbers. Of what is behind them nothing is expected.
    #[inline(always)]
    fn wide_expected(&self) -> (u32, u32) {
        if self.rest > 0 {
            return (0, 0);
        }
        self.expected_of((self.means[AVERAGE] + (1 << (WIDE_POINT - 1))) >> WIDE_POINT)
    }

    #[inline(always)]
    fn expected_of(&self, mean: i32) -> (u32, u32) {
        if mean < self.low {
            (0, 2)
        } else if mean >= self.low + self.width {
            (255, 1)
        } else {
            ((mean >> self.bits_below()).cast_unsigned() & 255, 0)
        }
    }

    /// Whether the present byte is the lower one of two.
    #[inline(always)]
    fn is_second(&self) -> bool {
        self.form.bits == 16 && self.bits_below() == 0
    }

    /// The weight sets of the next bit, one of each of the selectors in use without a language model.
    #[inline(always)]
    pub(super) fn sets(&self, byte: ByteState) -> [u32; 4] {
        if self.form.is_wide() {
            return self.wide_sets(byte);
        }
        let (_, side) = self.expected();
        let channel = self.neighbours.channel() as u32;
        let second = u32::from(self.is_second());
        [
            (self.activity >> 1) << 3 | byte.bits,
            (side << 2 | channel) << 4 | second << 3 | byte.bits,
            (self.activity >> 2) << 3 | byte.bits,
            self.activity << 5 | second << 4 | u32::from(side != 0) << 3 | byte.bits,
        ]
    }

    /// Which bit of a sample comes next, the highest one having the number 23, and those behind the number 24 to 31.
    #[inline(always)]
    fn place(&self, byte: ByteState) -> u32 {
        if self.rest > 0 {
            24 + byte.bits
        } else {
            self.width.max(2).ilog2() - 1
        }
    }

    /// How large what is left is beside what was missed nearby: two classes for each power of two.
    #[inline(always)]
    fn spread(&self) -> u32 {
        let missed = self.missed_log.saturating_sub(2 * self.form.point());
        (2 * self.width.max(1).ilog2() + 8).saturating_sub(missed).min(31)
    }

    #[inline(always)]
    fn wide_sets(&self, byte: ByteState) -> [u32; 4] {
        let (_, side) = self.wide_expected();
        let channel = self.neighbours.channel() as u32;
        let place = self.place(byte);
        [
            self.spread() << 1 | u32::from(side != 0),
            place << 3 | side << 1 | channel,
            place,
            self.activity << 5 | place,
        ]
    }

    /// The context of the final map.
    #[inline(always)]
    pub(super) fn final_context(&self, byte: ByteState) -> u32 {
        if self.form.is_wide() {
            return self.place(byte) << 5 | self.spread();
        }
        let (_, side) = self.expected();
        (self.activity << 2 | side) << 4 | u32::from(self.bits_below() != 0) << 3 | byte.bits
    }

    /// Hashes of the contexts of the next byte, followed by zeros. `last`: the bytes before it.
    #[inline(always)]
    pub(super) fn contexts(&self, last: u64) -> [u32; WAYS] {
        let (expected, side) = if self.form.is_wide() {
            self.wide_expected()
        } else {
            self.expected()
        };
        let expected = u64::from(expected << 2 | side);
        let second = self.is_second();
        let channel = self.neighbours.channel() as u64;
        let activity = u64::from(self.activity);
        let (contexts, place) = if self.form.is_wide() {
            let below = self.bits_below();
            let known = u64::from((self.low >> below >> 8).cast_unsigned());
            let byte = if self.rest > 0 { 3 } else { u64::from(below >> 3) };
            let contexts = self.neighbours.wide_contexts(expected, activity, last, known, below);
            (contexts, channel << 2 | byte)
        } else {
            let contexts = self.neighbours.contexts(expected, activity, last, second);
            (contexts, channel << 1 | u64::from(second))
        };
        let mut hashes = [0; WAYS];
        for i in 0..CONTEXTS {
            hashes[i] = context_hash(contexts[i] << 3 | place, i as u64 + salt::SAMPLES);
        }
        hashes
    }
}
