//! Bytes of one lane through the predictor and the arithmetic coder, without a language model.

use super::Predictor;
use crate::entropy::range_coder::{Coder, StreamEnd};
use crate::simd::dispatch::WholeTask;
use crate::simd::whole::Whole;
use crate::{Error, Result, Stop};

/// Codes `len` bytes in one lane: those of `raw` with an encoder, and `raw` is empty with a decoder.
struct CodeBytes<'a, C> {
    predictor: &'a mut Predictor,
    coder: &'a mut C,
    raw: &'a [u8],
    len: usize,
}

impl<C: Coder> WholeTask for CodeBytes<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<S: Whole>(self, v: S) {
        for i in 0..self.len {
            // A decoder has no bytes yet, and takes no notice of the bit that it is given.
            let byte = self.raw.get(i).copied().unwrap_or(0);
            for k in (0..8).rev() {
                let p = self.predictor.predict_with(v, 0, None);
                let bit = self.coder.code(byte >> k & 1 == 1, p);
                self.predictor.update_with(v, 0, bit);
            }
        }
    }
}

/// Bytes that are coded between two looks at the stop: some milliseconds.
pub(super) const STEP: usize = 4096;

/// [`CodeBytes`], until `stop` is set.
pub(super) fn code_bytes<C: Coder>(
    predictor: &mut Predictor,
    coder: &mut C,
    raw: &[u8],
    len: usize,
    stop: &Stop,
) -> Result<()> {
    for done in (0..len).step_by(STEP) {
        stop.check()?;
        predictor.dispatch().run_whole(CodeBytes {
            predictor,
            coder,
            raw: raw.get(done..).unwrap_or_default(),
            len: STEP.min(len - done),
        });
    }
    Ok(())
}

/// The error of a stream that ends elsewhere than it should.
pub(super) fn damaged(end: StreamEnd) -> Error {
    Error::damaged("block", end.to_string())
}
