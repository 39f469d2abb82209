//! Solid heads: blocks that are coded as one text.
//!
//! What the first blocks of a head teach is kept as a state. A further part of the head goes on where that state ends,
//! and the predictor behind it is the state for the next one: whoever decodes a part has learned it. Once the head is
//! complete, its state is where other blocks start, as behind a dictionary.

use super::byte_coder::{code_bytes, damaged};
use super::coding::below;
use super::layout::BlockKind;
use super::predictor::Predictor;
use super::warm::{Known, WarmState, table_bits};
use crate::entropy::range_coder::{Decoder, Encoder};
use crate::{Result, Stop};

impl WarmState {
    /// What the first block of a head teaches: `len` bytes of it and its other blocks together, at most. It begins
    /// behind the dictionary that this block starts behind.
    ///
    /// # Errors
    /// [`Error::Interrupted`](crate::Error::Interrupted).
    pub fn begin_solid(
        predictor: &mut Predictor,
        dictionary: Option<&WarmState>,
        first: &[u8],
        len: usize,
        stop: &Stop,
    ) -> Result<WarmState> {
        match dictionary {
            Some(warm) => predictor.resume(warm, first.len()),
            None => {
                predictor.import_initial(BlockKind::Plain);
                predictor.reset_tables(&[first.len()], table_bits(len));
            }
        }
        code_bytes(predictor, &mut Known, first, first.len(), stop)?;
        Ok(predictor.freeze())
    }
}

/// Codes the next part of a head; `None` as soon as it is clear that the result has `most` bytes or more.
///
/// # Errors
/// [`Error::Interrupted`](crate::Error::Interrupted).
pub fn encode_part(
    predictor: &mut Predictor,
    head: &WarmState,
    raw: &[u8],
    most: usize,
    stop: &Stop,
) -> Result<Option<Vec<u8>>> {
    predictor.resume(head, raw.len());
    below(predictor, Encoder::new(Vec::new()), raw, most, stop)
}

/// Decodes what [`encode_part`] made of `len` bytes, and returns the state behind them. Its text ends with the bytes.
///
/// # Errors
/// [`Error::Damaged`](crate::Error::Damaged); [`Error::Interrupted`](crate::Error::Interrupted).
pub fn decode_part(
    predictor: &mut Predictor,
    head: &WarmState,
    stream: &[u8],
    len: usize,
    stop: &Stop,
) -> Result<WarmState> {
    predictor.resume(head, len);
    let mut decoder = Decoder::new(stream);
    code_bytes(predictor, &mut decoder, &[], len, stop)?;
    decoder.finish().map_err(damaged)?;
    Ok(predictor.freeze())
}

impl Predictor {
    /// Goes on where a state ends, for `len` bytes more.
    fn resume(&mut self, state: &WarmState, len: usize) {
        self.set_rules(BlockKind::Plain);
        self.start_block(&state.text, &[len]);
        self.contexts.resume(&state.contexts);
        self.matches.resume(&state.matches);
        self.mixing.reset_warm(&state.mixing);
    }
}
