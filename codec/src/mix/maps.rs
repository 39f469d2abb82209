//! What bit histories mean: a probability for each history and context, adapted while coding.

use super::history::HISTORIES;
use super::math::stretch;

/// A probability of 20 binary digits over its stretched value in halves of a unit, offset by 2048.
///
/// The stretched value is kept beside the probability so that finding it does not stand between reading a history
/// and mixing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cell(u32);

impl Cell {
    /// A cell of probability `p / 65536`.
    pub(super) fn new(p: u16) -> Self {
        Self::pack(u32::from(p) << 4)
    }

    #[inline(always)]
    fn pack(p20: u32) -> Self {
        Cell(p20 << 12 | ((stretch(p20 >> 4) >> 1) + 2048) as u32)
    }

    /// The probability, in units of 1/65536.
    #[inline(always)]
    pub(super) fn p(self) -> i32 {
        (self.0 >> 16) as i32
    }

    /// The stretched probability.
    #[inline(always)]
    pub(super) fn stretched(self) -> i32 {
        (((self.0 & 0xFFF) as i32) << 1) - 4096
    }

    /// Moves by 2^-`rate` of the way to `bit`.
    #[inline(always)]
    pub(super) fn update(&mut self, bit: bool, rate: u32) {
        let p = (self.0 >> 12) as i32;
        let target = if bit { (1 << 20) - 1 } else { 0 };
        *self = Self::pack((p + ((target - p) >> rate)) as u32);
    }
}

/// Probabilities of all histories in one context.
pub(super) type Map = [Cell; 256];

/// What is expected of histories before anything was learned: their share of ones.
pub(super) fn untrained() -> Map {
    let mut map = [Cell::new(32768); 256];
    for (cell, [zeros, ones]) in map.iter_mut().zip(HISTORIES.counts) {
        let (zeros, ones) = (u32::from(zeros), u32::from(ones));
        *cell = Cell::new(((65536 * (5 * ones + 2)) / (5 * (zeros + ones) + 4)) as u16);
    }
    map
}
