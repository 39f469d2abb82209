//! What bit histories mean: a probability for each history and context, adapted while coding.

use super::context::CONTEXTS;
use super::history::HISTORIES;
use super::math::{FINE, small_side, stretch};
use crate::simd::WAYS;
use crate::simd::whole::Whole;

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
pub(super) type StateMap = [Cell; 256];

const _: () = assert!(CONTEXTS <= WAYS, "a vector has a place for each context");

/// The cells of `states`; those beyond the contexts stay at one half.
#[inline(always)]
pub(super) fn cells<S: Whole>(s: S, maps: &[StateMap; CONTEXTS], states: &[u8; CONTEXTS]) -> S::I {
    const HALF: i32 = (32768_u32 << 16 | 2048).cast_signed();
    s.generate(|i| {
        if i < CONTEXTS {
            maps[i][usize::from(states[i])].0.cast_signed()
        } else {
            HALF
        }
    })
}

/// The mixer's inputs: stretched probabilities of [`cells`], then p - 1/2 in units of 1/1024; zeros beyond the
/// contexts.
#[inline(always)]
pub(super) fn inputs<S: Whole>(s: S, cells: S::I) -> [S::I; 2] {
    let stretched = s.shift_left::<1>(s.and(cells, s.splat_int(0xFFF)));
    let p = s.shift_right_unsigned::<16>(cells);
    [
        s.sub_int(stretched, s.splat_int(4096)),
        s.shift_right::<6>(s.sub_int(p, s.splat_int(32768))),
    ]
}

/// [`Cell::update`] of all cells.
#[inline(always)]
pub(super) fn update<S: Whole>(
    s: S,
    cells: S::I,
    maps: &mut [StateMap; CONTEXTS],
    states: &[u8; CONTEXTS],
    bit: bool,
    rate: u32,
) {
    let target = s.splat_int(if bit { (1 << 20) - 1 } else { 0 });
    let p = s.shift_right_unsigned::<12>(cells);
    let p20 = s.add_int(p, s.shift_right_by(s.sub_int(target, p), rate));
    let p16 = s.shift_right::<4>(p20);
    // The stretch_index: q is at most 32768, so nothing wraps.
    let q = s.min_int(p16, s.sub_int(s.splat_int(65536), p16));
    let fine = s.splat_int(FINE.cast_signed());
    let coarse = s.add_int(fine, s.shift_right::<4>(s.sub_int(q, fine)));
    let mut index = [0; WAYS];
    s.store_int(s.min_int(q, coarse), &mut index);
    let x = s.generate(|i| {
        if i < CONTEXTS {
            small_side(index[i].cast_unsigned())
        } else {
            0
        }
    });
    // All ones where the probability is above one half: negates the table's value.
    let upper = s.shift_right::<31>(s.sub_int(s.splat_int(32767), p16));
    let stretched = s.sub_int(s.xor(x, upper), upper);
    let stretched = s.add_int(s.shift_right::<1>(stretched), s.splat_int(2048));
    let mut to = [0; WAYS];
    s.store_int(s.or(s.shift_left::<12>(p20), stretched), &mut to);
    for i in 0..CONTEXTS {
        maps[i][usize::from(states[i])] = Cell(to[i].cast_unsigned());
    }
}

/// What is expected of histories before anything was learned: their share of ones.
pub(super) fn untrained() -> StateMap {
    let mut map = [Cell::new(32768); 256];
    for (cell, [zeros, ones]) in map.iter_mut().zip(HISTORIES.counts) {
        let (zeros, ones) = (u32::from(zeros), u32::from(ones));
        *cell = Cell::new(((65536 * (5 * ones + 2)) / (5 * (zeros + ones) + 4)) as u16);
    }
    map
}
