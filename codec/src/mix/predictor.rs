//! The predictor proper: what is asked and learned at each bit.

use super::apm::Apm;
use super::context::{CONTEXTS, Lane};
use super::ends::{self, Ends, Hint};
use super::history::HISTORIES;
use super::learned::Learned;
use super::maps::{Cell, Map, Row, WIDTH};
use super::matching::{Match, Matcher};
use super::math::{hash, squash, stretch};
use super::mixer::Mixer;
use super::pixels::Pixels;
use super::shape::Shape;
use super::slots::{Slot, Slots};
use super::version::{Rules, SETS};

/// Inputs of the mixer: histories (stretched), language model (2), match (2); histories (linear), order-1 counter,
/// constant, unused.
pub(super) const INPUTS: usize = 2 * WIDTH;
/// Where the inputs are whose weights the learned files hold: language model, histories, match, order-1 counter, constant.
pub(super) const PLACES: [usize; INPUTS] = {
    let mut places = [0; INPUTS];
    let mut i = 0;
    while i < INPUTS {
        places[i] = match i {
            0..2 => CONTEXTS + i,
            2..14 => i - 2,
            14..26 => WIDTH + i - 14,
            26..28 => CONTEXTS + 2 + i - 26,
            _ => i,
        };
        i += 1;
    }
    places
};
/// Room for first-layer mixers.
pub(super) const MIXERS: usize = 8;
/// Weight sets of each.
const ROOM: [u32; MIXERS] = [SETS[0], SETS[1], SETS[2], SETS[3], SETS[4], SETS[5], 0, 0];
/// Weight sets of the second layer.
pub(super) const LAST_SETS: u32 = 64;
/// Contexts of the two final maps.
pub(super) const APMS: [u32; 2] = [1 << 11, 1 << 10];

/// Binary logarithm of how many bits the final maps look back on.
const APM_RATE: u32 = 6;

/// Predicts the bits of a block's bytes; see [the module](super).
pub struct Predictor {
    block: Vec<u8>,
    lanes: Vec<Lane>,
    matches: Vec<Match>,
    slots: Slots,
    maps: Box<[Map; CONTEXTS]>,
    order1: Vec<Cell>,
    matcher: Matcher,
    mixer: Mixer<INPUTS, MIXERS>,
    apm: [Apm; 2],
    ends: Ends,
    wide: bool,
    version: u8,
    rules: Rules,
    pixels: Pixels,
    /// Distance to the byte above, 0 in text.
    stride: u32,
    // The byte under way.
    hashes: [u64; CONTEXTS],
    found: [u32; CONTEXTS],
    /// Copies of the slots found, written back at the end of the half byte.
    now: [Slot; CONTEXTS],
    /// Bits so far behind a leading one, and their number.
    partial: u32,
    bits: u32,
    /// Place of the present bit in its half byte's slots.
    node: usize,
    // The bit under way.
    inputs: [i32; INPUTS],
    states: [u8; CONTEXTS],
    row: Row,
    direct: usize,
}

impl Default for Predictor {
    fn default() -> Self {
        Self::new()
    }
}

impl Predictor {
    /// A predictor of an empty block; call [`reset`](Self::reset) before use.
    pub fn new() -> Self {
        let mut predictor = Predictor {
            block: Vec::new(),
            lanes: Vec::new(),
            matches: Vec::new(),
            slots: Slots::new(),
            maps: Box::new([super::maps::untrained(); CONTEXTS]),
            order1: Vec::new(),
            matcher: Matcher::new(),
            mixer: Mixer::new(&ROOM, LAST_SETS),
            apm: APMS.map(Apm::new),
            ends: Ends::new(),
            wide: wide(),
            version: super::VERSION,
            rules: Rules::of(super::VERSION, false),
            pixels: Pixels::new(),
            stride: 0,
            hashes: [0; CONTEXTS],
            found: [0; CONTEXTS],
            now: [[0; 16]; CONTEXTS],
            partial: 1,
            bits: 0,
            node: 1,
            inputs: [0; INPUTS],
            states: [0; CONTEXTS],
            row: Row::new(),
            direct: 0,
        };
        predictor.reset(&[0], false);
        predictor
    }

    /// Predicts as this version of the mixer does from the next reset on: [`VERSION`](super::VERSION) at first, or an older
    /// one for blocks that it wrote. Versions that are not known are taken for the newest.
    pub fn set_version(&mut self, version: u8) {
        self.version = version;
    }

    /// Forgets everything and prepares for a block that is cut into `lanes`, given as their lengths in bytes (together at
    /// most [`MAX_BLOCK`](crate::MAX_BLOCK)). `language_model`: whether [`predict`](Self::predict) will be told a model's opinion.
    pub fn reset(&mut self, lanes: &[usize], language_model: bool) {
        self.reset_as(lanes, language_model, Shape::Plain);
    }

    /// Like [`reset`](Self::reset), for data of a known shape.
    pub fn reset_as(&mut self, lanes: &[usize], language_model: bool, shape: Shape) {
        self.rules = Rules::of(self.version, language_model);
        self.import(Learned::builtin(self.version, language_model));
        self.next_block(lanes);
        self.stride = shape.stride();
        self.pixels.reset(self.rules.pixels && self.stride != 0);
    }

    /// Prepares for a block, but keeps what was learned about histories, weights and final maps: for training.
    pub fn next_block(&mut self, lanes: &[usize]) {
        let total: usize = lanes.iter().sum();
        self.block.clear();
        self.block.resize(total, 0);
        self.lanes.clear();
        let mut start = 0;
        for &len in lanes {
            self.lanes.push(Lane::new(start));
            start += len as u32;
        }
        self.matches.clear();
        self.matches.resize(lanes.len(), Match::default());
        let log2 = usize::BITS - total.max(1024).leading_zeros();
        self.slots.reset(log2);
        self.matcher.reset(log2);
        self.order1.clear();
        self.order1.resize(1 << 16, Cell::new(32768));
        self.partial = 1;
        self.bits = 0;
        self.node = 1;
        self.ends.reset(total);
    }

    /// A predictor that has learned nothing, for training.
    pub fn untrained(language_model: bool) -> Self {
        let mut predictor = Self::new();
        predictor.rules = Rules::of(predictor.version, language_model);
        predictor.import(&Learned::untrained(predictor.version, language_model));
        predictor
    }

    /// Takes over what training learned.
    pub(super) fn import(&mut self, learned: &Learned) {
        *self.maps = *learned.maps;
        self.mixer.import(learned.mixers, &learned.weights, &learned.last);
        for (apm, nodes) in self.apm.iter_mut().zip(&learned.apms) {
            apm.import(nodes);
        }
        self.matcher.import(&learned.matches);
        self.ends
            .mixer
            .import(ends::MIXERS, &learned.end_weights, &learned.end_last);
    }

    /// What was learned since [`reset`](Self::reset), in the form of the built-in constants.
    pub fn export(&self) -> Vec<u8> {
        Learned {
            maps: self.maps.clone(),
            mixers: self.rules.mixers,
            weights: self.mixer.weights[..SETS[..self.rules.mixers].iter().sum::<u32>() as usize].to_vec(),
            last: self.mixer.last.clone(),
            apms: [self.apm[0].nodes.clone(), self.apm[1].nodes.clone()],
            matches: self.matcher.quality,
            end_weights: self.ends.mixer.weights.clone(),
            end_last: self.ends.mixer.last.clone(),
        }
        .to_bytes()
    }

    #[cfg(test)]
    pub(super) fn without_wide(&mut self) {
        self.wide = false;
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
    #[inline]
    pub fn predict(&mut self, lane: usize, lm: Option<u32>) -> u32 {
        #[cfg(target_arch = "x86_64")]
        if self.wide {
            // SAFETY: `wide` is set only where the processor has AVX2.
            #[allow(unsafe_code, reason = "the same code, compiled for wider registers")]
            return unsafe { self.predict_avx2(lane, lm) };
        }
        self.predict_any(lane, lm)
    }

    /// Learns the bit that [`predict`](Self::predict) was asked for.
    #[inline]
    pub fn update(&mut self, lane: usize, bit: bool) {
        #[cfg(target_arch = "x86_64")]
        if self.wide {
            // SAFETY: `wide` is set only where the processor has AVX2.
            #[allow(unsafe_code, reason = "the same code, compiled for wider registers")]
            return unsafe { self.update_avx2(lane, bit) };
        }
        self.update_any(lane, bit);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2")]
    fn predict_avx2(&mut self, lane: usize, lm: Option<u32>) -> u32 {
        self.predict_any(lane, lm)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2")]
    fn update_avx2(&mut self, lane: usize, bit: bool) {
        self.update_any(lane, bit);
    }

    #[inline(always)]
    fn predict_any(&mut self, lane: usize, lm: Option<u32>) -> u32 {
        if self.bits & 3 == 0 {
            self.locate(lane);
        }
        let (mut lm_inputs, mut confidence) = ([0; 2], 0);
        if let Some(p) = lm {
            let s = stretch(p);
            lm_inputs = [s, (p as i32).wrapping_sub(32768) >> 6];
            confidence = (s.unsigned_abs() >> 8).min(7);
        }
        for i in 0..CONTEXTS {
            self.states[i] = self.now[i][self.node & 15];
        }
        self.row.load(&self.maps, &self.states);
        // How many of the orders 2 to 6 have seen anything.
        let mut hits = 0;
        for i in 2..7 {
            hits += u32::from(self.states[i] != 0);
        }
        let m = self.matches[lane];
        let s = self.matcher.predict(m, self.partial, self.bits);
        let match_inputs = [s, squash(s).wrapping_sub(32768) >> 6];
        let len_class = self.matcher.class(m);
        let c1 = u32::from(self.lanes[lane].last as u8);
        let order1 = c1 << 8 | self.partial;
        self.direct = order1 as usize;
        let direct = self.order1[self.direct].stretched();
        // The pixels' inputs stand where others are not used: the language model's and the last two.
        let mut more = [0; 2];
        if self.rules.pixels && self.stride != 0 {
            let lane = &self.lanes[lane];
            let [a, b, c, d] = self
                .pixels
                .predict(lane, &self.block, self.stride, self.partial, self.bits);
            (lm_inputs, more) = ([a, b], [c, d]);
        }
        let x = &mut self.inputs;
        self.row.inputs(
            x,
            [lm_inputs[0], lm_inputs[1], match_inputs[0], match_inputs[1]],
            [direct, 256, more[0], more[1]],
        );
        // With a language model the place in its token matters more than the byte before.
        let last_set = if lm.is_some() {
            let place = self.lanes[lane].token_len.min(3);
            (place * 8 + confidence) * 8 + self.bits
        } else {
            c1
        };
        let sets = [
            confidence * 8 + len_class,
            self.partial,
            hits * 8 + self.bits,
            last_set,
            c1,
            u32::from((self.lanes[lane].last >> 8) as u8),
            0,
            0,
        ];
        let p = self.mixer.mix(x, &sets, confidence * 8 + len_class);
        let mixed = self.mixer.mixed;
        let a = self.apm[0].refine(mixed, len_class << 8 | self.partial);
        let b = self.apm[1].refine(mixed, (hash(u64::from(order1), 9) >> 54) as u32);
        ((2 * p + a + b) >> 2).clamp(1, 65535) as u32
    }

    #[inline(always)]
    fn update_any(&mut self, lane: usize, bit: bool) {
        let rules = self.rules;
        self.mixer.update(&self.inputs, bit, rules.rate, rules.last_rate);
        self.row.update(&mut self.maps, &self.states, bit, rules.map_rate);
        let next = &HISTORIES.next[usize::from(bit)];
        for i in 0..CONTEXTS {
            self.now[i][self.node & 15] = next[usize::from(self.states[i])];
        }
        self.order1[self.direct].update(bit, rules.order1_rate);
        self.matcher.update(self.bits, bit);
        if rules.pixels && self.stride != 0 {
            self.pixels.update(bit);
        }
        self.apm[0].update(bit, APM_RATE);
        self.apm[1].update(bit, APM_RATE);
        self.append(lane, bit);
    }

    /// Appends a bit that was certain, without learning from it.
    #[inline]
    pub fn skip(&mut self, lane: usize, bit: bool) {
        if self.bits & 3 == 0 {
            self.locate(lane);
        }
        self.append(lane, bit);
    }

    #[inline(always)]
    fn append(&mut self, lane: usize, bit: bool) {
        self.partial = self.partial << 1 | u32::from(bit);
        self.node = (self.node << 1 | usize::from(bit)) & 15;
        self.bits += 1;
        if self.bits & 3 == 3 {
            self.foresee(lane);
        }
        if self.bits & 3 == 0 {
            self.node = 1;
            self.slots.store(&self.found, &self.now);
            if self.bits == 8 {
                let byte = self.partial as u8;
                let me = &mut self.lanes[lane];
                if let Some(to) = self.block.get_mut(me.at as usize) {
                    *to = byte;
                }
                me.push(byte);
                self.matcher
                    .advance(&mut self.matches[lane], &self.lanes, lane, &self.block);
                self.partial = 1;
                self.bits = 0;
            }
        }
    }

    /// One bit before a half byte ends, asks for the memory of both that may follow: a bit's work hides the wait.
    #[inline(always)]
    fn foresee(&mut self, lane: usize) {
        for bit in 0..2 {
            let partial = self.partial << 1 | bit;
            let mut hashes = self.hashes;
            if self.bits == 3 {
                for hash_of in &mut hashes {
                    *hash_of = hash(*hash_of, u64::from(partial));
                }
            } else {
                let mut then = self.lanes[lane].clone();
                then.push(partial as u8);
                if then.at as usize >= self.block.len() {
                    return;
                }
                then.contexts(&self.block, self.stride, self.rules.words, &mut hashes);
                self.matcher.prefetch(&then);
            }
            self.slots.prefetch(&hashes);
        }
    }

    /// Slots of the half byte that starts; at the first of a byte, also its contexts.
    #[inline(always)]
    fn locate(&mut self, lane: usize) {
        let mut hashes = self.hashes;
        if self.bits == 0 {
            self.lanes[lane].contexts(&self.block, self.stride, self.rules.words, &mut hashes);
            self.hashes = hashes;
            self.matcher.begin(self.matches[lane], &self.block);
        } else {
            let partial = u64::from(self.partial);
            for hash_of in &mut hashes {
                *hash_of = hash(*hash_of, partial);
            }
        }
        self.slots.find(&hashes, &mut self.found);
        self.slots.load(&self.found, &mut self.now);
    }

    /// The probability that the token of `lane` ends here, in units of 1/65536. `rank`: identifies the token so far;
    /// `lm`: the language model's probability.
    pub fn predict_end(&mut self, lane: usize, rank: u32, lm: u32) -> u32 {
        let m = self.matches[lane];
        self.matcher.begin(m, &self.block);
        let hint = Hint {
            place: m.place,
            expected: self.matcher.expected(),
            class: self.matcher.class(m),
        };
        self.ends.predict(&self.lanes[lane], &hint, rank, lm)
    }

    /// Learns the decision that [`predict_end`](Self::predict_end) was asked for.
    pub fn update_end(&mut self, _lane: usize, end: bool) {
        self.ends.update(end);
    }

    /// Notes that a token of `lane` is complete.
    #[inline]
    pub fn token(&mut self, lane: usize) {
        let lane = &mut self.lanes[lane];
        lane.end_token();
        if lane.at as usize >= self.block.len() {
            return;
        }
        let mut hashes = [0; CONTEXTS];
        lane.contexts(&self.block, self.stride, self.rules.words, &mut hashes);
        self.slots.prefetch(&hashes);
    }
}

/// Whether the wide version of the code can run here; it computes the same bits.
fn wide() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("bmi1")
            && std::arch::is_x86_feature_detected!("bmi2")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}
