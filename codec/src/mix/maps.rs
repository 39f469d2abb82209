//! What bit histories mean: a probability for each history and context, adapted while coding.

use super::context::CONTEXTS;
use super::history::HISTORIES;
use super::math::{small_side, stretch, stretch_index};

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

/// Contexts with their number rounded up to whole registers.
pub(super) const WIDTH: usize = CONTEXTS.next_multiple_of(16);

/// Cells of one bit, one for each context; the loops over them are shaped for vector registers.
pub(super) struct Row {
    cells: [u32; WIDTH],
}

impl Row {
    pub(super) fn new() -> Self {
        Row {
            cells: [Cell::new(32768).0; WIDTH],
        }
    }

    /// Takes up the cells of `states`.
    #[inline(always)]
    pub(super) fn load(&mut self, maps: &[Map; CONTEXTS], states: &[u8; CONTEXTS]) {
        for i in 0..CONTEXTS {
            self.cells[i] = maps[i][usize::from(states[i])].0;
        }
    }

    /// The mixer's inputs: stretched probabilities and `first`, then p - 1/2 in units of 1/1024 and `second`.
    #[inline(always)]
    pub(super) fn inputs(&self, x: &mut [i32; 2 * WIDTH], first: [i32; 4], second: [i32; 4]) {
        let pad = |four: [i32; 4]| [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, four[0], four[1], four[2], four[3]];
        let (first, second) = (pad(first), pad(second));
        for i in 0..WIDTH {
            // Cells beyond the contexts stay at one half: zero in both forms.
            let cell = self.cells[i];
            x[i] = (((cell & 0xFFF) << 1) as i32).wrapping_sub(4096) | first[i];
            x[WIDTH + i] = ((cell >> 16) as i32).wrapping_sub(32768) >> 6 | second[i];
        }
    }

    /// [`Cell::update`] of all cells.
    #[inline(always)]
    pub(super) fn update(&self, maps: &mut [Map; CONTEXTS], states: &[u8; CONTEXTS], bit: bool, rate: u32) {
        let target: i32 = if bit { (1 << 20) - 1 } else { 0 };
        let (mut p16, mut x) = ([0u32; WIDTH], [0i32; WIDTH]);
        let (mut index, mut cells) = ([0u32; WIDTH], [0u32; WIDTH]);
        for i in 0..WIDTH {
            let p = (self.cells[i] >> 12) as i32;
            let p20 = p.wrapping_add(target.wrapping_sub(p) >> rate) as u32;
            cells[i] = p20 << 12;
            p16[i] = p20 >> 4;
            index[i] = stretch_index(p16[i]);
        }
        for i in 0..CONTEXTS {
            x[i] = small_side(index[i]);
        }
        for i in 0..WIDTH {
            // All ones where the probability is above one half: negates the table's value.
            let upper = 32767i32.wrapping_sub(p16[i] as i32) >> 31;
            let stretched = (x[i] ^ upper).wrapping_sub(upper);
            cells[i] |= (stretched >> 1).wrapping_add(2048) as u32;
        }
        for i in 0..CONTEXTS {
            maps[i][usize::from(states[i])] = Cell(cells[i]);
        }
    }
}

/// What is expected of histories before anything was learned: their share of ones.
pub(super) fn untrained() -> Map {
    let mut map = [Cell::new(32768); 256];
    for (cell, [zeros, ones]) in map.iter_mut().zip(HISTORIES.counts) {
        let (zeros, ones) = (u32::from(zeros), u32::from(ones));
        *cell = Cell::new(((65536 * (5 * ones + 2)) / (5 * (zeros + ones) + 4)) as u16);
    }
    map
}
