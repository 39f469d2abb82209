//! The shape of the mixer in one place: inputs, weight sets, rates and hash salts. docs/FORMAT.md has the same tables.

use super::context::CONTEXTS;
use crate::simd::WAYS;

/// Inputs of the mixer, in two vectors: [`Inputs`](super::inputs::Inputs) names them.
pub(super) const INPUTS: usize = 2 * WAYS;
/// The first places behind those of the contexts, in either vector.
pub(super) const LANGUAGE_MODEL: usize = CONTEXTS;
pub(super) const MATCH: usize = CONTEXTS + 2;
pub(super) const ORDER1: usize = WAYS + CONTEXTS;
pub(super) const CONSTANT: usize = ORDER1 + 1;
pub(super) const EXTRA: usize = ORDER1 + 2;

/// The order of the inputs in the files of initial weights: language model, contexts stretched, contexts linear, match,
/// order 1, constant, extra.
pub(super) const STORED_ORDER: [usize; INPUTS] = {
    const STRETCHED: usize = 2;
    const LINEAR: usize = STRETCHED + CONTEXTS;
    const MATCHED: usize = LINEAR + CONTEXTS;
    let mut places = [0; INPUTS];
    let mut i = 0;
    while i < INPUTS {
        places[i] = if i < STRETCHED {
            LANGUAGE_MODEL + i
        } else if i < LINEAR {
            i - STRETCHED
        } else if i < MATCHED {
            WAYS + i - LINEAR
        } else if i < ORDER1 {
            MATCH + i - MATCHED
        } else {
            i
        };
        i += 1;
    }
    places
};

/// The value of the constant input: one, in units of 1/256.
pub(super) const ONE: i32 = 256;

/// Classes of the language model's confidence, of the match's length, and bits of a byte: all from 0 to 7.
const EIGHT: u32 = 8;
/// How many of the orders 2 to 6 are known: 0 to 5, in a range of its own.
const KNOWN_ORDERS: u32 = 6;

/// The weight sets that the first-layer mixers choose from, one choice each. Without a language model there are
/// [`MIXERS_ALONE`] of them.
#[derive(Clone, Copy)]
pub(super) struct WeightSets {
    /// Confidence of the language model (0 without one) and length of the match.
    pub(super) confidence_and_match: u32,
    /// The bits of the byte so far, behind a leading one.
    pub(super) partial_byte: u32,
    /// How many of the orders 2 to 6 are known, and the number of the bit.
    pub(super) known_orders: u32,
    /// The byte before. With a language model: bytes of the token so far, confidence, and number of the bit.
    pub(super) byte_or_token: u32,
    /// The byte before.
    pub(super) byte_before: u32,
    /// The byte before that.
    pub(super) second_byte_before: u32,
    /// The byte that the match predicts, 0 without one.
    pub(super) expected_byte: u32,
    /// Eight bits of the hash of the token before.
    pub(super) token_before: u32,
}

impl WeightSets {
    /// How many sets there are to choose from, in the order of the fields.
    pub(super) const SIZES: [u32; MIXERS] = [EIGHT * EIGHT, 256, KNOWN_ORDERS * EIGHT, 512, 256, 256, 256, 256];

    #[inline(always)]
    pub(super) fn to_array(self) -> [u32; MIXERS] {
        [
            self.confidence_and_match,
            self.partial_byte,
            self.known_orders,
            self.byte_or_token,
            self.byte_before,
            self.second_byte_before,
            self.expected_byte,
            self.token_before,
        ]
    }
}

/// A number for two that are below eight.
#[inline(always)]
pub(super) fn pair(high: u32, low: u32) -> u32 {
    high * EIGHT + low
}

/// First-layer mixers with a language model, and without.
pub(super) const MIXERS: usize = 8;
pub(super) const MIXERS_ALONE: usize = 4;
/// Final mixers with a language model, and without.
pub(super) const FINAL_MIXERS: usize = 2;
pub(super) const FINAL_MIXERS_ALONE: usize = 1;
/// Weight sets of the final mixers: [`confidence_and_match`](WeightSets::confidence_and_match),
/// [`partial_byte`](WeightSets::partial_byte).
pub(super) const FINAL_SETS: [u32; FINAL_MIXERS] = [EIGHT * EIGHT, 256];
/// Contexts of the two final maps: match length with the bits so far; hash of the byte before with the bits so far.
pub(super) const FINAL_MAPS: [u32; 2] = [1 << 11, 1 << FINAL_MAP_BITS];
pub(super) const FINAL_MAP_BITS: u32 = 10;

/// What differs between blocks with and without a language model.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    pub(super) language_model: bool,
    /// Mixers in use: the first of [`WeightSets::SIZES`] and of [`FINAL_SETS`].
    pub(super) mixers: usize,
    pub(super) final_mixers: usize,
    /// Learning rate of the first layer, in units of 1/65536.
    pub(super) rate: i32,
}

impl Rules {
    pub(super) const fn of(language_model: bool) -> Rules {
        if language_model {
            Rules {
                language_model,
                mixers: MIXERS,
                final_mixers: FINAL_MIXERS,
                rate: 250,
            }
        } else {
            Rules {
                language_model,
                mixers: MIXERS_ALONE,
                final_mixers: FINAL_MIXERS_ALONE,
                rate: 400,
            }
        }
    }
}

/// Learning rate of the final mixers, in units of 1/65536.
pub(super) const FINAL_RATE: i32 = 80;
/// Binary logarithms of how many bits each kind of adaptive probability looks back on.
pub(super) const STATE_MAP_RATE: u32 = 8;
pub(super) const ORDER1_RATE: u32 = 5;
pub(super) const FINAL_MAP_RATE: u32 = 6;
pub(super) const MATCH_RATE: u32 = 6;
pub(super) const SSE_RATE: u32 = 5;

/// What keeps the hashes of different uses apart.
pub(super) mod salt {
    /// Of context i: plus i.
    pub(in crate::mix) const CONTEXT: u64 = 1;
    /// Of context i at the start of a token or lane: plus i.
    pub(in crate::mix) const CONTEXT_AT_START: u64 = 65;
    pub(in crate::mix) const FINAL_MAP: u64 = 9;
    pub(in crate::mix) const SSE_TOKEN: u64 = 12;
    pub(in crate::mix) const SSE_BYTES: u64 = 13;
    pub(in crate::mix) const MATCH: u64 = 77;
    /// Of end context i: plus i.
    pub(in crate::mix) const TOKEN_END: u64 = 100;
    pub(in crate::mix) const TOKEN_END_SSE: u64 = 105;
    /// Of template i: plus i.
    pub(in crate::mix) const PIXELS: u64 = 200;
}
