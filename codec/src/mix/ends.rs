//! Whether a token ends here: a decision of its own, because the language model's tokens are longer than bytes.

use super::context::Lane;
use super::counter::Counter;
use super::math::{hash, squash, stretch};
use super::mixer::{WEIGHT_BITS, dot, train};

const CONTEXTS: usize = 3;
const INPUTS: usize = 8;
const TABLE_BITS: u32 = 14;

/// A hashed counter: a check of 16 bits and the probability that the token ends.
#[derive(Clone, Copy)]
struct Cell {
    check: u16,
    counter: Counter,
}

pub(super) struct Ends {
    cells: Vec<Cell>,
    weights: Vec<[i32; INPUTS]>,
    inputs: [i32; INPUTS],
    found: [usize; CONTEXTS],
    set: usize,
    output: i32,
}

impl Ends {
    pub(super) fn new() -> Self {
        Ends {
            cells: Vec::new(),
            weights: Vec::new(),
            inputs: [0; INPUTS],
            found: [0; CONTEXTS],
            set: 0,
            output: 0,
        }
    }

    pub(super) fn reset(&mut self) {
        self.cells.clear();
        self.cells.resize(
            CONTEXTS << TABLE_BITS,
            Cell {
                check: 0,
                counter: Counter::new(32768, 0),
            },
        );
        let mut weights = [0; INPUTS];
        weights[0] = 1 << WEIGHT_BITS;
        self.weights.clear();
        self.weights.resize(32, weights);
    }

    pub(super) fn predict(&mut self, lane: &Lane, match_len: u32, rank: u32, lm: u32) -> u32 {
        let rank = u64::from(rank);
        let contexts = [
            rank,
            rank << 32 | lane.last & 0xFFFF_FFFF,
            hash(rank, lane.last & 0xFFFF_FFFF_FFFF),
        ];
        self.inputs[0] = stretch(lm);
        let mut known = 0;
        for (i, context) in contexts.iter().enumerate() {
            let h = hash(*context, 100 + i as u64);
            let place = i << TABLE_BITS | (h >> (64 - TABLE_BITS)) as usize;
            let check = (h >> 20) as u16;
            let cell = &mut self.cells[place];
            if cell.check != check {
                *cell = Cell {
                    check,
                    counter: Counter::new(32768, 0),
                };
            }
            self.found[i] = place;
            let seen = cell.counter.0 & 1023 != 0;
            known += usize::from(seen);
            let p = cell.counter.p();
            self.inputs[1 + i] = if seen { stretch(p) } else { 0 };
            self.inputs[4 + i] = if seen { (p as i32 - 32768) >> 6 } else { 0 };
        }
        self.inputs[7] = 256;
        self.set = known * 8
            + if match_len == 0 {
                0
            } else {
                1 + (match_len / 4).min(6) as usize
            };
        self.output = dot(&self.weights[self.set], &self.inputs);
        squash(self.output).clamp(16, 65520) as u32
    }

    pub(super) fn update(&mut self, end: bool) {
        let error = (i32::from(end) << 16) - squash(self.output);
        train(&mut self.weights[self.set], &self.inputs, error, 400);
        for &place in &self.found {
            self.cells[place].counter.update(end, 250);
        }
    }
}
