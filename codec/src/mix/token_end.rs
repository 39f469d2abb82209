//! Whether a token ends here: a decision of its own, because the language model's tokens are longer than bytes.

use super::context::Lane;
use super::counter::Counter;
use super::layout::{ONE, salt};
use super::math::{hash, level, linear, stretch};
use super::mixer::{Mixer, Set};
use super::sse_input::SseInput;
use crate::simd::WAYS;
use crate::simd::prefetch;
use crate::simd::whole::Whole;

const CONTEXTS: usize = 5;
/// Language model (2), contexts (2 each), the token at the match, constant, the model's prediction refined by the token
/// so far.
pub(super) const INPUTS: usize = WAYS;
pub(super) const MIXERS: usize = 2;
/// Weight sets of the mixers: contexts known and match length; language model and match.
pub(super) const SETS: [u32; MIXERS] = [6 * 8, 16 * 3];
/// Learning rate of the mixer, in units of 1/65536.
const RATE: i32 = 100;
/// How many decisions a counter looks back on.
const COUNT_LIMIT: u32 = 250;
/// The least probability of either outcome, in units of 1/65536.
pub(super) const LEAST: i32 = 8;

/// A hashed counter: a check of 16 bits and the probability that the token ends.
#[derive(Clone, Copy)]
struct Cell {
    check: u16,
    counter: Counter,
}

pub(super) struct TokenEnd {
    cells: Vec<Cell>,
    /// Binary logarithm of the cells of a context.
    log2: u32,
    mixer: Mixer<1>,
    inputs: [i32; INPUTS],
    found: [usize; CONTEXTS],
    /// For each byte of the block what was decided after it: 0 nothing, 1 the token goes on, 2 it ends.
    decided: Vec<u8>,
    sse: SseInput<1>,
    place: usize,
}

/// What a dictionary leaves behind.
pub(super) struct WarmEnds {
    cells: Vec<Cell>,
    log2: u32,
    sets: Vec<Set<1>>,
    decided: Vec<u8>,
}

impl WarmEnds {
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.cells) + size_of_val(&*self.sets) + self.decided.len()
    }
}

/// What the match model has to say at an end decision.
pub(super) struct Hint {
    /// Place of the byte that the match predicts next.
    pub(super) place: u32,
    /// That byte behind a leading one, or 0 without a match.
    pub(super) expected: u32,
    /// Length of the match, 0 to 7.
    pub(super) class: u32,
}

impl TokenEnd {
    pub(super) fn new() -> Self {
        TokenEnd {
            cells: Vec::new(),
            log2: 0,
            mixer: Mixer::new(&SETS),
            inputs: [0; INPUTS],
            found: [0; CONTEXTS],
            decided: Vec::new(),
            sse: SseInput::new(0),
            place: 0,
        }
    }

    /// Takes over weights.
    pub(super) fn import(&mut self, sets: &[Set<1>]) {
        self.mixer.import(MIXERS, sets);
    }

    /// The weights.
    pub(super) fn weights(&self) -> &[Set<1>] {
        self.mixer.in_use()
    }

    /// Prepares for a block of `len` bytes.
    pub(super) fn reset(&mut self, len: usize) {
        self.log2 = (usize::BITS - len.leading_zeros()).clamp(12, 18) - 2;
        self.cells.clear();
        self.cells.resize(
            CONTEXTS << self.log2,
            Cell {
                check: 0,
                counter: Counter::new(32768, 0),
            },
        );
        self.decided.clear();
        self.decided.resize(len, 0);
        self.sse = SseInput::new(len);
    }

    /// Prepares for a block of `len` bytes behind a dictionary.
    pub(super) fn reset_warm(&mut self, warm: &WarmEnds, len: usize) {
        self.log2 = warm.log2;
        self.cells.clear();
        self.cells.extend_from_slice(&warm.cells);
        self.import(&warm.sets);
        self.decided.clear();
        self.decided.extend_from_slice(&warm.decided);
        self.decided.resize(warm.decided.len() + len, 0);
        self.sse = SseInput::new(len);
    }

    /// Has a language model predict a block of `len` bytes from now on.
    pub(super) fn start_model(&mut self, len: usize) {
        self.sse = SseInput::new(len);
    }

    /// Gives its memory back until the next reset.
    pub(super) fn release(&mut self) {
        (self.cells, self.decided) = (Vec::new(), Vec::new());
    }

    /// Takes out what a dictionary left behind.
    pub(super) fn freeze(&mut self) -> WarmEnds {
        // They may have served a much larger block.
        self.cells.shrink_to_fit();
        self.decided.shrink_to_fit();
        WarmEnds {
            cells: std::mem::take(&mut self.cells),
            log2: self.log2,
            sets: self.weights().to_vec(),
            decided: std::mem::take(&mut self.decided),
        }
    }

    #[inline(always)]
    pub(super) fn predict<S: Whole>(&mut self, v: S, lane: &Lane, hint: &Hint, rank: u32, lm: u32) -> u32 {
        let rank = u64::from(rank) + 1;
        let last = lane.last;
        let expected = u64::from(hint.expected);
        // From the least to the most particular: the token alone, with four and six bytes before it, with what the
        // match expects, and with the token before.
        let contexts = [
            rank,
            rank << 32 | last & 0xFFFF_FFFF,
            hash(rank, last & 0xFFFF_FFFF_FFFF),
            rank << 32 | expected << 8 | 1,
            hash(rank, lane.token_before),
        ];
        let s = stretch(lm);
        self.inputs[0] = s;
        self.inputs[1] = linear(lm as i32);
        let hashes: [u64; CONTEXTS] = std::array::from_fn(|i| hash(contexts[i], salt::TOKEN_END + i as u64));
        let place_of = |i: usize| i << self.log2 | (hashes[i] >> (64 - self.log2)) as usize;
        let places: [usize; CONTEXTS] = std::array::from_fn(place_of);
        // All places are asked for before the first is read: five misses of the cache then take the time of one.
        for place in places {
            prefetch(&self.cells, place);
        }
        let mut known = 0;
        for (i, place) in places.into_iter().enumerate() {
            let check = (hashes[i] >> 20) as u16;
            let cell = &mut self.cells[place];
            // Another context had the cell. Its probability would mislead more than none.
            if cell.check != check {
                *cell = Cell {
                    check,
                    counter: Counter::new(32768, 0),
                };
            }
            self.found[i] = place;
            let n = cell.counter.0 & 1023;
            known += u32::from(n != 0);
            let p = cell.counter.p();
            // The fewer decisions seen, the less is said.
            let s = stretch(p);
            self.inputs[2 + 2 * i] = if n < 3 { s * n as i32 / 4 } else { s };
            self.inputs[3 + 2 * i] = if n == 0 { 0 } else { linear(p as i32) };
        }
        // If the token before ended where the match is, this one probably ends here.
        let then = match hint.place.checked_sub(1) {
            Some(place) if hint.expected != 0 => self.decided[place as usize],
            _ => 0,
        };
        let sign = [0, -1, 1][usize::from(then)];
        self.inputs[12] = sign * ONE;
        self.inputs[13] = sign * 64 * hint.class as i32;
        self.inputs[14] = ONE;
        self.inputs[15] = self.sse.predict(s, [hash(rank, salt::TOKEN_END_SSE)])[0];
        self.place = (lane.at as usize).wrapping_sub(1);
        let sets = [known * 8 + hint.class, level(s) * 3 + u32::from(then), 0, 0, 0, 0, 0, 0];
        let inputs = [v.load_int(&self.inputs)];
        let p = self.mixer.predict(v, inputs, &sets);
        // The range coder needs room for both outcomes, and a wrong certainty would cost more than it ever saves.
        p.clamp(LEAST, 65536 - LEAST) as u32
    }

    #[inline(always)]
    pub(super) fn update<S: Whole>(&mut self, v: S, end: bool) {
        self.mixer.update(v, end, RATE);
        self.sse.update(end);
        for &place in &self.found {
            self.cells[place].counter.update(end, COUNT_LIMIT);
        }
        if let Some(decided) = self.decided.get_mut(self.place) {
            *decided = 1 + u8::from(end);
        }
    }
}
