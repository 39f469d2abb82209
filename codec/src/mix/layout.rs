//! The shape of the mixer in one place: inputs, weight sets, rates and hash salts. docs/FORMAT.md has the same tables.

use crate::simd::WAYS;

/// Contexts whose bit histories are kept.
pub(super) const CONTEXTS: usize = 9;

/// Inputs of the mixer that the files of initial weights know: two of each context and seven more, which
/// [`Inputs`](super::inputs::Inputs) names.
pub(super) const INPUTS: usize = 2 * CONTEXTS + 7;
/// Their places in two vectors, which begin with those of the contexts and end with these.
pub(super) const LANGUAGE_MODEL: [usize; 2] = [WAYS - 4, 2 * WAYS - 4];
/// Where other inputs than those of the contexts begin in either vector; the first ones are of samples, or of numerals.
pub(super) const OTHERS: usize = CONTEXTS;
pub(super) const SAMPLES_ALONE: usize = WAYS - 4 - CONTEXTS;
/// What a numeral was printed from, in the first place of samples.
pub(super) const PRINTED: usize = OTHERS;
const MATCH: [usize; 2] = [WAYS - 3, 2 * WAYS - 3];
const CONSTANT: usize = WAYS - 2;
pub(super) const EXTRA: [usize; 2] = [WAYS - 1, 2 * WAYS - 1];

/// Predictions of a number (`samples.rs`): two solutions of least squares, two of fixed rules,
/// and their average.
pub(super) const MEANS: usize = 5;
/// Distributions of a number: each mean with the scale of what is nearby, and with that of a longer past.
pub(super) const DISTRIBUTIONS: usize = 2 * MEANS;

/// The places of the inputs in the order of the files of initial weights: language model, contexts stretched, contexts
/// linear, match, constant, extra.
pub(super) const STORED_ORDER: [usize; INPUTS] = {
    let mut places = [0; INPUTS];
    let mut i = 0;
    while i < CONTEXTS {
        places[2 + i] = i;
        places[2 + CONTEXTS + i] = WAYS + i;
        i += 1;
    }
    [places[0], places[1]] = LANGUAGE_MODEL;
    [places[INPUTS - 5], places[INPUTS - 4]] = MATCH;
    places[INPUTS - 3] = CONSTANT;
    [places[INPUTS - 2], places[INPUTS - 1]] = EXTRA;
    places
};

/// The value of the constant input: one, in units of 1/256.
pub(super) const ONE: i32 = 256;

/// Classes of the language model's confidence, of the match's length, and bits of a byte: all from 0 to 7.
const EIGHT: u32 = 8;
/// How many of four contexts are known: 0 to 4, in a range of its own.
const KNOWN_ORDERS: u32 = 5;

/// How many sets the first `used` selectors have.
pub(super) const fn sum(sizes: &[u32], used: usize) -> usize {
    let (mut sum, mut i) = (0, 0);
    while i < used {
        sum += sizes[i] as usize;
        i += 1;
    }
    sum
}

/// The weight sets that apply, one of each selector. Without a language model there are [`MIXERS_ALONE`] of them.
#[derive(Clone, Copy)]
pub(super) struct WeightSets {
    /// Confidence of the language model, or without one the class of the numeral, and length of the match.
    pub(super) confidence_and_match: u32,
    /// The bits of the byte so far, behind a leading one.
    pub(super) partial_byte: u32,
    /// How many of the contexts 1 to 4 are known, and the number of the bit.
    pub(super) known_orders: u32,
    /// The byte before. With a language model: bytes of the token so far, confidence, and number of the bit.
    pub(super) byte_or_token: u32,
    /// The byte before. With a stride: the lowest eight bits of the column.
    pub(super) byte_before_or_column: u32,
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
            self.byte_before_or_column,
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

/// Selectors of weight sets with a language model, and without.
pub(super) const MIXERS: usize = 8;
pub(super) const MIXERS_ALONE: usize = 4;
pub(super) const MIXERS_STRIDED: usize = 5;
/// Binary logarithm of the contexts of the final map, which are hashes of the byte before with the bits so far.
pub(super) const FINAL_MAP_BITS: u32 = 10;

/// What is known of a block before its first byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockKind {
    /// Nothing: text, code, whatever.
    Plain,
    /// Its records or rows have a length.
    Strided,
    /// A language model predicts it.
    Modelled,
}

/// What differs between kinds of blocks.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    pub(super) kind: BlockKind,
    /// Selectors in use: the first of [`WeightSets::SIZES`].
    pub(super) mixers: usize,
    /// Those with initial weights. Columns mean something else in every block, so their weights start at zero.
    trained: usize,
    /// Learning rate of the mixer, in units of 1/65536.
    pub(super) rate: i32,
}

impl Rules {
    pub(super) const fn of(kind: BlockKind) -> Rules {
        let (mixers, trained, rate) = match kind {
            BlockKind::Plain => (MIXERS_ALONE, MIXERS_ALONE, 55),
            BlockKind::Strided => (MIXERS_STRIDED, MIXERS_ALONE, 110),
            BlockKind::Modelled => (MIXERS, MIXERS, 20),
        };
        Rules {
            kind,
            mixers,
            trained,
            rate,
        }
    }

    /// How many sets have initial weights.
    pub(super) const fn trained_sets(self) -> usize {
        sum(&WeightSets::SIZES, self.trained)
    }

    /// Those for samples.
    pub(super) const fn with_samples(self) -> Rules {
        Rules { rate: 60, ..self }
    }
}

/// Binary logarithms of how many bits each kind of adaptive probability looks back on.
pub(super) const STATE_MAP_RATE: u32 = 7;
/// The maps of histories learn from one bit in so many.
pub(super) const STATE_MAP_STEP: u32 = 3;
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
    /// Of context i of a block of samples: plus i.
    pub(in crate::mix) const SAMPLES: u64 = 300;
    /// Of column key i: plus i.
    pub(in crate::mix) const COLUMN: u64 = 401;
}
