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
mod shape;
mod slots;
mod sound;

pub use predictor::Predictor;
pub use shape::Shape;

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

/// Bytes on which shapes are tried.
const TRIAL: usize = 8192;

/// Codes a block without a language model.
pub fn encode(predictor: &mut Predictor, raw: &[u8]) -> Vec<u8> {
    let candidates = Shape::candidates(raw);
    let shape = match candidates.as_slice() {
        [only] => *only,
        several => {
            let middle = raw.len().saturating_sub(TRIAL) / 2;
            let sample = raw.get(middle & !3..).and_then(|rest| rest.get(..TRIAL)).unwrap_or(raw);
            let cost = |shape: &&Shape| encode_as(predictor, sample, **shape).len();
            several.iter().min_by_key(cost).copied().unwrap_or_default()
        }
    };
    encode_as(predictor, raw, shape)
}

/// Codes a block without a language model, its shape given.
pub fn encode_as(predictor: &mut Predictor, raw: &[u8], shape: Shape) -> Vec<u8> {
    let folded;
    let bytes = match shape {
        Shape::Sound(channels) => {
            folded = sound::forward(raw, usize::from(channels));
            &folded
        }
        _ => raw,
    };
    predictor.reset_as(&[raw.len()], false, shape);
    let mut coder = Encoder::new(shape.to_bytes());
    code_bytes(predictor, &mut coder, bytes, raw.len());
    coder.finish()
}

/// Decodes what [`encode`] made of `len` bytes. Damage that the stream's length does not show yields wrong bytes.
pub fn decode(predictor: &mut Predictor, payload: &[u8], len: usize) -> Result<Vec<u8>, StreamEnd> {
    let Some((shape, stream)) = Shape::parse(payload) else {
        return Err(StreamEnd::Short { len: payload.len(), needed: payload.len() + 1 });
    };
    predictor.reset_as(&[len], false, shape);
    let mut coder = Decoder::new(stream);
    code_bytes(predictor, &mut coder, &[], len);
    coder.finish()?;
    let bytes = predictor.take();
    Ok(match shape {
        Shape::Sound(channels) => sound::inverse(bytes, usize::from(channels)),
        _ => bytes,
    })
}
