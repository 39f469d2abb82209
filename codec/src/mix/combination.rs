//! Behind a dictionary or a reference two predictions of every decision are combined with the language model's.
//!
//! One is that of the adaptive models alone, whose mixer has learned all that is in front of the block. The other is of
//! all models together, by a mixer that starts with the built-in weights. The first is better where the block repeats
//! what is in front of it, the second where it does not, and a small mixer learns where that is.

use super::block::ByteState;
use super::layout::{ONE, pair, salt};
use super::math::{confidence, hash, level, linear, stretch};
use super::mixer::{Mixer, Set, WEIGHT_BITS};
use super::sse_input::SseInput;
use super::token_end::LEAST;
use crate::simd::WAYS;
use crate::simd::whole::Whole;

/// Weight sets of bits: confidence of the language model and of the adaptive models; place in the token, confidence and
/// number of the bit; known orders and match; bits so far; expected byte.
const SETS: [u32; 5] = [8 * 8, 4 * 8 * 8, 5 * 8, 256, 256];
/// Weight sets of ends of tokens: what the adaptive models say, with the language model's confidence; what the language
/// model says, with the match.
const END_SETS: [u32; 2] = [16 * 8, 16 * 3];
/// Learning rates, in units of 1/65536.
const RATE: i32 = 60;
const END_RATE: i32 = 100;
/// Initial weights in tenths: of the language model, the adaptive models and all together.
const SHARES: [i32; 3] = [1, 4, 5];
/// The same for ends, which nothing predicts together.
const END_SHARES: [i32; 2] = [6, 4];

/// What is known of the next bit besides its predictions.
pub(super) struct Situation {
    pub(super) byte: ByteState,
    pub(super) known_orders: u32,
    pub(super) match_class: u32,
    pub(super) expected: u32,
    pub(super) token_len: u32,
}

/// Predictions of a decision, in units of 1/65536.
#[derive(Clone, Copy)]
pub(super) struct Predictions {
    pub(super) language_model: u32,
    /// Of the adaptive models.
    pub(super) alone: u32,
    /// Of all models.
    pub(super) joint: u32,
}

pub(super) struct Combination {
    bits: Mixer<1>,
    ends: Mixer<1>,
    end_sse: SseInput<1>,
}

/// A mixer whose sets all start with these weights, in tenths of one, in the places that are named.
fn mixer(sizes: &[u32], weights: &[(usize, i32)]) -> Mixer<1> {
    let one = (1 << WEIGHT_BITS) / sizes.len() as i32;
    let mut set = Set::ZERO;
    for &(place, tenths) in weights {
        set.flat_mut()[place] = one / 10 * tenths;
    }
    let mut mixer = Mixer::new(sizes);
    mixer.import(sizes.len(), &vec![set; sizes.iter().sum::<u32>() as usize]);
    mixer
}

impl Combination {
    /// For a block of `len` bytes.
    pub(super) fn new(len: usize) -> Self {
        let [language_model, alone, joint] = SHARES;
        let [end_language_model, end_alone] = END_SHARES;
        Combination {
            bits: mixer(&SETS, &[(0, language_model), (2, alone), (4, joint)]),
            ends: mixer(&END_SETS, &[(0, end_language_model), (2, end_alone)]),
            end_sse: SseInput::new(len),
        }
    }

    /// The probability that the next bit is one, in units of 1/65536. `refined`: the language model's prediction,
    /// refined ([`SseInput`]).
    #[inline(always)]
    pub(super) fn predict<S: Whole>(&mut self, v: S, p: Predictions, refined: [i32; 2], at: &Situation) -> u32 {
        let (model, alone) = (stretch(p.language_model), stretch(p.alone));
        let mut inputs = [0; WAYS];
        inputs[..8].copy_from_slice(&[
            model,
            linear(p.language_model as i32),
            alone,
            linear(p.alone as i32),
            stretch(p.joint),
            refined[0],
            refined[1],
            ONE,
        ]);
        let sure = confidence(model);
        let sets = [
            pair(sure, confidence(alone)),
            pair(pair(at.token_len.min(3), sure), at.byte.bits),
            pair(at.known_orders, at.match_class),
            at.byte.partial,
            at.expected,
            0,
            0,
            0,
        ];
        self.bits.predict(v, [v.load_int(&inputs)], &sets).clamp(1, 65535) as u32
    }

    #[inline(always)]
    pub(super) fn update<S: Whole>(&mut self, v: S, bit: bool) {
        self.bits.update(v, bit, RATE);
    }

    /// The probability that the token ends here. `rank` identifies the token so far.
    #[inline(always)]
    pub(super) fn predict_end<S: Whole>(&mut self, v: S, lm: u32, alone: u32, rank: u32, match_class: u32) -> u32 {
        let (model, ends) = (stretch(lm), stretch(alone));
        let refined = self
            .end_sse
            .predict(model, [hash(u64::from(rank) + 1, salt::TOKEN_END_SSE)]);
        let mut inputs = [0; WAYS];
        inputs[..6].copy_from_slice(&[model, linear(lm as i32), ends, linear(alone as i32), refined[0], ONE]);
        let sets = [
            pair(level(ends), confidence(model)),
            level(model) * 3 + match_class.min(2),
            0,
            0,
            0,
            0,
            0,
            0,
        ];
        self.ends
            .predict(v, [v.load_int(&inputs)], &sets)
            .clamp(LEAST, 65536 - LEAST) as u32
    }

    #[inline(always)]
    pub(super) fn update_end<S: Whole>(&mut self, v: S, end: bool) {
        self.ends.update(v, end, END_RATE);
        self.end_sse.update(end);
    }
}
