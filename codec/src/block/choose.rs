//! Which method a block gets: what is tried, what pays, and the proof that it decodes.

use super::codec::{Codec, fits, stored};
use super::engine::builtin_candidates;
use super::route::{self, Content};
use super::{Header, Method, sample, zstd};
use crate::dictionary::DictionaryId;
use crate::{Error, ReferenceDigest, Result, Stop};

impl Codec {
    /// The smallest block of all allowed methods that promise something for these bytes, or one without the language
    /// model where that is nearly as small ([`Options::model_worth`]), decoded and compared with `raw` before it is
    /// returned. One that does not decode to `raw` is logged as a warning, and the next best taken. Never longer than
    /// `raw` and a header.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Interrupted`], or a failing engine.
    ///
    /// [`Options::model_worth`]: crate::Options::model_worth
    pub fn encode(&self, raw: &[u8], stop: &Stop) -> Result<Vec<u8>> {
        self.encode_with(raw, &self.options().try_dictionaries, stop)
    }

    /// [`encode`](Codec::encode), with dictionaries of this codec's source that may suit the block. They and the
    /// built-in ones are tried on a part of it, so a few are enough.
    ///
    /// # Errors
    /// As of [`encode`](Codec::encode), or what [`DictionarySource::text`] returned.
    ///
    /// [`DictionarySource::text`]: crate::dictionary::DictionarySource::text
    pub fn encode_with(&self, raw: &[u8], dictionaries: &[DictionaryId], stop: &Stop) -> Result<Vec<u8>> {
        self.encode_behind(raw, dictionaries, &[], stop)
    }

    /// [`encode_with`](Codec::encode_with), for a block that resembles one of `references`, each the bytes of another
    /// block, the likeliest first. They should be few, because each may take twice the time of the block. Which of them
    /// the result needs, if any, [`Codec::needs`] says: that one is needed for ever, by
    /// [`decode_behind`](Codec::decode_behind).
    ///
    /// # Errors
    /// As of [`encode_with`](Codec::encode_with).
    pub fn encode_behind(
        &self,
        raw: &[u8],
        dictionaries: &[DictionaryId],
        references: &[&[u8]],
        stop: &Stop,
    ) -> Result<Vec<u8>> {
        fits(raw)?;
        references.iter().try_for_each(|reference| fits(reference))?;
        stop.check()?;
        // The smallest first. One that fails to decode gives way to the next, and raw always decodes.
        for (block, method) in self.blocks(raw, dictionaries, references, stop)?.into_iter().rev() {
            match self.verify(&block, method, raw, references, stop) {
                Ok(()) => return Ok(block),
                Err(failed) => warn(failed)?,
            }
        }
        Ok(stored(raw))
    }

    /// Decodes a block as a reader will, and compares.
    fn verify(&self, block: &[u8], method: Method, raw: &[u8], references: &[&[u8]], stop: &Stop) -> Result<()> {
        let needed = Self::needs(block)?.reference;
        let reference = references.iter().find(|it| Some(ReferenceDigest::of(it)) == needed);
        match self.decode_behind(block, reference.copied(), stop) {
            Ok(decoded) if decoded == raw => Ok(()),
            Ok(_) => Err(Error::Verification(format!(
                "the {method} block decodes to other bytes"
            ))),
            Err(Error::Interrupted) => Err(Error::Interrupted),
            Err(error) => Err(Error::Verification(format!(
                "the {method} block does not decode: {error}"
            ))),
        }
    }

    /// Blocks, each smaller than the one before it and the first than the raw bytes.
    fn blocks(
        &self,
        raw: &[u8],
        dictionaries: &[DictionaryId],
        references: &[&[u8]],
        stop: &Stop,
    ) -> Result<Vec<(Vec<u8>, Method)>> {
        let options = self.options();
        let mut blocks = Vec::new();
        // The cheap trial first: most incompressible data is recognized without any predicting.
        if !options.lm_only {
            let quick = zstd::compress(raw, options.staging_level)?;
            let hopeless = match route::classify(raw, quick.as_ref().map(Vec::len)) {
                Content::Dense => true,
                Content::Doubtful => options.mix && !sample::mix_gains(self.predicting(), raw, stop)?,
                Content::Compressible => false,
            };
            // What looks random may still be much like a reference.
            if hopeless && references.is_empty() {
                return Ok(blocks);
            }
            if let Some(frame) = zstd::compress(raw, options.zstd_level)? {
                blocks.push((self.assemble(raw, Method::Zstd, 0, &frame), Method::Zstd));
            }
        }
        let mut dictionaries = dictionaries.to_vec();
        dictionaries.extend(self.predicting().key());
        if options.dictionaries {
            dictionaries.extend(builtin_candidates(raw));
        }
        let mut mixed = None;
        for method in self.candidates(raw) {
            if let (Method::Model, Some(mixed)) = (method, mixed)
                && !sample::model_may_gain(self.predicting(), options, raw, mixed, &dictionaries, stop)?
            {
                continue;
            }
            let lanes = self.predicting().lanes(method, raw.len(), options);
            // A method that fails is left out. Another one stores the block.
            let payload = match self.payload(method, raw, lanes, (&dictionaries, references), stop) {
                Ok(payload) => payload,
                Err(failed) => {
                    warn(failed)?;
                    continue;
                }
            };
            if method == Method::Mix {
                mixed = Some(payload.len());
            }
            let best = blocks.last().map_or(raw.len() + Header::LEN, |(block, _)| block.len());
            // The language model is much slower than the mixer, so it has to save more than a byte.
            let gain = match method {
                Method::Model => raw.len() * options.model_worth as usize / 1024,
                _ => 0,
            };
            if payload.len() + Header::LEN + gain < best {
                blocks.push((self.assemble(raw, method, lanes, &payload), method));
            }
        }
        Ok(blocks)
    }

    fn payload(
        &self,
        method: Method,
        raw: &[u8],
        lanes: usize,
        (dictionaries, references): (&[DictionaryId], &[&[u8]]),
        stop: &Stop,
    ) -> Result<Vec<u8>> {
        let predicting = self.predicting();
        if method != Method::Mix {
            return predicting.encode(method, raw, lanes, stop);
        }
        predicting.encode_mix(raw, dictionaries, references, stop)
    }

    /// The predicting methods worth their time.
    fn candidates(&self, raw: &[u8]) -> Vec<Method> {
        let options = self.options();
        let model = options.model && self.model().is_some();
        if raw.is_empty() {
            return Vec::new();
        }
        if options.lm_only {
            return model.then_some(Method::Lm).into_iter().collect();
        }
        let model = model && route::is_text(raw);
        let mix = options.mix.then_some(Method::Mix);
        mix.into_iter().chain(model.then_some(Method::Model)).collect()
    }
}

/// Logs that a form of a block is not used.
fn warn(error: Error) -> Result<()> {
    match error {
        Error::Verification(_) => {
            tracing::warn!("{error}");
            Ok(())
        }
        other => Err(other),
    }
}
