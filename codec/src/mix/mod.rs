//! The bit predictor: small adaptive models of the block, mixed with a language model's opinion.
//!
//! One predictor serves all lanes of a block. Every bit of every byte is predicted from the histories of a dozen contexts
//! (byte orders, words, fields, columns), from a match model and from the language model if there is one; an online-trained
//! mixer weighs them and adaptive maps correct the result. All arithmetic is on integers of fixed width, so encoder and decoder
//! compute the same bits everywhere. docs/FORMAT.md, "Mixing and coding", is normative.
//!
//! A lane's byte is coded in one go: eight calls of [`Predictor::predict`], each followed by [`Predictor::update`] (or
//! [`Predictor::skip`] alone, for a bit that is certain because the vocabulary leaves no choice).

#![allow(
    clippy::indexing_slicing,
    reason = "hot loops over tables sized here; every index is masked or bounded by construction, and lanes are checked in reset"
)]

mod apm;
mod context;
mod counter;
mod history;
mod matching;
mod math;
mod mixer;
mod slots;

use apm::Apm;
use context::{CONTEXTS, Lane};
use counter::Counter;
use history::HISTORIES;
use matching::{Match, Matcher};
use math::{hash, squash, stretch};
use mixer::{Mixer, WEIGHT_BITS};
use slots::Slots;

use crate::coder::{Coder, Decoder, Encoder, StreamEnd};

/// Version of everything that decides a predicted bit. It is part of a block's parameters.
pub const VERSION: u8 = 1;

const INPUTS: usize = 32;
const MIXERS: usize = 4;

/// Predicts the bits of a block's bytes; see the module.
pub struct Predictor {
    block: Vec<u8>,
    lanes: Vec<Lane>,
    matches: Vec<Match>,
    slots: Slots,
    maps: Vec<[Counter; 256]>,
    order1: Vec<Counter>,
    matcher: Matcher,
    mixer: Mixer<INPUTS, MIXERS>,
    apm: [Apm; 2],
    // The byte under way.
    hashes: [u64; CONTEXTS],
    found: [u32; CONTEXTS],
    inputs: [i32; INPUTS],
    partial: u32,
    bits: u32,
    states: [u8; CONTEXTS],
    stretched: i32,
    ends: end::Ends,
}

mod end;

impl Default for Predictor {
    fn default() -> Self {
        Self::new()
    }
}

impl Predictor {
    /// A predictor of an empty block; call [`reset`](Self::reset) before use.
    pub fn new() -> Self {
        Predictor {
            block: Vec::new(),
            lanes: Vec::new(),
            matches: Vec::new(),
            slots: Slots::new(),
            maps: Vec::new(),
            order1: Vec::new(),
            matcher: Matcher::new(),
            mixer: Mixer::new(&[1; MIXERS], 1, &[0; INPUTS]),
            apm: [Apm::new(1), Apm::new(1)],
            hashes: [0; CONTEXTS],
            found: [0; CONTEXTS],
            inputs: [0; INPUTS],
            partial: 1,
            bits: 0,
            states: [0; CONTEXTS],
            stretched: 0,
            ends: end::Ends::new(),
        }
    }

    /// Forgets everything and prepares for a block that is cut into `lanes`, given as their lengths in bytes.
    pub fn reset(&mut self, lanes: &[usize], language_model: bool) {
        let total: usize = lanes.iter().sum();
        self.block.clear();
        self.block.resize(total, 0);
        self.lanes.clear();
        let mut start = 0u32;
        for &len in lanes {
            let end = start + len as u32;
            self.lanes.push(Lane::new(start, end));
            start = end;
        }
        self.matches.clear();
        self.matches.resize(lanes.len(), Match::default());
        let log2 = usize::BITS - total.max(1024).leading_zeros();
        self.slots.reset(log2);
        self.matcher.reset(log2);
        self.maps = vec![initial_map(); CONTEXTS];
        self.order1 = vec![Counter::new(32768, 0); 65536];
        let mut weights = [0; INPUTS];
        let lm_weight = if language_model {
            (1 << WEIGHT_BITS) / 2
        } else {
            0
        };
        weights[0] = lm_weight;
        for w in &mut weights[2..2 + CONTEXTS] {
            *w = (1 << WEIGHT_BITS) / if language_model { 8 } else { 5 };
        }
        self.mixer = Mixer::new(&[8 * 16, 256, 16 * 8, 256], 16, &weights);
        self.apm = [Apm::new(256), Apm::new(65536)];
        self.partial = 1;
        self.bits = 0;
        self.ends.reset();
    }

    /// The block as coded so far; bytes that are not known yet are zero.
    pub fn bytes(&self) -> &[u8] {
        &self.block
    }

    /// Takes the block out, after the last byte.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.block)
    }

    /// The probability that the next bit of `lane` is one, in units of 1/65536. `lm`: the language model's, likewise.
    #[inline(always)]
    pub fn predict(&mut self, lane: usize, lm: Option<u32>) -> u32 {
        if self.bits == 0 {
            self.begin(lane);
        } else if self.bits == 4 {
            self.locate(u64::from(self.partial));
        }
        let nibble = if self.bits < 4 {
            self.partial
        } else {
            self.partial & ((1 << (self.bits - 4)) - 1) | 1 << (self.bits - 4)
        };
        let x = &mut self.inputs;
        let mut confidence = 0;
        if let Some(p) = lm {
            let s = stretch(p);
            x[0] = s;
            x[1] = (p as i32 - 32768) >> 6;
            confidence = (s.unsigned_abs() >> 8).min(7);
        } else {
            x[0] = 0;
            x[1] = 0;
        }
        let mut hits = 0;
        for i in 0..CONTEXTS {
            let state = self.slots.slot(self.found[i])[nibble as usize];
            self.states[i] = state;
            let p = self.maps[i][state as usize].p();
            if state == 0 {
                x[2 + i] = 0;
                x[2 + CONTEXTS + i] = 0;
            } else {
                x[2 + i] = stretch(p);
                x[2 + CONTEXTS + i] = (p as i32 - 32768) >> 6;
                hits += u32::from((2..7).contains(&i));
            }
        }
        let m = self.matches[lane];
        let s = self.matcher.predict(m, self.partial, self.bits);
        x[2 + 2 * CONTEXTS] = s;
        x[3 + 2 * CONTEXTS] = (squash(s) - 32768) >> 6;
        let len = self.matcher.len(m);
        let len_class = if len == 0 { 0 } else { 1 + (len / 4).min(6) };
        let c1 = self.lanes[lane].last as u8;
        let o1 = self.order1[usize::from(c1) << 8 | self.partial as usize];
        x[4 + 2 * CONTEXTS] = stretch(o1.p());
        x[5 + 2 * CONTEXTS] = 256;
        let sets = [
            confidence * 16 + len_class,
            self.partial,
            hits * 8 + self.bits,
            u32::from(c1),
        ];
        let p = self.mixer.mix(x, &sets, len_class);
        self.stretched = self.mixer.mixed;
        let a = self.apm[0].refine(self.stretched, self.partial);
        let b = self.apm[1].refine(self.stretched, u32::from(c1) << 8 | self.partial);
        (((2 * p + a + b) >> 2) as u32).clamp(1, 65535)
    }

    /// Learns the bit that [`predict`](Self::predict) was asked for.
    #[inline(always)]
    pub fn update(&mut self, lane: usize, bit: bool) {
        self.mixer.update(&self.inputs, bit, 400, 200);
        let nibble = if self.bits < 4 {
            self.partial
        } else {
            self.partial & ((1 << (self.bits - 4)) - 1) | 1 << (self.bits - 4)
        };
        for i in 0..CONTEXTS {
            let state = self.states[i];
            self.maps[i][state as usize].update(bit, 255);
            self.slots.slot_mut(self.found[i])[nibble as usize] =
                HISTORIES.next[state as usize][usize::from(bit)];
        }
        let c1 = self.lanes[lane].last as u8;
        self.order1[usize::from(c1) << 8 | self.partial as usize].update(bit, 60);
        self.matcher.update(self.bits, bit);
        self.apm[0].update(bit, 7);
        self.apm[1].update(bit, 7);
        self.append(lane, bit);
    }

    /// Appends a bit that was certain, without learning from it.
    #[inline(always)]
    pub fn skip(&mut self, lane: usize, bit: bool) {
        if self.bits == 0 {
            self.begin(lane);
        } else if self.bits == 4 {
            self.locate(u64::from(self.partial));
        }
        self.append(lane, bit);
    }

    #[inline(always)]
    fn append(&mut self, lane: usize, bit: bool) {
        self.partial = self.partial << 1 | u32::from(bit);
        self.bits += 1;
        if self.bits == 8 {
            let byte = self.partial as u8;
            let me = &mut self.lanes[lane];
            self.block[me.at as usize] = byte;
            me.push(byte);
            self.matcher
                .advance(&mut self.matches[lane], &self.lanes, lane, &self.block);
            self.partial = 1;
            self.bits = 0;
        }
    }

    /// Contexts of the next byte of `lane`.
    #[inline(always)]
    fn begin(&mut self, lane: usize) {
        self.lanes[lane].contexts(&self.block, &mut self.hashes);
        self.matcher.begin(self.matches[lane], &self.block);
        self.locate(0);
    }

    /// Slots of the half byte that starts.
    #[inline(always)]
    fn locate(&mut self, partial: u64) {
        for i in 0..CONTEXTS {
            self.found[i] = self.slots.find(hash(self.hashes[i], partial));
        }
    }

    /// The probability that the token of `lane` ends here, in units of 1/65536. `rank`: identifies the token so far;
    /// `lm`: the language model's probability.
    pub fn predict_end(&mut self, lane: usize, rank: u32, lm: u32) -> u32 {
        self.ends
            .predict(&self.lanes[lane], self.matches[lane].len, rank, lm)
    }

    /// Learns the decision that [`predict_end`](Self::predict_end) was asked for.
    pub fn update_end(&mut self, _lane: usize, end: bool) {
        self.ends.update(end);
    }
}

/// Maps of histories before anything was learned.
fn initial_map() -> [Counter; 256] {
    let mut map = [Counter::new(32768, 0); 256];
    for (cell, n) in map.iter_mut().zip(HISTORIES.counts) {
        let (zeros, ones) = (u32::from(n[0]), u32::from(n[1]));
        *cell = Counter::new(
            (65536 * (2 * ones + 1))
                .div_euclid(2 * (zeros + ones) + 2)
                .min(65500),
            6,
        );
    }
    map
}

fn code_bytes<C: Coder>(predictor: &mut Predictor, coder: &mut C, raw: &[u8], len: usize) {
    for i in 0..len {
        let byte = raw.get(i).copied().unwrap_or(0);
        for k in (0..8).rev() {
            let p = predictor.predict(0, None);
            let bit = coder.code(byte >> k & 1 == 1, p);
            predictor.update(0, bit);
        }
    }
}

/// Codes a block without a language model.
pub fn encode(predictor: &mut Predictor, raw: &[u8]) -> Vec<u8> {
    predictor.reset(&[raw.len()], false);
    let mut coder = Encoder::new(Vec::with_capacity(raw.len() / 2));
    code_bytes(predictor, &mut coder, raw, raw.len());
    coder.finish()
}

/// Decodes what [`encode`] made of `len` bytes. Damage that the stream's length does not show yields wrong bytes.
pub fn decode(predictor: &mut Predictor, payload: &[u8], len: usize) -> Result<Vec<u8>, StreamEnd> {
    predictor.reset(&[len], false);
    let mut coder = Decoder::new(payload);
    code_bytes(predictor, &mut coder, &[], len);
    coder.finish()?;
    Ok(predictor.take())
}
