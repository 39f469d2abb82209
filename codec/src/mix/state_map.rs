//! What bit histories mean: a probability for each history and context, adapted while coding.

use super::history::HISTORIES;
use super::layout::CONTEXTS;
use super::math::{FINE, linear, pair, small_side, stretch};
use crate::simd::WAYS;
use crate::simd::whole::Whole;

/// A probability of 20 binary digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cell(u32);

impl Cell {
    /// A cell of probability `p / 65536`.
    pub(super) const fn new(p: u16) -> Self {
        Cell((p as u32) << 4)
    }

    /// The probability, in units of 1/65536.
    #[inline(always)]
    pub(super) fn p(self) -> u32 {
        self.0 >> 4
    }

    /// Moves by 2^-`rate` of the way to `bit`.
    #[inline(always)]
    pub(super) fn update(&mut self, bit: bool, rate: u32) {
        let p = self.0.cast_signed();
        let target: i32 = if bit { (1 << 20) - 1 } else { 0 };
        self.0 = p.wrapping_add(target.wrapping_sub(p) >> rate).cast_unsigned();
    }
}

/// Probabilities of all histories in all contexts.
///
/// The inputs that they give are kept beside them, so that no more than these stand between a history and mixing.
#[derive(Clone)]
pub(super) struct StateMaps {
    cells: Box<[[Cell; 256]; CONTEXTS]>,
    pairs: Box<[[u32; 256]; CONTEXTS]>,
}

const _: () = assert!(CONTEXTS + 4 <= WAYS, "a vector has a place for each context");

impl StateMaps {
    /// What is expected of histories before anything was learned: their share of ones.
    pub(super) fn untrained() -> Self {
        let expected = |[zeros, ones]: [u8; 2]| {
            let (zeros, ones) = (u32::from(zeros), u32::from(ones));
            ((65536 * (5 * ones + 2)) / (5 * (zeros + ones) + 4)) as u16
        };
        // The same map for every context: they differ only after some learning.
        let map = HISTORIES.counts.map(expected);
        StateMaps::new(map.into_iter().cycle())
    }

    /// Maps with these probabilities, context by context, in units of 1/65536.
    pub(super) fn new(mut p: impl Iterator<Item = u16>) -> Self {
        let half = Cell::new(32768);
        let mut maps = StateMaps {
            cells: Box::new([[half; 256]; CONTEXTS]),
            pairs: Box::new([[0; 256]; CONTEXTS]),
        };
        let cells = maps.cells.iter_mut().flatten();
        for ((cell, pair_of), p) in cells.zip(maps.pairs.iter_mut().flatten()).zip(&mut p) {
            *cell = Cell::new(p);
            *pair_of = pair(stretch(u32::from(p)), linear(i32::from(p)));
        }
        maps
    }

    /// The probabilities, as [`new`](Self::new) takes them.
    pub(super) fn probabilities(&self) -> impl Iterator<Item = u16> {
        self.cells.iter().flatten().map(|cell| cell.p() as u16)
    }

    /// Bytes of memory.
    pub(super) const BYTES: usize = 2 * CONTEXTS * 256 * 4;

    /// Takes over another's probabilities.
    pub(super) fn copy_from(&mut self, other: &Self) {
        *self.cells = *other.cells;
        *self.pairs = *other.pairs;
    }

    /// The pairs of `states`, and those of `others`.
    #[inline(always)]
    pub(super) fn pairs<S: Whole>(&self, s: S, states: impl Fn(usize) -> u8, others: [u32; WAYS - CONTEXTS]) -> S::I {
        s.generate(|i| {
            let pair = if i < CONTEXTS {
                self.pairs[i][usize::from(states(i))]
            } else {
                others[i - CONTEXTS]
            };
            pair.cast_signed()
        })
    }

    /// [`Cell::update`] of the cells of `states`.
    #[inline(always)]
    pub(super) fn update<S: Whole>(&mut self, s: S, states: impl Fn(usize) -> u8, bit: bool, rate: u32) {
        let target = s.splat_int(if bit { (1 << 20) - 1 } else { 0 });
        let p = s.generate(|i| {
            if i < CONTEXTS {
                self.cells[i][usize::from(states(i))].0.cast_signed()
            } else {
                0
            }
        });
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
        let stretched = s.and(s.sub_int(s.xor(x, upper), upper), s.splat_int(0xFFFF));
        let linear = s.shift_right::<6>(s.sub_int(p16, s.splat_int(32768)));
        let (mut cells, mut pairs) = ([0; WAYS], [0; WAYS]);
        s.store_unsigned(p20, &mut cells);
        s.store_unsigned(s.or(s.shift_left::<16>(linear), stretched), &mut pairs);
        // No vector instruction scatters bytes by index, so the results go back one by one.
        for i in 0..CONTEXTS {
            let state = usize::from(states(i));
            self.cells[i][state] = Cell(cells[i]);
            self.pairs[i][state] = pairs[i];
        }
    }
}

/// The two vectors of inputs in a vector of pairs.
#[inline(always)]
pub(super) fn inputs<S: Whole>(s: S, pairs: S::I) -> [S::I; 2] {
    [
        s.shift_right::<16>(s.shift_left::<16>(pairs)),
        s.shift_right::<16>(pairs),
    ]
}
