//! The predictor proper: what is asked and learned at each bit.

use super::apm::Apm;
use super::context::{CONTEXTS, Lane};
use super::ends::{self, Ends, Hint};
use super::history::HISTORIES;
use super::learned::{Learned, sum};
use super::maps::{self, Cell, Map};
use super::matching::{Match, Matcher};
use super::math::{hash, squash, stretch};
use super::mixer::Mixer;
use super::opinion::Opinion;
use super::pixels::Pixels;
use super::rules::{LAST_RATE, LAST_SETS, MAP_RATE, ORDER1_RATE, Rules, SETS};
use super::shape::Shape;
use super::slots::{Slot, Slots};
use super::vectors::{Task, Vectors};
use crate::simd::WAYS;
use crate::simd::whole::Whole;

/// Inputs of the mixer: histories (stretched), language model (2), match (2); histories (linear), order-1 counter,
/// constant, unused.
pub(super) const INPUTS: usize = 2 * WAYS;
/// Where the inputs are whose weights the learned files hold: language model, histories, match, order-1 counter, constant.
pub(super) const PLACES: [usize; INPUTS] = {
    let mut places = [0; INPUTS];
    let mut i = 0;
    while i < INPUTS {
        places[i] = match i {
            0..2 => CONTEXTS + i,
            2..14 => i - 2,
            14..26 => WAYS + i - 14,
            26..28 => CONTEXTS + 2 + i - 26,
            _ => i,
        };
        i += 1;
    }
    places
};
/// Contexts of the two final maps.
pub(super) const APMS: [u32; 2] = [1 << 11, 1 << 10];

/// Binary logarithm of how many bits the final maps look back on.
const APM_RATE: u32 = 6;

/// Bytes of the table of histories that wait for the next block: that of 256 KiB. A block of 1 MiB has four times as many.
const MOST_KEPT: usize = 32 << 20;

/// Predicts the bits of a block's bytes; see [the module](super).
pub struct Predictor {
    block: Vec<u8>,
    lanes: Vec<Lane>,
    matches: Vec<Match>,
    slots: Slots,
    maps: Box<[Map; CONTEXTS]>,
    order1: Vec<Cell>,
    matcher: Matcher,
    mixer: Mixer<2>,
    apm: [Apm<8>; 2],
    /// With a language model.
    opinion: Option<Opinion<2>>,
    ends: Ends,
    vectors: Vectors,
    rules: Rules,
    pixels: Pixels,
    /// Distance to the byte above, 0 in text.
    stride: u32,
    // The byte under way.
    hashes: [u64; CONTEXTS],
    ahead: Vec<Ahead>,
    found: [u32; CONTEXTS],
    /// Copies of the slots found, written back at the end of the half byte.
    now: [Slot; CONTEXTS],
    /// Bits so far behind a leading one, and their number.
    partial: u32,
    bits: u32,
    /// Place of the present bit in its half byte's slots.
    node: usize,
    // The bit under way.
    states: [u8; CONTEXTS],
    cells: [i32; WAYS],
    direct: usize,
}

/// Hashes of the contexts of the half bytes that a lane may come to next, by the last bit before them.
#[derive(Clone, Default)]
struct Ahead {
    hashes: [[u64; CONTEXTS]; 2],
    /// Bits of the lane until there.
    bits: u64,
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
            mixer: Mixer::new(&SETS, &LAST_SETS),
            apm: APMS.map(Apm::new),
            opinion: None,
            ends: Ends::new(),
            vectors: Vectors::detect(),
            rules: Rules::of(false),
            pixels: Pixels::new(),
            stride: 0,
            hashes: [0; CONTEXTS],
            ahead: Vec::new(),
            found: [0; CONTEXTS],
            now: [[0; 16]; CONTEXTS],
            partial: 1,
            bits: 0,
            node: 1,
            states: [0; CONTEXTS],
            cells: [0; WAYS],
            direct: 0,
        };
        predictor.reset(&[0], false);
        predictor
    }

    /// Forgets everything and prepares for a block that is cut into `lanes`, given as their lengths in bytes (together at
    /// most [`MAX_BLOCK`](crate::MAX_BLOCK)). `language_model`: whether [`predict`](Self::predict) will be told a model's opinion.
    pub fn reset(&mut self, lanes: &[usize], language_model: bool) {
        self.reset_as(lanes, language_model, Shape::Plain);
    }

    /// Like [`reset`](Self::reset), for data of a known shape.
    pub fn reset_as(&mut self, lanes: &[usize], language_model: bool, shape: Shape) {
        self.rules = Rules::of(language_model);
        self.import(Learned::builtin(language_model));
        self.next_block(lanes);
        self.stride = shape.stride();
        self.pixels.reset(!language_model && self.stride != 0);
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
        self.opinion = self.rules.language_model.then(|| Opinion::new(total));
        self.ahead.clear();
        self.ahead.resize(lanes.len(), Ahead::default());
    }

    /// Gives tables back that only blocks larger than most need.
    pub(crate) fn release_large(&mut self) {
        if self.slots.bytes() > MOST_KEPT {
            self.slots = Slots::new();
            self.matcher.release();
        }
    }

    /// A predictor that has learned nothing, for training.
    pub fn untrained(language_model: bool) -> Self {
        let mut predictor = Self::new();
        predictor.rules = Rules::of(language_model);
        predictor.import(&Learned::untrained(language_model));
        predictor
    }

    /// Takes over what training learned.
    pub(super) fn import(&mut self, learned: &Learned) {
        *self.maps = *learned.maps;
        self.mixer
            .import((learned.mixers, learned.lasts), &learned.weights, &learned.last);
        for (apm, nodes) in self.apm.iter_mut().zip(&learned.apms) {
            apm.import(nodes);
        }
        self.matcher.import(&learned.matches);
        self.ends
            .mixer
            .import((ends::MIXERS, 1), &learned.end_weights, &learned.end_last);
    }

    /// Starts a block with a language model with what [`export`](Self::export) gave instead of the built-in constants: to judge it.
    pub fn start_with(&mut self, learned: &[u8]) {
        self.import(&Learned::from_bytes(learned, true));
    }

    /// What was learned since [`reset`](Self::reset), in the form of the built-in constants.
    pub fn export(&self) -> Vec<u8> {
        Learned {
            maps: self.maps.clone(),
            mixers: self.rules.mixers,
            lasts: self.rules.lasts,
            weights: self.mixer.weights[..sum(&SETS, self.rules.mixers)].to_vec(),
            last: self.mixer.last[..sum(&LAST_SETS, self.rules.lasts)].to_vec(),
            apms: [self.apm[0].nodes.clone(), self.apm[1].nodes.clone()],
            matches: self.matcher.quality,
            end_weights: self.ends.mixer.weights.clone(),
            end_last: self.ends.mixer.last.clone(),
        }
        .to_bytes()
    }

    /// Predicts with these vectors from now on.
    #[cfg(test)]
    pub(super) fn set_vectors(&mut self, vectors: Vectors) {
        self.vectors = vectors;
    }

    /// The vectors that it predicts with.
    pub(super) fn vectors(&self) -> Vectors {
        self.vectors
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
        self.vectors.run(Predict(self, lane, lm))
    }

    /// Learns the bit that [`predict`](Self::predict) was asked for.
    #[inline]
    pub fn update(&mut self, lane: usize, bit: bool) {
        self.vectors.run(Update(self, lane, bit));
    }

    /// [`predict`](Self::predict) with the vectors that are at hand.
    #[inline(always)]
    pub(super) fn predict_with<S: Whole>(&mut self, v: S, lane: usize, lm: Option<u32>) -> u32 {
        if self.bits & 3 == 0 {
            self.locate(v, lane);
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
        let cells = maps::cells(v, &self.maps, &self.states);
        v.store_int(cells, &mut self.cells);
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
        let mut more = [0; 2];
        if let Some(opinion) = self.opinion.as_mut().filter(|_| lm.is_some()) {
            let lane = &self.lanes[lane];
            let partial = u64::from(self.partial) << 32;
            let token = lane.token_before ^ lane.token.rotate_left(13) ^ partial;
            let bytes = lane.last & 0xFF_FFFF | partial;
            more = opinion.refine(lm_inputs[0], [hash(token, 12), hash(bytes, 13)]);
        }
        // The pixels' inputs stand where others are not used: the language model's and the last two.
        if !self.rules.language_model && self.stride != 0 {
            let lane = &self.lanes[lane];
            let [a, b, c, d] = self
                .pixels
                .predict(lane, &self.block, self.stride, self.partial, self.bits);
            (lm_inputs, more) = ([a, b], [c, d]);
        }
        let first = [lm_inputs[0], lm_inputs[1], match_inputs[0], match_inputs[1]];
        let second = [direct, 256, more[0], more[1]];
        let behind = |four: [i32; 4]| v.generate(|i| if i < CONTEXTS { 0 } else { four[i & 3] });
        let [stretched, linear] = maps::inputs(v, cells);
        let inputs = [v.or(stretched, behind(first)), v.or(linear, behind(second))];
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
            self.matcher.expected() & 255,
            (self.lanes[lane].token_before >> 56) as u32,
        ];
        let last_sets = [confidence * 8 + len_class, self.partial];
        let contexts = [len_class << 8 | self.partial, (hash(u64::from(order1), 9) >> 54) as u32];
        for (apm, context) in self.apm.iter().zip(contexts) {
            apm.prefetch(context);
        }
        let p = self.mixer.mix(v, inputs, &sets, last_sets);
        if self.bits & 3 == 3 {
            self.foresee(lane);
        }
        let mixed = self.mixer.mixed;
        let a = self.apm[0].refine(mixed, contexts[0]);
        let b = self.apm[1].refine(mixed, contexts[1]);
        ((2 * p + a + b) >> 2).clamp(1, 65535) as u32
    }

    /// [`update`](Self::update) with the vectors that are at hand.
    #[inline(always)]
    pub(super) fn update_with<S: Whole>(&mut self, v: S, lane: usize, bit: bool) {
        let rules = self.rules;
        self.mixer.update(v, bit, rules.rate, LAST_RATE);
        let cells = v.load_int(&self.cells);
        maps::update(v, cells, &mut self.maps, &self.states, bit, MAP_RATE);
        let next = &HISTORIES.next[usize::from(bit)];
        for i in 0..CONTEXTS {
            self.now[i][self.node & 15] = next[usize::from(self.states[i])];
        }
        self.order1[self.direct].update(bit, ORDER1_RATE);
        self.matcher.update(self.bits, bit);
        if !rules.language_model && self.stride != 0 {
            self.pixels.update(bit);
        }
        if let Some(opinion) = &mut self.opinion {
            opinion.update(bit);
        }
        self.apm[0].update(bit, APM_RATE);
        self.apm[1].update(bit, APM_RATE);
        self.append(lane, bit);
    }

    /// Appends a bit that was certain, without learning from it.
    #[inline]
    pub fn skip(&mut self, lane: usize, bit: bool) {
        if self.bits & 3 == 0 {
            self.vectors.run(Locate(self, lane));
        }
        self.append(lane, bit);
    }

    #[inline(always)]
    fn append(&mut self, lane: usize, bit: bool) {
        self.partial = self.partial << 1 | u32::from(bit);
        self.node = (self.node << 1 | usize::from(bit)) & 15;
        self.bits = self.bits.wrapping_add(1);
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

    /// Before the last bit of a half byte, finds the contexts of both that may follow and asks for their memory: coding and
    /// learning the bit hide the wait.
    #[inline(always)]
    fn foresee(&mut self, lane: usize) {
        let me = &self.lanes[lane];
        let ahead = &mut self.ahead[lane];
        let at = me.at as usize;
        for bit in 0..2 {
            let partial = self.partial << 1 | bit as u32;
            let hashes = &mut ahead.hashes[bit];
            if self.bits == 3 {
                for (hash_of, first) in hashes.iter_mut().zip(&self.hashes) {
                    *hash_of = hash(*first, u64::from(partial));
                }
            } else {
                let mut then = me.clone();
                then.push(partial as u8);
                if then.at as usize >= self.block.len() {
                    return;
                }
                // Contexts may look at the byte itself.
                self.block[at] = partial as u8;
                then.contexts(&self.block, self.stride, hashes);
                self.block[at] = 0;
                self.matcher.prefetch(&then);
            }
            self.slots.prefetch(hashes);
        }
        ahead.bits = me.bits(self.bits).wrapping_add(1);
    }

    /// Slots of the half byte that starts; at the first of a byte, also its contexts.
    #[inline(always)]
    fn locate<S: Whole>(&mut self, v: S, lane: usize) {
        let ahead = &mut self.ahead[lane];
        let me = &self.lanes[lane];
        // What was foreseen is in the order of the last bit; a token's first byte has contexts of its own.
        let foreseen = ahead.bits == me.bits(self.bits) && (self.bits != 0 || me.token_len != 0);
        if self.bits == 0 {
            if !foreseen {
                me.contexts(&self.block, self.stride, &mut ahead.hashes[0]);
            }
            let came = if foreseen { me.last as usize & 1 } else { 0 };
            self.hashes = ahead.hashes[came];
            self.matcher.begin(self.matches[lane], &self.block);
            self.slots.find(v, &self.hashes, &mut self.found, &mut self.now);
        } else {
            let partial = self.partial;
            if !foreseen {
                for (hash_of, first) in ahead.hashes[partial as usize & 1].iter_mut().zip(&self.hashes) {
                    *hash_of = hash(*first, u64::from(partial));
                }
            }
            let hashes = &ahead.hashes[partial as usize & 1];
            self.slots.find(v, hashes, &mut self.found, &mut self.now);
        }
    }

    /// The probability that the token of `lane` ends here, in units of 1/65536. `rank`: identifies the token so far;
    /// `lm`: the language model's probability.
    pub fn predict_end(&mut self, lane: usize, rank: u32, lm: u32) -> u32 {
        self.vectors.run(PredictEnd(self, lane, rank, lm))
    }

    /// Learns the decision that [`predict_end`](Self::predict_end) was asked for.
    pub fn update_end(&mut self, _lane: usize, end: bool) {
        self.vectors.run(UpdateEnd(self, end));
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
        lane.contexts(&self.block, self.stride, &mut hashes);
        self.slots.prefetch(&hashes);
    }
}

struct Predict<'a>(&'a mut Predictor, usize, Option<u32>);

impl Task for Predict<'_> {
    type Output = u32;
    #[inline(always)]
    fn run<S: Whole>(self, v: S) -> u32 {
        self.0.predict_with(v, self.1, self.2)
    }
}

struct Update<'a>(&'a mut Predictor, usize, bool);

impl Task for Update<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Whole>(self, v: S) {
        self.0.update_with(v, self.1, self.2);
    }
}

struct Locate<'a>(&'a mut Predictor, usize);

impl Task for Locate<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Whole>(self, v: S) {
        self.0.locate(v, self.1);
    }
}

struct PredictEnd<'a>(&'a mut Predictor, usize, u32, u32);

impl Task for PredictEnd<'_> {
    type Output = u32;
    #[inline(always)]
    fn run<S: Whole>(self, v: S) -> u32 {
        let PredictEnd(me, lane, rank, lm) = self;
        let m = me.matches[lane];
        me.matcher.begin(m, &me.block);
        let hint = Hint {
            place: m.place,
            expected: me.matcher.expected(),
            class: me.matcher.class(m),
        };
        me.ends.predict(v, &me.lanes[lane], &hint, rank, lm)
    }
}

struct UpdateEnd<'a>(&'a mut Predictor, bool);

impl Task for UpdateEnd<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Whole>(self, v: S) {
        self.0.ends.update(v, self.1);
    }
}
