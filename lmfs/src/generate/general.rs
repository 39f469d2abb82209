//! Drawing from a compressor of which nothing is known but lengths.

use std::collections::BTreeSet;

use lmfs_codec::Stop;
use rayon::prelude::*;

use super::Writer;
use super::sampler::Sampler;
use crate::eval::{Fault, Gzip, Xz, Zstd};

/// Which compressor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `gzip -9`
    Gzip,
    /// `zstd -19`
    Zstd,
    /// `xz -9e`
    Lzma,
}

impl Way {
    /// The bits of what it makes of `text`: whole bytes.
    fn bits(self, text: &[u8]) -> Result<f64, Fault> {
        let packed = match self {
            Way::Gzip => Gzip::pack(text)?,
            Way::Zstd => Zstd::pack(text)?,
            Way::Lzma => Xz::pack(text)?,
        };
        Ok(packed.len() as f64 * 8.0)
    }
}

/// A compressor, asked for every candidate.
pub struct General {
    way: Way,
    step: usize,
}

/// Bytes of context that are compressed with each candidate. All of the time goes there.
const CONTEXT: usize = 64 << 10;

/// Most candidates of several bytes.
const CANDIDATES: usize = 2048;

impl General {
    /// Draws `step` bytes at a time. One byte hardly changes a length in whole bytes, and several do. Candidates of
    /// several bytes are those that stand somewhere in the text.
    #[must_use]
    pub fn new(way: Way, step: usize) -> General {
        General { way, step }
    }

    /// What may come next, and the bits that each makes the output longer.
    ///
    /// # Errors
    /// What the compressor reports; a stop.
    pub fn candidates(&self, text: &[u8], stop: &Stop) -> Result<(Vec<Vec<u8>>, Vec<f64>), Fault> {
        let context = text.get(text.len().saturating_sub(CONTEXT)..).unwrap_or_default();
        let several: BTreeSet<&[u8]> = match self.step {
            0 | 1 => BTreeSet::new(),
            step => context.windows(step).rev().take(CANDIDATES).collect(),
        };
        let mut candidates: Vec<Vec<u8>> = several.into_iter().map(<[u8]>::to_vec).collect();
        if candidates.is_empty() {
            candidates = (0..=255).map(|byte| vec![byte]).collect();
        }
        let before = self.way.bits(context)?;
        let bits: Result<Vec<f64>, Fault> = candidates
            .par_iter()
            .map(|candidate| {
                stop.check()?;
                Ok(self.way.bits(&[context, candidate].concat())? - before)
            })
            .collect();
        Ok((candidates, bits?))
    }
}

impl Writer for General {
    fn write(
        &mut self,
        prompt: &[u8],
        len: usize,
        sampler: &mut Sampler,
        more: &mut dyn FnMut(usize),
        stop: &Stop,
    ) -> Result<Vec<u8>, Fault> {
        let mut text = prompt.to_vec();
        let wanted = prompt.len().saturating_add(len);
        while text.len() < wanted {
            let (candidates, bits) = self.candidates(&text, stop)?;
            let chosen = candidates.get(sampler.choose(&bits)).ok_or("there is no candidate")?;
            text.extend_from_slice(chosen);
            more((text.len() - prompt.len()).min(len));
        }
        text.truncate(wanted);
        Ok(text.split_off(prompt.len()))
    }
}
