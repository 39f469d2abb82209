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
mod ends;
mod history;
mod learned;
mod maps;
mod matching;
mod math;
mod mixer;
mod predictor;
mod slots;

pub use predictor::Predictor;

use crate::coder::{Coder, Decoder, Encoder, StreamEnd};

/// Version of everything that decides a predicted bit. It is part of a block's parameters.
pub const VERSION: u8 = 1;

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
