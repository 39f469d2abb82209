//! Compression run backwards: what a compressor would find cheap to code is what it expects, and expecting is enough to
//! write (section 3.4 of the paper).
//!
//! A predictor of lmfs gives its distribution itself: an arithmetic decoder that reads fair coin flips draws from it.
//! Of any other compressor only lengths are known: bytes that make its output `n` bits longer have probability `2^-n`.

mod general;
mod material;
mod predicted;
mod sampler;

use lmfs_codec::Stop;

use crate::eval::Fault;

pub use general::{General, Way};
pub use material::Material;
pub use predicted::Predicted;
pub use sampler::Sampler;

/// Writes on after a prompt.
pub trait Writer {
    /// `len` bytes that may follow `prompt`. `more` hears of how many there are so far.
    ///
    /// # Errors
    /// What the compressor reports; a stop.
    fn write(
        &mut self,
        prompt: &[u8],
        len: usize,
        sampler: &mut Sampler,
        more: &mut dyn FnMut(usize),
        stop: &Stop,
    ) -> Result<Vec<u8>, Fault>;
}

#[cfg(test)]
mod tests;
