//! The predictor: the order in which the parts of the mixer are asked, and learn.

use super::block::{Block, ByteState};
use super::combination::Situation;
use super::context_models::ContextModels;
use super::data_layout::DataLayout;
use super::initial_weights::InitialWeights;
use super::inputs::Inputs;
use super::layout::{BlockKind, Rules, WeightSets, pair, salt};
use super::match_model::MatchModel;
use super::math::hash;
use super::mixing::Mixing;
use super::pixels::Pixels;
use super::printed::Printed;
use super::samples::Samples;
use super::sse_input::SseInput;
use super::token_end::{Hint, TokenEnd};
use crate::entropy::token_tree::DecisionModel;
use crate::simd::dispatch::{Dispatch, WholeTask};
use crate::simd::whole::Whole;

/// Bytes of the history table that are kept for the next block: the table of 256 KiB. A block of 1 MiB has one four
/// times as large.
const KEPT_TABLE: usize = 32 << 20;

/// Predicts the bits of a block's bytes; see [the module](super).
pub struct Predictor {
    pub(super) rules: Rules,
    dispatch: Dispatch,
    block: Block,
    byte: ByteState,
    pub(super) contexts: ContextModels,
    pub(super) matches: MatchModel,
    printed: Printed,
    pixels: Pixels,
    /// Only in blocks of numbers.
    samples: Option<Samples>,
    model: ModelInputs,
    pub(super) mixing: Mixing,
}

/// What follows the language model.
struct ModelInputs {
    /// Only with a language model.
    sse: Option<SseInput<2>>,
    token_end: TokenEnd,
}

/// Binary logarithm of the sizes of the tables of a block of `len` bytes.
pub(super) fn block_bits(len: usize) -> u32 {
    usize::BITS - len.max(1024).leading_zeros()
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
            rules: Rules::of(BlockKind::Plain),
            dispatch: Dispatch::detect(),
            block: Block::new(),
            byte: ByteState::START,
            contexts: ContextModels::new(),
            matches: MatchModel::new(),
            printed: Printed::new(),
            pixels: Pixels::new(),
            samples: None,
            model: ModelInputs {
                sse: None,
                token_end: TokenEnd::new(),
            },
            mixing: Mixing::new(),
        };
        predictor.reset(&[0], false);
        predictor
    }

    /// Forgets everything and prepares for a block that is cut into `lanes`, given as their lengths in bytes (together
    /// at most [`MAX_BLOCK`](crate::MAX_BLOCK)). `language_model`: whether predictions get a language model's
    /// probability.
    pub fn reset(&mut self, lanes: &[usize], language_model: bool) {
        self.reset_as(lanes, language_model, DataLayout::Plain);
    }

    /// Like [`reset`](Self::reset), for data of a known layout.
    pub fn reset_as(&mut self, lanes: &[usize], language_model: bool, layout: DataLayout) {
        let kind = match (language_model, layout.stride()) {
            (true, _) => BlockKind::Modelled,
            (false, 0) => BlockKind::Plain,
            (false, _) => BlockKind::Strided,
        };
        self.import_initial(kind);
        self.next_block_as(lanes, layout);
        self.samples = layout.form().map(Samples::new);
        if self.samples.is_some() {
            self.rules = self.rules.with_samples();
            self.printed.reset(lanes.len(), false);
            let weights = InitialWeights::samples();
            self.mixing.mixer.import(self.rules.mixers, &weights.sets);
            self.mixing.final_map.import(&weights.final_map);
        }
    }

    /// Like [`next_block`](Self::next_block), for data of a known layout.
    pub(super) fn next_block_as(&mut self, lanes: &[usize], layout: DataLayout) {
        self.next_block(lanes);
        self.block.stride = layout.stride();
        let strided = self.rules.kind == BlockKind::Strided;
        self.pixels.reset(strided);
        if strided {
            self.mixing.mixer.clear_from(self.rules.trained_sets());
        }
    }

    /// Starts anew from the built-in weights.
    pub(super) fn import_initial(&mut self, kind: BlockKind) {
        self.set_rules(kind);
        self.import(InitialWeights::builtin(kind));
    }

    /// Prepares for plain data.
    pub(super) fn set_rules(&mut self, kind: BlockKind) {
        self.rules = Rules::of(kind);
        self.block.stride = 0;
        self.pixels.reset(false);
        self.samples = None;
    }

    /// Prepares for a block, but keeps what was learned about histories, weights and the final map: for training.
    pub fn next_block(&mut self, lanes: &[usize]) {
        let bits = block_bits(lanes.iter().sum());
        self.reset_tables(lanes, (bits, bits));
    }

    /// Prepares for a block with empty tables of 2^`bits.0` lines of histories and 2^`bits.1` places of matches.
    pub(super) fn reset_tables(&mut self, lanes: &[usize], bits: (u32, u32)) {
        self.start_block(&[], lanes);
        self.contexts.reset(bits.0, lanes.len());
        self.matches.reset(bits.1, lanes.len());
    }

    /// Prepares everything but the tables for a block that is cut into `lanes` and has the bytes of `front` before it.
    pub(super) fn start_block(&mut self, front: &[u8], lanes: &[usize]) {
        self.block.reset(front, lanes);
        self.printed.reset(lanes.len(), self.rules.kind != BlockKind::Modelled);
        self.byte = ByteState::START;
        let len = lanes.iter().sum();
        if self.rules.kind == BlockKind::Modelled {
            self.model.sse = Some(SseInput::new(len));
            self.model.token_end.reset(len);
        } else {
            self.model.sse = None;
        }
    }

    /// Has a language model predict from now on: a block of `len` bytes, behind what was learned.
    pub(super) fn start_model(&mut self, len: usize) {
        self.model.sse = Some(SseInput::new(len));
        self.model.token_end.start_model(len);
        // Its first token follows no other.
        if let Some(first) = self.block.lanes.first_mut() {
            first.start_tokens();
        }
    }

    /// What predicts the ends of tokens.
    pub(super) fn token_end(&mut self) -> &mut TokenEnd {
        &mut self.model.token_end
    }

    /// Gives tables back that only blocks larger than most need, and the dictionary of the last block.
    pub(crate) fn release_large(&mut self) {
        self.samples = None;
        self.model.sse = None;
        self.model.token_end.release();
        self.matches.release_dictionary();
        // A predictor that is kept would hold this memory, and most blocks need a quarter of it.
        if self.contexts.table_bytes() > KEPT_TABLE {
            self.contexts.release();
            self.matches.release();
        }
    }

    /// A predictor that has learned nothing, for training.
    pub fn untrained(kind: BlockKind) -> Self {
        let mut predictor = Self::new();
        predictor.rules = Rules::of(kind);
        predictor.import(&InitialWeights::untrained(kind));
        predictor
    }

    /// Takes over what training learned.
    fn import(&mut self, weights: &InitialWeights) {
        self.contexts.maps.copy_from(&weights.maps);
        self.matches.import(&weights.matches);
        self.mixing.mixer.import(weights.rules.mixers, &weights.sets);
        self.mixing.final_map.import(&weights.final_map);
        self.model.token_end.import(&weights.end_sets);
    }

    /// Starts a block with a language model with what [`export`](Self::export) gave instead of the built-in weights: to
    /// judge it.
    pub fn start_with(&mut self, exported: &[u8]) {
        self.import(&InitialWeights::from_bytes(exported, BlockKind::Modelled));
    }

    /// What was learned since [`reset`](Self::reset), in the form of the built-in weights.
    pub fn export(&self) -> Vec<u8> {
        InitialWeights {
            rules: self.rules,
            maps: self.contexts.maps.clone(),
            sets: self.mixing.mixer.in_use()[..self.rules.trained_sets()].to_vec(),
            final_map: self.mixing.final_map.nodes.clone(),
            matches: self.matches.quality,
            end_sets: self.model.token_end.weights().to_vec(),
        }
        .to_bytes()
    }

    /// Predicts with these vectors from now on.
    #[cfg(test)]
    pub(super) fn set_dispatch(&mut self, dispatch: Dispatch) {
        self.dispatch = dispatch;
    }

    /// The vectors that it predicts with.
    pub(super) fn dispatch(&self) -> Dispatch {
        self.dispatch
    }

    /// The bytes of the first lane that are known so far, and what is in front of it.
    pub(super) fn known(&self) -> &[u8] {
        let end = self.block.lanes.first().map_or(0, |lane| lane.at as usize);
        self.block.bytes.get(..end).unwrap_or_default()
    }

    /// Takes the block's bytes and those in front of it out, after the last one.
    pub(super) fn take_all(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.block.bytes)
    }

    /// Takes the block's bytes out, after the last one.
    pub fn take(&mut self) -> Vec<u8> {
        self.block.take()
    }

    /// The probability that the next bit of `lane` is one, in units of 1/65536. `language_model`: the language model's.
    #[inline]
    pub fn predict_bit(&mut self, lane: usize, language_model: Option<u32>) -> u32 {
        self.dispatch.run_whole(Predict(self, lane, language_model))
    }

    /// [`predict_bit`](Self::predict_bit) with the vectors that are at hand.
    #[inline(always)]
    pub(super) fn predict_with<S: Whole>(&mut self, v: S, lane: usize, language_model: Option<u32>) -> u32 {
        self.begin_bit(v, lane);
        let ByteState { partial, bits } = self.byte;
        let (inputs, sets) = self.inputs(lane, language_model);
        let byte_before = self.byte_before(lane);
        let (sets, final_context) = if let Some(samples) = &self.samples {
            let [a, b, c, d] = samples.sets(self.byte);
            let sets = [a, b, c, d, 0, 0, 0, 0];
            (sets, self.mixing.samples_context(samples.final_context(self.byte)))
        } else {
            (sets.to_array(), self.mixing.final_context(byte_before << 8 | partial))
        };
        let inputs = self.contexts.predict(v, inputs.pairs());
        let mixed = self.mixing.mix(v, inputs, &sets);
        if self.byte.ends_half() && (bits == 3 || self.samples.is_none()) {
            // Contexts of numbers depend on what is learned from the whole byte.
            // Now, so that mixing, coding and learning hide the wait for the memory of what comes next.
            let matches = &self.matches;
            let likely = self.mixing.mixer.mixed >= 0;
            self.contexts
                .foresee(v, &mut self.block, lane, self.byte, likely, |then| {
                    matches.prefetch(then)
                });
        }
        self.mixing.refine(mixed, final_context)
    }

    #[inline(always)]
    fn byte_before(&self, lane: usize) -> u32 {
        u32::from(self.block.lanes[lane].last as u8)
    }

    /// What another mixer makes of the bit that [`predict_with`](Self::predict_with) was called for, given the language
    /// model's probability; and that one refined.
    #[inline(always)]
    pub(super) fn predict_jointly<S: Whole>(
        &mut self,
        v: S,
        lane: usize,
        lm: u32,
        mixing: &mut Mixing,
    ) -> (u32, [i32; 2]) {
        let (inputs, sets) = self.inputs(lane, Some(lm));
        let refined = inputs.extra;
        let final_context = mixing.final_context(self.byte_before(lane) << 8 | self.byte.partial);
        let inputs = self.contexts.predict(v, inputs.pairs());
        let mixed = mixing.mix(v, inputs, &sets.to_array());
        (mixing.refine(mixed, final_context), refined)
    }

    /// What tells how far the two predictions of the next bit can be trusted.
    #[inline(always)]
    pub(super) fn situation(&self, lane: usize) -> Situation {
        Situation {
            byte: self.byte,
            known_orders: self.contexts.known_orders(),
            match_class: self.matches.class(lane),
            expected: self.matches.expected() & 255,
            token_len: self.block.lanes[lane].token_len,
        }
    }

    /// What a mixer gets for the next bit but the inputs of contexts, and its weight sets.
    #[inline(always)]
    fn inputs(&mut self, lane: usize, language_model: Option<u32>) -> (Inputs, WeightSets) {
        let ByteState { partial, bits } = self.byte;
        let mut inputs = Inputs::default();
        let confidence = match language_model {
            Some(p) => inputs.set_language_model(p),
            None => inputs.set_printed(self.printed.predict(self.byte)),
        };
        inputs.set_match(self.matches.predict(lane, self.byte));
        let match_class = self.matches.class(lane);
        let me = &self.block.lanes[lane];
        let byte_before = self.byte_before(lane);
        if let Some(sse) = self.model.sse.as_mut().filter(|_| language_model.is_some()) {
            let partial = u64::from(partial) << 32;
            // One context is the tokens, the other the last bytes: the model errs by vocabulary and by place.
            let token = me.token_before ^ me.token.rotate_left(13) ^ partial;
            let bytes = me.last & 0xFF_FFFF | partial;
            let hashes = [hash(token, salt::SSE_TOKEN), hash(bytes, salt::SSE_BYTES)];
            inputs.extra = sse.predict(inputs.language_model[0], hashes);
        }
        if self.pixels.is_used() {
            inputs.set_pixels(self.pixels.predict(me, &self.block, self.byte));
        }
        if let Some(samples) = &self.samples {
            inputs.set_samples(samples.predict());
        }
        let confidence_and_match = pair(confidence, match_class);
        let sets = WeightSets {
            confidence_and_match,
            partial_byte: partial,
            known_orders: pair(self.contexts.known_orders(), bits),
            // With a language model the place in its token matters more than the byte before.
            byte_or_token: match language_model {
                Some(_) => pair(pair(me.token_len.min(3), confidence), bits),
                None => byte_before,
            },
            byte_before_or_column: match self.block.stride {
                0 => byte_before,
                stride => (me.at - me.start) % stride & 255,
            },
            second_byte_before: u32::from((me.last >> 8) as u8),
            expected_byte: self.matches.expected() & 255,
            token_before: (me.token_before >> 56) as u32,
        };
        (inputs, sets)
    }

    /// [`update`](DecisionModel::update) with the vectors that are at hand. The order is part of the format where parts
    /// share state: the mixers learn from the inputs before the inputs learn.
    #[inline(always)]
    pub(super) fn update_with<S: Whole>(&mut self, v: S, lane: usize, bit: bool) {
        self.mixing.update_mixer(v, bit, self.rules);
        self.contexts.update(v, bit);
        self.matches.update(self.byte, bit);
        if self.pixels.is_used() {
            self.pixels.update(bit);
        }
        if let Some(sse) = &mut self.model.sse {
            sse.update(bit);
        }
        self.mixing.update_final_map(bit);
        self.append(lane, bit);
    }

    /// Finds what a half byte needs where one starts.
    #[inline(always)]
    fn begin_bit<S: Whole>(&mut self, v: S, lane: usize) {
        if self.byte.bits == 0 {
            self.matches.begin_byte(lane, &self.block);
            self.printed.begin_byte(lane, &self.block.lanes[lane].numeral);
            if let Some(samples) = &mut self.samples {
                samples.begin_byte();
            }
        }
        if self.byte.is_half() {
            self.contexts
                .begin_half_byte(v, &self.block, lane, self.byte, self.samples.as_ref());
        }
    }

    /// Goes on behind a bit that is known now.
    #[inline(always)]
    fn append(&mut self, lane: usize, bit: bool) {
        self.byte.push(bit);
        if let Some(samples) = &mut self.samples {
            samples.push(bit);
        }
        self.contexts.push(bit);
        // A half byte's slots are copies. The table gets them when it ends.
        if !self.byte.is_half() {
            return;
        }
        self.contexts.end_half_byte();
        if self.byte.bits == 8 {
            self.block.push(lane, self.byte.partial as u8);
            self.matches.end_byte(lane, &self.block);
            self.printed.end_byte(lane, self.byte.partial as u8);
            self.byte = ByteState::START;
        }
    }
}

impl DecisionModel for Predictor {
    #[inline]
    fn predict(&mut self, lane: usize, lm: u32) -> u32 {
        self.predict_bit(lane, Some(lm))
    }

    #[inline]
    fn update(&mut self, lane: usize, bit: bool) {
        self.dispatch.run_whole(Update(self, lane, bit));
    }

    #[inline]
    fn skip(&mut self, lane: usize, bit: bool) {
        if self.byte.is_half() {
            self.dispatch.run_whole(Begin(self, lane));
        }
        self.append(lane, bit);
    }

    fn predict_end(&mut self, lane: usize, rank: u32, lm: u32) -> u32 {
        self.dispatch.run_whole(PredictEnd(self, lane, rank, lm))
    }

    fn update_end(&mut self, _lane: usize, end: bool) {
        self.dispatch.run_whole(UpdateEnd(self, end));
    }

    #[inline]
    fn token(&mut self, lane: usize) {
        self.block.lanes[lane].end_token();
        // The contexts of a token's first byte differ, so those that were foreseen are of no use.
        self.contexts.prefetch(&self.block, lane);
    }
}

struct Predict<'a>(&'a mut Predictor, usize, Option<u32>);

impl WholeTask for Predict<'_> {
    type Output = u32;
    #[inline(always)]
    fn run<S: Whole>(self, v: S) -> u32 {
        self.0.predict_with(v, self.1, self.2)
    }
}

struct Update<'a>(&'a mut Predictor, usize, bool);

impl WholeTask for Update<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Whole>(self, v: S) {
        self.0.update_with(v, self.1, self.2);
    }
}

struct Begin<'a>(&'a mut Predictor, usize);

impl WholeTask for Begin<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Whole>(self, v: S) {
        self.0.begin_bit(v, self.1);
    }
}

struct PredictEnd<'a>(&'a mut Predictor, usize, u32, u32);

impl WholeTask for PredictEnd<'_> {
    type Output = u32;
    #[inline(always)]
    fn run<S: Whole>(self, v: S) -> u32 {
        let PredictEnd(me, lane, rank, lm) = self;
        me.matches.begin_byte(lane, &me.block);
        let hint = Hint {
            place: me.matches.place(lane),
            expected: me.matches.expected(),
            class: me.matches.class(lane),
        };
        me.model.token_end.predict(v, &me.block.lanes[lane], &hint, rank, lm)
    }
}

struct UpdateEnd<'a>(&'a mut Predictor, bool);

impl WholeTask for UpdateEnd<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Whole>(self, v: S) {
        self.0.model.token_end.update(v, self.1);
    }
}
