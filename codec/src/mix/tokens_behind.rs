//! Blocks with a language model behind a dictionary or a reference.
//!
//! What is in front of such a block is learned token by token: the same bits are certain as in the block, the first
//! bytes of tokens have contexts of their own, and where tokens end is learned, too. Nobody runs the language model on
//! it, so its probabilities are missing then.

use super::combination::{Combination, Predictions};
use super::initial_weights::InitialWeights;
use super::layout::{BlockKind, Rules};
use super::mixing::Mixing;
use super::predictor::{Predictor, block_bits};
use super::warm::{Known, WarmState};
use crate::entropy::frequencies::Frequencies;
use crate::entropy::token_tree::{DecisionModel, Place, TokenTree};
use crate::model::{Token, Vocabulary};
use crate::simd::dispatch::{Dispatch, WholeTask};
use crate::simd::whole::Whole;
use crate::{Error, MAX_BLOCK, Result, Stop};

/// Text that is known, cut into tokens.
#[derive(Clone, Copy, Debug)]
pub struct Tokenized<'a> {
    /// The tokens' bytes.
    pub vocabulary: &'a Vocabulary,
    /// The decisions of this vocabulary.
    pub tree: &'a TokenTree,
    /// The tokens, whose bytes are the text.
    pub tokens: &'a [Token],
}

impl WarmState {
    /// Learns a dictionary token by token, for blocks with a language model.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn learn_tokens(predictor: &mut Predictor, text: &Tokenized<'_>, stop: &Stop) -> Result<WarmState> {
        let len = text.len();
        predictor.reset_for_dictionary(len);
        start_ends(predictor, len);
        text.learn(predictor, stop)?;
        let ends = predictor.token_end().freeze();
        Ok(WarmState {
            ends: Some(ends),
            ..predictor.freeze()
        })
    }
}

/// What a block with a language model is coded behind.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokenFront<'a> {
    /// The block starts with what was learned of this, [token by token](WarmState::learn_tokens).
    pub dictionary: Option<&'a WarmState>,
    /// Text that it resembles, at most as long as a block. It is learned in front of the block.
    pub reference: Option<Tokenized<'a>>,
}

/// Prepares for the ends of tokens in `len` bytes, of which nothing is known.
fn start_ends(predictor: &mut Predictor, len: usize) {
    let weights = InitialWeights::builtin(BlockKind::Modelled);
    predictor.token_end().reset(len);
    predictor.token_end().import(&weights.end_sets);
}

impl Tokenized<'_> {
    fn len(&self) -> usize {
        self.tokens
            .iter()
            .map(|&token| self.vocabulary.bytes(token).len())
            .sum()
    }

    /// Has the first lane go on behind this text.
    fn learn(&self, predictor: &mut Predictor, stop: &Stop) -> Result<()> {
        /// Tokens that are learned between two looks at the stop: some milliseconds.
        const STEP: usize = 1024;
        let mut flat = Frequencies::new(self.vocabulary);
        flat.set_ranked(&vec![0.0; self.vocabulary.sorted().len()]);
        let mut left = self.len();
        for tokens in self.tokens.chunks(STEP) {
            stop.check()?;
            for &token in tokens {
                let place = Place { lane: 0, left };
                let mut decisions = WithoutModel(&mut *predictor);
                let learned = self
                    .tree
                    .code(self.vocabulary, &flat, &mut Known, &mut decisions, place, token);
                assert_eq!(learned, Some(token), "a known token is one of the vocabulary and fits");
                left -= self.vocabulary.bytes(token).len();
            }
        }
        Ok(())
    }
}

/// One half: what the language model says where it says nothing.
const NOTHING: u32 = 32768;

/// The adaptive models alone.
struct WithoutModel<'a>(&'a mut Predictor);

impl DecisionModel for WithoutModel<'_> {
    fn predict(&mut self, lane: usize, _: u32) -> u32 {
        self.0.predict_bit(lane, None)
    }

    fn update(&mut self, lane: usize, bit: bool) {
        self.0.update(lane, bit);
    }

    fn skip(&mut self, lane: usize, bit: bool) {
        self.0.skip(lane, bit);
    }

    fn predict_end(&mut self, lane: usize, rank: u32, _: u32) -> u32 {
        self.0.predict_end(lane, rank, NOTHING)
    }

    fn update_end(&mut self, lane: usize, end: bool) {
        self.0.update_end(lane, end);
    }

    fn token(&mut self, lane: usize) {
        self.0.token(lane);
    }
}

/// Predicts a block with a language model behind something.
pub struct Combined<'a> {
    predictor: &'a mut Predictor,
    /// Mixes all models.
    joint: Mixing,
    combination: Combination,
    dispatch: Dispatch,
}

impl std::fmt::Debug for Combined<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Combined")
    }
}

impl<'a> Combined<'a> {
    /// Prepares for a block that is cut into `lanes`, given as their lengths in bytes, and learns its reference, which
    /// the first lane begins with.
    ///
    /// # Errors
    /// [`Error::Interrupted`]; [`Error::InvalidOption`] for a dictionary that was learned byte by byte.
    pub fn start(
        predictor: &'a mut Predictor,
        front: TokenFront<'_>,
        lanes: &[usize],
        stop: &Stop,
    ) -> Result<Combined<'a>> {
        let len: usize = lanes.iter().sum();
        let before = front.reference.map_or(0, |reference| reference.len());
        let mut lanes = lanes.to_vec();
        if let Some(first) = lanes.first_mut() {
            *first += before;
        }
        // As in blocks of method mix behind something.
        let bits = block_bits((before + len).min(MAX_BLOCK));
        match front.dictionary {
            Some(warm) => {
                predictor.set_rules(BlockKind::Plain);
                predictor.start_block(&warm.text, &lanes);
                predictor.contexts.reset_warm(&warm.contexts, bits, lanes.len());
                predictor.matches.reset_warm(&warm.matches, bits, lanes.len());
                predictor.mixing.reset_warm(&warm.mixing);
                let in_bytes = || Error::InvalidOption("a dictionary that was not learned token by token".into());
                let ends = warm.ends.as_ref().ok_or_else(in_bytes)?;
                predictor.token_end().reset_warm(ends, before + len);
            }
            None => {
                predictor.import_initial(BlockKind::Plain);
                predictor.reset_tables(&lanes, (bits, bits));
                start_ends(predictor, before + len);
            }
        }
        if let Some(reference) = front.reference {
            reference.learn(predictor, stop)?;
        }
        predictor.start_model(len);
        let weights = InitialWeights::builtin(BlockKind::Modelled);
        let mut joint = Mixing::new();
        joint.mixer.import(weights.rules.mixers, &weights.sets);
        joint.final_map.import(&weights.final_map);
        Ok(Combined {
            dispatch: predictor.dispatch(),
            predictor,
            joint,
            combination: Combination::new(len),
        })
    }
}

impl DecisionModel for Combined<'_> {
    fn predict(&mut self, lane: usize, lm: u32) -> u32 {
        self.dispatch.run_whole(Predict(self, lane, lm))
    }

    fn update(&mut self, lane: usize, bit: bool) {
        self.dispatch.run_whole(Update(self, lane, bit));
    }

    fn skip(&mut self, lane: usize, bit: bool) {
        self.predictor.skip(lane, bit);
    }

    fn predict_end(&mut self, lane: usize, rank: u32, lm: u32) -> u32 {
        let alone = self.predictor.predict_end(lane, rank, NOTHING);
        self.dispatch.run_whole(PredictEnd(self, lane, rank, lm, alone))
    }

    fn update_end(&mut self, lane: usize, end: bool) {
        self.dispatch.run_whole(UpdateEnd(self, end));
        self.predictor.update_end(lane, end);
    }

    fn token(&mut self, lane: usize) {
        self.predictor.token(lane);
    }
}

struct Predict<'a, 'b>(&'a mut Combined<'b>, usize, u32);

impl WholeTask for Predict<'_, '_> {
    type Output = u32;
    #[inline(always)]
    fn run<S: Whole>(self, v: S) -> u32 {
        let Predict(me, lane, language_model) = self;
        let alone = me.predictor.predict_with(v, lane, None);
        let (joint, refined) = me.predictor.predict_jointly(v, lane, language_model, &mut me.joint);
        let predictions = Predictions {
            language_model,
            alone,
            joint,
        };
        let at = me.predictor.situation(lane);
        me.combination.predict(v, predictions, refined, &at)
    }
}

struct Update<'a, 'b>(&'a mut Combined<'b>, usize, bool);

impl WholeTask for Update<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Whole>(self, v: S) {
        let Update(me, lane, bit) = self;
        me.combination.update(v, bit);
        me.joint.update_mixer(v, bit, Rules::of(BlockKind::Modelled));
        me.joint.update_final_map(bit);
        me.predictor.update_with(v, lane, bit);
    }
}

struct PredictEnd<'a, 'b>(&'a mut Combined<'b>, usize, u32, u32, u32);

impl WholeTask for PredictEnd<'_, '_> {
    type Output = u32;
    #[inline(always)]
    fn run<S: Whole>(self, v: S) -> u32 {
        let PredictEnd(me, lane, rank, lm, alone) = self;
        let match_class = me.predictor.situation(lane).match_class;
        me.combination.predict_end(v, lm, alone, rank, match_class)
    }
}

struct UpdateEnd<'a, 'b>(&'a mut Combined<'b>, bool);

impl WholeTask for UpdateEnd<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Whole>(self, v: S) {
        self.0.combination.update_end(v, self.1);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use crate::entropy::range_coder::{Coder, Decoder, Encoder};

    /// Rows of a table, from number `from` on.
    fn rows(from: u32, len: usize) -> Vec<u8> {
        let row = |i: u32| {
            format!(
                "{i},{},{}\n",
                i * 7919 % 613,
                ["the one", "the other", "a third"][i as usize % 3]
            )
        };
        (from..).flat_map(|i| row(i).into_bytes()).take(len).collect()
    }

    struct Tokens {
        vocabulary: Vocabulary,
        tree: TokenTree,
        flat: Frequencies,
    }

    impl Tokens {
        /// All bytes and some pairs of them.
        fn new() -> Tokens {
            let pairs = [&b"th"[..], b"he", b"the", b",1", b"e ", b"\n1"];
            let bytes = (0..=255).map(|byte| vec![byte]);
            let tokens: Vec<Vec<u8>> = bytes.chain(pairs.map(<[u8]>::to_vec)).collect();
            let vocabulary = Vocabulary::new(&tokens, None).unwrap();
            let mut flat = Frequencies::new(&vocabulary);
            // Nothing but what a language model might say: some tokens are likelier than others.
            let logits: Vec<f32> = (0..vocabulary.sorted().len()).map(|i| (i % 5) as f32).collect();
            flat.set_ranked(&logits);
            Tokens {
                tree: TokenTree::new(&vocabulary),
                vocabulary,
                flat,
            }
        }

        fn cut(&self, text: &[u8]) -> Vec<Token> {
            let mut tokens = Vec::new();
            let mut rest = text;
            while !rest.is_empty() {
                let longest = self.vocabulary.sorted().iter().filter(|&&token| {
                    let bytes = self.vocabulary.bytes(token);
                    rest.starts_with(bytes)
                });
                let token = *longest
                    .max_by_key(|&&token| self.vocabulary.bytes(token).len())
                    .unwrap();
                rest = &rest[self.vocabulary.bytes(token).len()..];
                tokens.push(token);
            }
            tokens
        }

        fn tokenized<'a>(&'a self, tokens: &'a [Token]) -> Tokenized<'a> {
            Tokenized {
                vocabulary: &self.vocabulary,
                tree: &self.tree,
                tokens,
            }
        }

        /// Codes lanes by turns; an encoder is given their tokens.
        fn code<C: Coder>(
            &self,
            coder: &mut C,
            combined: &mut Combined<'_>,
            lens: &[usize],
            known: &[Vec<Token>],
        ) -> Vec<Vec<Token>> {
            let mut coded = vec![Vec::new(); lens.len()];
            let mut left = lens.to_vec();
            while left.iter().any(|left| *left > 0) {
                for lane in (0..lens.len()).filter(|lane| left[*lane] > 0).collect::<Vec<_>>() {
                    let next = known.get(lane).and_then(|known| known.get(coded[lane].len()));
                    let place = Place { lane, left: left[lane] };
                    let token = next.copied().unwrap_or_default();
                    let token = self
                        .tree
                        .code(&self.vocabulary, &self.flat, coder, combined, place, token)
                        .unwrap();
                    left[lane] -= self.vocabulary.bytes(token).len();
                    coded[lane].push(token);
                }
            }
            coded
        }
    }

    /// Golden: the bits of several lanes, of tables that grow behind a dictionary, and of all vectors.
    #[test]
    fn lanes_behind_a_dictionary_and_a_reference_stay_the_same() {
        let tokens = Tokens::new();
        let stop = Stop::new();
        let (dictionary, reference) = (tokens.cut(&rows(0, 3000)), tokens.cut(&rows(500, 5000)));
        let raw = rows(300, 21_000);
        let lens = [12_000, 4000, 5000];
        let known = [&raw[..12_000], &raw[12_000..16_000], &raw[16_000..]].map(|text| tokens.cut(text));
        let mut results = Vec::new();
        for dispatch in Dispatch::all() {
            let mut predictor = Predictor::new();
            predictor.set_dispatch(dispatch);
            let warm = WarmState::learn_tokens(&mut predictor, &tokens.tokenized(&dictionary), &stop).unwrap();
            for front in [
                TokenFront {
                    dictionary: Some(&warm),
                    reference: None,
                },
                TokenFront {
                    dictionary: None,
                    reference: Some(tokens.tokenized(&reference)),
                },
                TokenFront {
                    dictionary: Some(&warm),
                    reference: Some(tokens.tokenized(&reference)),
                },
            ] {
                let mut encoder = Encoder::new(Vec::new());
                // What a predictor did before has no influence.
                let mut used = Predictor::new();
                used.set_dispatch(dispatch);
                used.reset(&[700, 900], true);
                let mut combined = Combined::start(&mut used, front, &lens, &stop).unwrap();
                tokens.code(&mut encoder, &mut combined, &lens, &known);
                let stream = encoder.finish();
                let mut combined = Combined::start(&mut predictor, front, &lens, &stop).unwrap();
                let mut decoder = Decoder::new(&stream);
                assert_eq!(tokens.code(&mut decoder, &mut combined, &lens, &[]), known);
                decoder.finish().unwrap();
                results.push((stream.len(), crc32fast::hash(&stream)));
            }
        }
        for result in results.chunks(3) {
            assert_eq!(result, GOLDEN);
        }
    }

    const GOLDEN: [(usize, u32); 3] = [(856, 2_167_829_471), (711, 3_122_678_905), (696, 1_414_582_659)];
}
