//! What a part of a block says about all of it, so that what will not be used is not computed.

use super::behind::Needs;
use super::behind_model::Behind;
use super::engine::Predicting;
use super::solid::{Growth, SolidHead};
use super::{Method, Options, route};
use crate::dictionary::DictionaryId;
use crate::{Result, Stop};

/// The sample for the adaptive models: pieces, and bytes of each. All begin at the same place of a number or a pixel.
const MIX_PIECES: (usize, usize) = (2, 170 * 48);
/// Blocks shorter than this are coded by the language model without a sample.
const LEAST_SAMPLED: usize = 8 << 10;
/// A sample for the language model is this part of the block.
const MODEL_PART: usize = 8;
/// Where only size counts, a sample that is larger than the adaptive models' by less than this part says nothing.
const DOUBT: f64 = 0.1;

/// Whether the adaptive models make a sample smaller: some milliseconds for a block that takes seconds.
pub(super) fn mix_gains(predicting: &Predicting, raw: &[u8], stop: &Stop) -> Result<bool> {
    let (count, len) = MIX_PIECES;
    let sample = route::pieces(raw, count, len);
    let payload = predicting.encode(Method::Mix, &sample, 1, stop)?;
    Ok(payload.len() * 200 < sample.len() * 199)
}

/// A block, and what the adaptive models alone made of it.
pub(super) struct Whole<'a> {
    pub(super) raw: &'a [u8],
    /// Bytes that they took.
    pub(super) mixed: usize,
    /// What they may be behind.
    pub(super) dictionaries: &'a [DictionaryId],
    pub(super) references: &'a [&'a [u8]],
    pub(super) head: Option<&'a SolidHead>,
}

/// What the language model does best behind, of `fronts`, by the start of each lane. `None` if it cannot gain what is
/// asked of it.
pub(super) fn best_front(
    predicting: &Predicting,
    options: &Options,
    whole: &Whole<'_>,
    fronts: &[Behind<'_>],
    stop: &Stop,
) -> Result<Option<Needs>> {
    let raw = whole.raw;
    let worth = f64::from(options.model_worth) / 1024.0;
    // More than all of it cannot be saved.
    if share(whole.mixed, raw.len()) <= worth {
        return Ok(None);
    }
    let doubt = match options.model_worth {
        0 => DOUBT,
        _ => 0.0,
    };
    if raw.len() < LEAST_SAMPLED {
        return Ok(fronts.first().map(|front| front.needs));
    }
    let lanes = predicting.lanes(Method::Model, raw.len(), options);
    let sample = route::pieces(raw, lanes, raw.len() / MODEL_PART / lanes);
    let mix = mixed(predicting, &sample, whole, stop)?;
    let mut best: Option<(usize, Needs)> = None;
    for front in fronts {
        let len = predicting.encode_model(&sample, lanes, front, stop)?.len();
        if best.is_none_or(|(least, _)| len < least) {
            best = Some((len, front.needs));
        }
    }
    let of_sample = |len| share(len, sample.len());
    let promising = best.filter(|(model, _)| {
        let model = of_sample(*model) * (1.0 - doubt);
        promises(model, of_sample(mix), share(whole.mixed, raw.len()), worth)
    });
    Ok(promising.map(|(_, needs)| needs))
}

/// Bytes that the adaptive models take for a sample.
fn mixed(predicting: &Predicting, sample: &[u8], whole: &Whole<'_>, stop: &Stop) -> Result<usize> {
    let solid = match whole.head {
        Some(head) => predicting
            .try_solid(sample, head, Growth::Never, sample.len(), stop)?
            .map(|it| it.len()),
        None => None,
    };
    let alone = predicting.encode_mix(sample, whole.dictionaries, whole.references, solid, stop)?;
    let lens = [alone.map(|it| it.len()), solid];
    Ok(lens.into_iter().flatten().min().unwrap_or(sample.len()))
}

fn share(payload: usize, raw: usize) -> f64 {
    payload.max(1) as f64 / raw.max(1) as f64
}

/// Whether the language model may save this share of a block, given what its sample takes with the model and with
/// the adaptive models alone, and what the whole takes with those, all as shares of the raw bytes.
///
/// In the whole block the adaptive models have learned more of it than in the sample. With the language model there is
/// less left to learn: of the factor by which they improve, it gained the 0.6th to 0.8th power in tables and JSON of
/// five kinds. This takes the 7/8th, so that a model that may be worth it is tried.
fn promises(model: f64, mix: f64, mix_of_all: f64, worth: f64) -> bool {
    let learned = (mix_of_all / mix).min(1.0);
    let expected = model * learned / learned.sqrt().sqrt().sqrt();
    expected + worth < mix_of_all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_learned_in_the_whole_block_counts() {
        // Measured on a table of airports: 6.8 % were gained.
        assert!(promises(0.296, 0.346, 0.278, 0.015));
        assert!(!promises(0.296, 0.346, 0.278, 0.05));
        // A sample gives the model an advantage that it may not keep.
        assert!(!promises(0.30, 0.33, 0.10, 0.01));
        assert!(promises(0.25, 0.30, 0.30, 0.015) && !promises(0.30, 0.30, 0.30, 0.0));
    }
}
