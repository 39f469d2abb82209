//! The state of a predictor after a dictionary: where a block starts that names it.
//!
//! A warm state is immutable and shared by all threads. A block starts from a copy of its history table, which is an
//! eighth of the size that a block of the dictionary's length would have, so that copying it takes a small part of the
//! time that decoding a block takes. The histories lose little by it. The places of the match model are not copied: a
//! block reads them behind its own.
//!
//! A reference differs from block to block, so nothing of it is kept. It is learned anew in front of each block.

use super::byte_coder::{code_bytes, damaged};
use super::context_models::WarmContexts;
use super::layout::BlockKind;
use super::match_model::WarmMatches;
use super::mixing::WarmMixing;
use super::predictor::{Predictor, block_bits};
use super::token_end::WarmEnds;
use crate::entropy::range_coder::{Coder, Decoder, Encoder};
use crate::{Error, MAX_BLOCK, Result, Stop};

/// What a predictor knows after a dictionary.
pub struct WarmState {
    pub(super) text: Vec<u8>,
    pub(super) contexts: WarmContexts,
    pub(super) matches: WarmMatches,
    pub(super) mixing: WarmMixing,
    /// Only of one that was learned token by token.
    pub(super) ends: Option<WarmEnds>,
}

impl std::fmt::Debug for WarmState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "WarmState({} bytes of text, {} in all)",
            self.text.len(),
            self.bytes()
        )
    }
}

/// What a block is coded behind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Front<'a> {
    /// The block starts with what was learned of this.
    pub dictionary: Option<&'a WarmState>,
    /// Bytes that it resembles, at most as many as a block has; none if empty. They are learned in front of the block,
    /// which takes as long as coding them.
    pub reference: &'a [u8],
}

impl<'a> From<&'a WarmState> for Front<'a> {
    /// Behind a dictionary alone.
    fn from(state: &'a WarmState) -> Front<'a> {
        Front {
            dictionary: Some(state),
            reference: &[],
        }
    }
}

/// Takes every bit as it is: for learning without coding.
pub(super) struct Known;

impl Coder for Known {
    #[inline(always)]
    fn code(&mut self, bit: bool, _: u32) -> bool {
        bit
    }
}

impl WarmState {
    /// Reads a dictionary's text.
    ///
    /// # Errors
    /// [`Error::Interrupted`](crate::Error::Interrupted).
    pub fn learn(predictor: &mut Predictor, text: &[u8], stop: &Stop) -> Result<WarmState> {
        Self::code(predictor, &mut Known, text, text.len(), stop)
    }

    /// Like [`learn`](Self::learn), and compresses the text on the way.
    ///
    /// # Errors
    /// [`Error::Interrupted`](crate::Error::Interrupted).
    pub fn compress(predictor: &mut Predictor, text: &[u8], stop: &Stop) -> Result<(WarmState, Vec<u8>)> {
        let mut encoder = Encoder::new(Vec::new());
        let state = Self::code(predictor, &mut encoder, text, text.len(), stop)?;
        Ok((state, encoder.finish()))
    }

    /// Decompresses what [`compress`](Self::compress) made of `len` bytes and learns it, which takes no longer than
    /// learning alone.
    ///
    /// # Errors
    /// [`Error::Damaged`](crate::Error::Damaged); [`Error::Interrupted`](crate::Error::Interrupted).
    pub fn decompress(predictor: &mut Predictor, stream: &[u8], len: usize, stop: &Stop) -> Result<WarmState> {
        let mut decoder = Decoder::new(stream);
        let state = Self::code(predictor, &mut decoder, &[], len, stop)?;
        decoder.finish().map_err(damaged)?;
        Ok(state)
    }

    fn code<C: Coder>(
        predictor: &mut Predictor,
        coder: &mut C,
        text: &[u8],
        len: usize,
        stop: &Stop,
    ) -> Result<WarmState> {
        predictor.reset_for_dictionary(len);
        code_bytes(predictor, coder, text, len, stop)?;
        Ok(predictor.freeze())
    }

    /// The dictionary.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Bytes of memory that it takes.
    pub fn bytes(&self) -> usize {
        let ends = self.ends.as_ref().map_or(0, WarmEnds::bytes);
        let parts = self.contexts.bytes() + self.matches.bytes() + self.mixing.bytes();
        self.text.len() + parts + ends
    }
}

/// A dictionary that is coded in parts, each a stream of its own, while what was learned of one serves the next.
pub struct Growing {
    predictor: Predictor,
    len: usize,
    done: usize,
}

impl std::fmt::Debug for Growing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Growing({} of {} bytes)", self.done, self.len)
    }
}

impl Growing {
    /// Nothing yet of a dictionary of `len` bytes.
    pub fn new(len: usize) -> Growing {
        let mut predictor = Predictor::new();
        predictor.reset_for_dictionary(len);
        Growing {
            predictor,
            len,
            done: 0,
        }
    }

    /// Whether all of it was coded.
    pub fn is_complete(&self) -> bool {
        self.done == self.len
    }

    /// Compresses the next part. After an error nothing more can be coded.
    ///
    /// # Errors
    /// [`Error::Interrupted`](crate::Error::Interrupted); [`Error::InvalidOption`](crate::Error::InvalidOption) for
    /// more bytes than are still to come.
    pub fn encode(&mut self, part: &[u8], stop: &Stop) -> Result<Vec<u8>> {
        let mut encoder = Encoder::new(Vec::new());
        self.code(&mut encoder, part, part.len(), stop)?;
        Ok(encoder.finish())
    }

    /// Decompresses what [`encode`](Self::encode) made of a part of `len` bytes. After an error nothing more can be
    /// coded.
    ///
    /// # Errors
    /// As of [`encode`](Self::encode); [`Error::Damaged`](crate::Error::Damaged).
    pub fn decode(&mut self, stream: &[u8], len: usize, stop: &Stop) -> Result<&[u8]> {
        let mut decoder = Decoder::new(stream);
        let start = self.done;
        self.code(&mut decoder, &[], len, stop)?;
        decoder.finish().map_err(damaged)?;
        Ok(self.predictor.known().get(start..).unwrap_or_default())
    }

    fn code<C: Coder>(&mut self, coder: &mut C, part: &[u8], len: usize, stop: &Stop) -> Result<()> {
        let done = self.done.checked_add(len).filter(|done| *done <= self.len);
        let done = done.ok_or_else(|| {
            let (left, len) = (self.len - self.done, len);
            Error::InvalidOption(format!("a part of {len} bytes where a dictionary has {left} more"))
        })?;
        code_bytes(&mut self.predictor, coder, part, len, stop)?;
        self.done = done;
        Ok(())
    }

    /// The state after all parts; `None` if some are missing.
    pub fn finish(mut self) -> Option<WarmState> {
        self.is_complete().then(|| self.predictor.freeze())
    }
}

/// Binary logarithm of the lines of a dictionary's history table, and of the places of its match model.
pub(super) fn table_bits(len: usize) -> (u32, u32) {
    let bits = usize::BITS - len.leading_zeros();
    (
        (bits.saturating_sub(TABLE_SHARE)).max(MIN_TABLE_BITS),
        bits.max(MIN_TABLE_BITS),
    )
}

/// Binary logarithm of how many times smaller the history table is than that of a block of this length.
const TABLE_SHARE: u32 = 3;
/// The smallest table, as that of a block.
const MIN_TABLE_BITS: u32 = 11;

impl Predictor {
    /// Prepares for reading a dictionary of `len` bytes.
    pub(super) fn reset_for_dictionary(&mut self, len: usize) {
        self.import_initial(BlockKind::Plain);
        // Small tables, because every block behind this dictionary copies them.
        self.reset_tables(&[len], table_bits(len));
    }

    /// Takes out what was learned, after the last byte of a dictionary.
    pub(super) fn freeze(&mut self) -> WarmState {
        WarmState {
            text: self.take_all(),
            contexts: self.contexts.freeze(),
            matches: self.matches.freeze(),
            mixing: self.mixing.freeze(self.rules),
            ends: None,
        }
    }

    /// Prepares for a block of `len` bytes that has these in front of it, and learns the reference: the block's lane
    /// begins with it.
    pub(super) fn start_behind(&mut self, front: Front<'_>, len: usize, stop: &Stop) -> Result<()> {
        let lane = [front.reference.len() + len];
        // Tables larger than those of the largest block would take more memory than they save bytes.
        let bits = block_bits(lane[0].min(MAX_BLOCK));
        match front.dictionary {
            Some(warm) => {
                self.set_rules(BlockKind::Plain);
                self.start_block(&warm.text, &lane);
                self.contexts.reset_warm(&warm.contexts, bits, 1);
                self.matches.reset_warm(&warm.matches, bits, 1);
                self.mixing.reset_warm(&warm.mixing);
            }
            None => {
                self.import_initial(BlockKind::Plain);
                self.reset_tables(&lane, (bits, bits));
            }
        }
        code_bytes(self, &mut Known, front.reference, front.reference.len(), stop)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::mix::{decode_behind, encode_behind};

    /// Golden: the largest block behind the largest reference. The size of its tables is part of the format, and it is
    /// not what the lengths of other lanes lead to.
    #[test]
    fn the_largest_block_behind_the_largest_reference_stays_the_same() {
        let mut state = 1_u32;
        let words = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16).to_string().into_bytes()
        });
        let text: Vec<u8> = words.flatten().take(2 * MAX_BLOCK).collect();
        let (reference, raw) = text.split_at(MAX_BLOCK);
        let front = Front {
            dictionary: None,
            reference,
        };
        let (mut predictor, stop) = (Predictor::new(), Stop::new());
        let stream = encode_behind(&mut predictor, front, raw, &stop).unwrap();
        assert_eq!((stream.len(), crc32fast::hash(&stream)), (433_911, 941_373_014));
        let decoded = decode_behind(&mut predictor, front, &stream, raw.len(), &stop).unwrap();
        assert!(decoded == raw);
    }
}
