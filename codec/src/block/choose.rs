//! Which method a block gets: what is tried, what pays, and the proof that it decodes.

use super::behind::Needs;
use super::behind_model::Behind;
use super::codec::{Codec, fits, stored};
use super::engine::builtin_candidates;
use super::route::{self, Content};
use super::solid::{Growth, SolidHead};
use super::{Header, Method, sample, zstd};
use crate::dictionary::DictionaryId;
use crate::{Error, ReferenceDigest, Result, Stop};

/// What a block may be coded behind, besides built-in dictionaries.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fronts<'a> {
    /// Dictionaries of the codec's source that may suit it.
    pub dictionaries: &'a [DictionaryId],
    /// The bytes of blocks that it resembles, the likeliest first.
    pub references: &'a [&'a [u8]],
    /// The head that it may be coded in.
    pub solid: Option<&'a SolidHead>,
    /// Whether it may become a part of that.
    pub growth: Growth,
}

/// What a block may become.
struct Made {
    /// Blocks, each smaller than the one before it and the first than the raw bytes.
    blocks: Vec<(Vec<u8>, Method)>,
    /// It begins a solid head or becomes a part of it, whatever the language model would make of it.
    is_settled: bool,
}

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
        let fronts = Fronts {
            dictionaries,
            references,
            ..Fronts::default()
        };
        Ok(self.encode_among(raw, &fronts, stop)?.0)
    }

    /// [`encode`](Codec::encode), with all that the block may be coded behind. Returns the head with it besides, if it
    /// became a part of the head.
    ///
    /// # Errors
    /// As of [`encode_with`](Codec::encode_with).
    pub fn encode_among(&self, raw: &[u8], fronts: &Fronts<'_>, stop: &Stop) -> Result<(Vec<u8>, Option<SolidHead>)> {
        fits(raw)?;
        fronts.references.iter().try_for_each(|reference| fits(reference))?;
        stop.check()?;
        // The smallest first. One that fails to decode gives way to the next, and raw always decodes.
        for (block, method) in self.blocks(raw, fronts, false, stop)?.blocks.into_iter().rev() {
            match self.verify(&block, method, raw, fronts, stop) {
                Ok(grown) => return Ok((block, grown)),
                Err(failed) => warn(failed)?,
            }
        }
        Ok((stored(raw), None))
    }

    /// The block as the first one or a part of a solid head, and the head with a part; `None` if it becomes neither, or
    /// if the language model is to be asked.
    ///
    /// # Errors
    /// As of [`encode_with`](Codec::encode_with).
    pub fn encode_preferred(
        &self,
        raw: &[u8],
        fronts: &Fronts<'_>,
        stop: &Stop,
    ) -> Result<Option<(Vec<u8>, Option<SolidHead>)>> {
        fits(raw)?;
        let made = self.blocks(raw, fronts, true, stop)?;
        let Some((block, method)) = made.blocks.into_iter().next_back().filter(|_| made.is_settled) else {
            return Ok(None);
        };
        match self.verify(&block, method, raw, fronts, stop) {
            Ok(grown) => Ok(Some((block, grown))),
            Err(failed) => warn(failed).map(|()| None),
        }
    }

    /// Decodes a block as a reader will, and compares.
    fn verify(
        &self,
        block: &[u8],
        method: Method,
        raw: &[u8],
        fronts: &Fronts<'_>,
        stop: &Stop,
    ) -> Result<Option<SolidHead>> {
        let needs = Self::needs(block)?;
        if let (Some(_), Some(head)) = (needs.solid, fronts.solid) {
            return self.verify_solid(block, raw, head, stop);
        }
        let reference = named(fronts.references, needs);
        match self.decode_behind(block, reference, stop) {
            Ok(decoded) if decoded == raw => Ok(None),
            Ok(_) => Err(Error::Verification(format!(
                "the {method} block decodes to other bytes"
            ))),
            Err(Error::Interrupted) => Err(Error::Interrupted),
            Err(error) => Err(Error::Verification(format!(
                "the {method} block does not decode: {error}"
            ))),
        }
    }

    /// The blocks that come into question. With `no_model`, the language model is not asked.
    fn blocks(&self, raw: &[u8], fronts: &Fronts<'_>, no_model: bool, stop: &Stop) -> Result<Made> {
        let options = self.options();
        let references = fronts.references;
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
                return Ok(Made {
                    blocks,
                    is_settled: false,
                });
            }
            if let Some(frame) = zstd::compress(raw, options.zstd_level)? {
                blocks.push((self.assemble(raw, Method::Zstd, 0, &frame), Method::Zstd));
            }
        }
        let mut solid = match fronts.solid.filter(|_| options.mix && !options.lm_only) {
            Some(head) => self.predicting().try_solid(raw, head, fronts.growth, raw.len(), stop)?,
            None => None,
        };
        let solid_len = solid.as_ref().map(Vec::len);
        let mut dictionaries = fronts.dictionaries.to_vec();
        dictionaries.extend(self.predicting().key());
        if options.dictionaries {
            dictionaries.extend(builtin_candidates(raw));
        }
        let mut mixed: Option<(usize, Needs)> = None;
        let mut is_settled = false;
        for method in self.candidates(raw) {
            if is_settled || no_model && method.needs_model() {
                break;
            }
            let needs = match method {
                Method::Model => match self.front(raw, mixed, &dictionaries, fronts, stop)? {
                    Some(needs) => needs,
                    None => continue,
                },
                _ => Needs::default(),
            };
            let predicting = self.predicting();
            let lanes = predicting.lanes(method, raw.len(), options);
            // A method that fails is left out. Another one stores the block.
            let payload = match method {
                Method::Mix => predicting.encode_mix(raw, &dictionaries, references, solid_len, stop),
                Method::Model => {
                    let reference = named(references, needs).unwrap_or_default();
                    let behind = Behind { needs, reference };
                    predicting.encode_model(raw, lanes, &behind, stop).map(Some)
                }
                _ => predicting.encode(method, raw, lanes, stop).map(Some),
            };
            let mut payload = match payload {
                Ok(payload) => payload,
                Err(failed) => {
                    warn(failed)?;
                    continue;
                }
            };
            if method == Method::Mix {
                // The language model does not go on behind a head, so this is what it may be behind.
                let needs = payload.as_deref().map_or(Needs::default(), needs_of);
                payload = better(payload, solid.take(), fronts.growth);
                let Some(payload) = &payload else { continue };
                let is_solid = needs_of(payload).solid.is_some();
                is_settled = fronts.growth == Growth::Preferred && (is_solid || fronts.solid.is_none());
                mixed = Some((payload.len(), needs));
            }
            let Some(payload) = payload else { continue };
            let best = blocks.last().map_or(raw.len() + Header::LEN, |(block, _)| block.len());
            // The language model is much slower than the mixer, so it has to save more than a byte.
            let gain = match method {
                Method::Model => raw.len() * options.model_worth as usize / 1024,
                _ => 0,
            };
            if payload.len() + Header::LEN + gain < best {
                let block = match needs == Needs::default() {
                    true => self.assemble(raw, method, lanes, &payload),
                    false => self.assemble_behind(raw, lanes, &payload),
                };
                blocks.push((block, method));
            }
        }
        Ok(Made { blocks, is_settled })
    }

    /// What the language model is tried behind, given what the adaptive models alone take and need: what suits them
    /// suits them beside it. `None` if it is not worth a trial.
    fn front(
        &self,
        raw: &[u8],
        mixed: Option<(usize, Needs)>,
        dictionaries: &[DictionaryId],
        among: &Fronts<'_>,
        stop: &Stop,
    ) -> Result<Option<Needs>> {
        let (options, alone) = (self.options(), Needs::default());
        let Some((mixed, needs)) = mixed else {
            return Ok(Some(alone));
        };
        let mut needs = self.predicting().worth_for_model(needs);
        let mut references = among.references;
        if options.model_worth > 0 {
            // Reading one block of the model would take as long as reading several.
            (needs.reference, references) = (None, &[]);
        }
        let mut fronts = vec![Behind {
            needs,
            reference: named(references, needs).unwrap_or_default(),
        }];
        // It rarely does better alone. Where only size counts, see.
        if options.model_worth == 0 && needs != alone {
            fronts.push(Behind {
                needs: alone,
                reference: &[],
            });
        }
        let whole = sample::Whole {
            raw,
            mixed,
            dictionaries,
            references,
            head: among.solid,
        };
        sample::best_front(self.predicting(), options, &whole, &fronts, stop)
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

/// What a payload of method mix names.
fn needs_of(payload: &[u8]) -> Needs {
    Needs::parse(payload).map_or(Needs::default(), |(needs, _)| needs)
}

/// The better one of two payloads: without a solid head, or behind one. A part of the head that is preferred may be
/// larger by an eighth. Others have to be smaller: by a thirty-second than one that needs no other block.
fn better(alone: Option<Vec<u8>>, solid: Option<Vec<u8>>, growth: Growth) -> Option<Vec<u8>> {
    let (Some(without), Some(with)) = (&alone, &solid) else {
        return solid.or(alone);
    };
    let refers = needs_of(without).refers();
    let len = without.len();
    let most = match growth {
        Growth::Preferred => len + len / 8,
        Growth::IfSmallest => len,
        Growth::Never if refers => len,
        Growth::Never => len - len / 32,
    };
    if with.len() < most { solid } else { alone }
}

/// The reference that is needed, if it is one of these.
fn named<'a>(references: &[&'a [u8]], needs: Needs) -> Option<&'a [u8]> {
    let is_needed = |it: &&&[u8]| Some(ReferenceDigest::of(it)) == needs.reference;
    references.iter().find(is_needed).copied()
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
