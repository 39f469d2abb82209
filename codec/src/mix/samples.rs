//! Pixels of pictures and samples of sound: numbers that are predicted from those beside them.
//!
//! Several linear predictors give a mean each, and what they missed nearby gives a scale. The logistic distribution of
//! each says how likely the next bit is ([`Distribution`]), and the mixer weighs them, as it weighs contexts.

use super::block::ByteState;
use super::distribution::{Distribution, POINT};
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
    /// Class of what was missed nearby.
    activity: u32,
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
            activity: 0,
        }
    }

    /// Predicts the number whose first byte comes now. Nothing happens at its second byte.
    pub(super) fn begin_byte(&mut self) {
        if self.width > 1 {
            return;
        }
        (self.low, self.width) = (0, 1 << self.form.bits);
        self.neighbours.find();
        let channel = &self.channels[self.neighbours.channel()];
        let most = f64::from((1 << self.form.bits) - 1);
        let (base, found) = (self.neighbours.base(), self.neighbours.found());
        let [a, b] = channel
            .solutions
            .each_ref()
            .map(|solution| base + solution.predict(found));
        let [c, d] = self.neighbours.fixed();
        let four = [a, b, c, d].map(|mean| mean.clamp(0.0, most));
        let near = match self.form.row {
            0 => channel.near,
            row => self.missed_nearby(row, &channel.near),
        };
        let (mut sum, mut weights) = (0.0, 0.0);
        for (mean, missed) in four.iter().zip(near) {
            let distance = f64::from(missed + (1 << (POINT - 3)));
            let weight = 1.0 / (distance * distance);
            sum += mean * weight;
            weights += weight;
        }
        let fixed_point = |mean: f64| (mean * f64::from(1 << POINT)) as i32;
        let [a, b, c, d] = four.map(fixed_point);
        self.means = [a, b, c, d, fixed_point(sum / weights)];
        for i in 0..MEANS {
            self.distributions[i] = Distribution::new(self.means[i], near[i]);
            self.distributions[MEANS + i] = Distribution::new(self.means[i], channel.far[i]);
        }
        // Two classes for each power of two, from 1/16 of a step on.
        let missed = near[AVERAGE].max(2).unsigned_abs();
        let half = missed >> (missed.ilog2() - 1) & 1;
        self.activity = (2 * missed.ilog2() + half).saturating_sub(8).min(15);
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
        self.distributions
            .map(|distribution| distribution.upper_half(self.low, self.width))
    }

    /// Goes on behind a bit.
    #[inline(always)]
    pub(super) fn push(&mut self, bit: bool) {
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
        let value = f64::from(self.low) - self.neighbours.base();
        for solution in &mut channel.solutions {
            solution.learn(self.neighbours.found(), value);
        }
        let missed = self.means.map(|mean| (mean - (self.low << POINT)).abs());
        for i in 0..MEANS {
            channel.near[i] += (missed[i] - channel.near[i]) >> NEAR_RATE;
            channel.far[i] += (missed[i] - channel.far[i]) >> FAR_RATE;
        }
        if self.form.row != 0 {
            self.missed.push(missed.map(|missed| missed as u16));
        }
        self.neighbours.push(self.low);
    }

    /// Numbers that a value of the present byte leaves, as a binary logarithm: 0, or 8 for the upper byte of two.
    #[inline(always)]
    fn bits_below(&self) -> u32 {
        (self.width.max(2).ilog2() - 1) & 8
    }

    /// The byte that the average expects now, and on which side of what is left the average lies: 0 within, 1 above, 2
    /// below.
    #[inline(always)]
    fn expected(&self) -> (u32, u32) {
        let mean = (self.means[AVERAGE] + (1 << (POINT - 1))) >> POINT;
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

    /// The context of the final map.
    #[inline(always)]
    pub(super) fn final_context(&self, byte: ByteState) -> u32 {
        let (_, side) = self.expected();
        (self.activity << 2 | side) << 4 | u32::from(self.bits_below() != 0) << 3 | byte.bits
    }

    /// Hashes of the contexts of the next byte, followed by zeros. `last`: the bytes before it.
    #[inline(always)]
    pub(super) fn contexts(&self, last: u64) -> [u32; WAYS] {
        let (expected, side) = self.expected();
        let expected = u64::from(expected << 2 | side);
        let second = self.is_second();
        let place = (self.neighbours.channel() as u64) << 1 | u64::from(second);
        let contexts = self
            .neighbours
            .contexts(expected, u64::from(self.activity), last, second);
        let mut hashes = [0; WAYS];
        for i in 0..CONTEXTS {
            hashes[i] = context_hash(contexts[i] << 3 | place, i as u64 + salt::SAMPLES);
        }
        hashes
    }
}
