//! The codec: what it is made of, staged blocks, and decoding. `choose` has how blocks are packed.

use std::sync::Arc;

use super::behind::Needs;
use super::behind_model::unnamed;
use super::engine::Predicting;
use super::fingerprint::{self, Fingerprint};
use super::in_solid::InSolid;
use super::{Header, Method, Options, zstd};
use crate::dictionary::{DictionaryId, DictionarySource, NoDictionaries};
use crate::hex::hex;
use crate::mix::WarmState;
use crate::model::LanguageModel;
use crate::{Error, MAX_BLOCK, Result, Stop};

/// Turns slices into blocks and back. Clones share everything; all methods may be called from many threads at once.
#[derive(Clone)]
pub struct Codec {
    shared: Arc<Shared>,
}

struct Shared {
    predicting: Predicting,
    options: Options,
}

impl Codec {
    /// A codec with or without a language model.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn new(model: Option<Arc<dyn LanguageModel>>, options: Options) -> Result<Codec> {
        Codec::with_dictionaries(model, Arc::new(NoDictionaries), options)
    }

    /// A codec that knows the dictionaries of `source` besides the [built-in ones](crate::dictionary::builtin).
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn with_dictionaries(
        model: Option<Arc<dyn LanguageModel>>,
        source: Arc<dyn DictionarySource>,
        options: Options,
    ) -> Result<Codec> {
        options.check()?;
        let predicting = Predicting::new(model, source, &options);
        Ok(Codec {
            shared: Arc::new(Shared { predicting, options }),
        })
    }

    /// The language model, if there is one.
    pub fn model(&self) -> Option<&Arc<dyn LanguageModel>> {
        self.predicting().model()
    }

    pub(super) fn predicting(&self) -> &Predicting {
        &self.shared.predicting
    }

    /// The options it was made with.
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// Bytes that the states after dictionaries of this codec's source take now, at most
    /// [`Options::most_warm_bytes`] and one state.
    pub fn warm_bytes(&self) -> usize {
        self.predicting().warm_bytes()
    }

    /// What a block of this method has in [`Header::params`].
    pub fn params(&self, method: Method) -> [u8; 8] {
        self.predicting().params(method)
    }

    /// A block made in microseconds, raw or fast zstd: what a write stores until there is time for more.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond [`MAX_BLOCK`] bytes.
    pub fn stage(&self, raw: &[u8]) -> Result<Vec<u8>> {
        fits(raw)?;
        let frame = zstd::compress(raw, self.options().staging_level)?;
        Ok(frame.map_or_else(|| stored(raw), |frame| self.assemble(raw, Method::Zstd, 0, &frame)))
    }

    /// What a block needs besides a codec to be decoded.
    ///
    /// # Errors
    /// Whatever [`Header::parse`] finds; [`Error::Damaged`] if the block should name what it is coded behind and does
    /// not.
    pub fn needs(block: &[u8]) -> Result<Needs> {
        let header = Header::parse(block)?;
        let payload = block.get(Header::LEN..).unwrap_or_default();
        if header.is_behind {
            return Needs::parse(payload).map(|(needs, _)| needs).ok_or_else(unnamed);
        }
        let named = Needs::parse(payload).filter(|_| header.method == Method::Mix);
        Ok(named.map(|(needs, _)| needs).unwrap_or_default())
    }

    /// The bytes of a block.
    ///
    /// # Errors
    /// Whatever [`Header::parse`] finds; [`Error::MissingModel`] when the block was coded with other parameters;
    /// [`Error::MissingReference`] when it was coded behind another block, [`Error::MissingSolid`] when behind a
    /// solid head; [`Error::Damaged`] when the payload does not
    /// decode to the bytes whose CRC-32 the header has.
    pub fn decode(&self, block: &[u8], stop: &Stop) -> Result<Vec<u8>> {
        self.decode_behind(block, None, stop)
    }

    /// [`decode`](Codec::decode), of a block that was coded behind `reference`, or behind nothing.
    ///
    /// # Errors
    /// As of [`decode`](Codec::decode); [`Error::WrongReference`] when it needs other bytes than these;
    /// [`Error::MissingSolid`] when `reference` is not the last block of its head, or this codec has not decoded that
    /// one just before. [`decode_solid`](Codec::decode_solid) is the remedy.
    pub fn decode_behind(&self, block: &[u8], reference: Option<&[u8]>, stop: &Stop) -> Result<Vec<u8>> {
        stop.check()?;
        let header = Header::parse(block)?;
        let payload = block.get(Header::LEN..).unwrap_or_default();
        let len = header.raw_len as usize;
        let raw = match header.method {
            Method::Raw => payload.to_vec(),
            Method::Zstd => zstd::decompress(payload, len)?,
            _ => self.predicted(&header, payload, reference, stop)?,
        };
        check_sum(&header, &raw)?;
        Ok(raw)
    }

    /// The bytes of a block, put where they belong: `out` is as long as they are.
    ///
    /// # Errors
    /// As [`decode`](Codec::decode); [`Error::Damaged`] if the block has another length. `out` may hold anything then.
    pub fn decode_into(&self, block: &[u8], out: &mut [u8], stop: &Stop) -> Result<()> {
        stop.check()?;
        let header = Header::parse(block)?;
        let payload = block.get(Header::LEN..).unwrap_or_default();
        let put = |raw: &[u8], out: &mut [u8]| match raw.len() == out.len() {
            true => {
                out.copy_from_slice(raw);
                Ok(())
            }
            false => Err(other_length(raw.len(), out.len())),
        };
        match header.method {
            _ if header.raw_len as usize != out.len() => return Err(other_length(header.raw_len as usize, out.len())),
            Method::Raw => put(payload, out)?,
            Method::Zstd => zstd::decompress_into(payload, out)?,
            _ => put(&self.predicted(&header, payload, None, stop)?, out)?,
        }
        check_sum(&header, out)
    }

    /// The bytes of a block that was coded with models.
    fn predicted(&self, header: &Header, payload: &[u8], reference: Option<&[u8]>, stop: &Stop) -> Result<Vec<u8>> {
        self.check_params(header)?;
        let (len, lanes) = (header.raw_len as usize, usize::from(header.lanes));
        let predicting = self.predicting();
        let solid = InSolid::parse(payload).filter(|_| header.method == Method::Mix);
        if let Some(solid) = solid {
            return self.decode_solid_block(header, solid, reference, stop);
        }
        if header.is_behind {
            return predicting.decode_model_behind(payload, len, lanes, reference, stop);
        }
        predicting.decode(header.method, payload, len, lanes, reference, stop)
    }

    /// Whether a block decodes with what this codec has.
    pub(super) fn check_params(&self, header: &Header) -> Result<()> {
        let known = !header.method.needs_model() || self.model().is_some();
        if known && self.params(header.method) == header.params {
            return Ok(());
        }
        Err(Error::MissingModel {
            needed: hex(&header.params),
            have: known.then(|| hex(&self.params(header.method))),
        })
    }

    /// A digest of everything that decoding depends on, computed by coding a probe: with the same fingerprint, blocks
    /// written there decode here. It takes as long as coding about half a kilobyte.
    ///
    /// # Errors
    /// A failing engine.
    pub fn fingerprint(&self) -> Result<Fingerprint> {
        fingerprint::compute(self.predicting())
    }

    /// What was learned of the key, if this knows one.
    pub(crate) fn key(&self) -> Option<&WarmState> {
        self.predicting().key_state()
    }

    /// The same codec, which also knows a dictionary and tries it on every block.
    pub(super) fn with_key(&self, id: DictionaryId, warm: Arc<WarmState>) -> Codec {
        Codec {
            shared: Arc::new(Shared {
                predicting: self.shared.predicting.with_key(id, warm),
                options: self.shared.options.clone(),
            }),
        }
    }

    pub(super) fn assemble(&self, raw: &[u8], method: Method, lanes: usize, payload: &[u8]) -> Vec<u8> {
        assemble(raw, (method, false), lanes, self.params(method), payload)
    }

    /// A block of method model whose payload names what it is coded behind.
    pub(super) fn assemble_behind(&self, raw: &[u8], lanes: usize, payload: &[u8]) -> Vec<u8> {
        assemble(raw, (Method::Model, true), lanes, self.params(Method::Model), payload)
    }
}

/// Decodes a block of a container. Where a model block does not decode, the writer's fingerprint tells damage from a
/// machine that computes other bits.
pub(crate) fn decode_as(codec: &Codec, block: &[u8], writer: &[u8; 8], stop: &Stop) -> Result<Vec<u8>> {
    explained(codec, block, writer, codec.decode(block, stop))
}

/// The same, put where the bytes belong.
pub(crate) fn decode_as_into(codec: &Codec, block: &[u8], writer: &[u8; 8], out: &mut [u8], stop: &Stop) -> Result<()> {
    explained(codec, block, writer, codec.decode_into(block, out, stop))
}

/// Tells damage from other numerics.
fn explained<T>(codec: &Codec, block: &[u8], writer: &[u8; 8], decoded: Result<T>) -> Result<T> {
    let error = match decoded {
        Err(error @ Error::Damaged { .. }) => error,
        Err(Error::MissingReference { .. } | Error::WrongReference { .. } | Error::MissingSolid { .. }) => {
            let reason = "it names another block, which no block of a container does";
            return Err(Error::damaged("block", reason));
        }
        other => return other,
    };
    // The same model on another CPU decodes to garbage. That is no damage, and the remedy is another one.
    let coded = Header::parse(block).is_ok_and(|header| header.method.needs_model());
    if coded && *writer != [0; 8] && !codec.fingerprint()?.0.starts_with(writer) {
        return Err(Error::ForeignNumerics);
    }
    Err(error)
}

/// Predicted streams decode to something whatever their bytes are. Only this tells that it is wrong.
pub(super) fn check_sum(header: &Header, raw: &[u8]) -> Result<()> {
    let crc = crc32fast::hash(raw);
    if crc == header.raw_crc {
        return Ok(());
    }
    let reason = format!(
        "CRC-32 of the decoded bytes is {crc:08x}, the header says {:08x}",
        header.raw_crc
    );
    Err(Error::damaged("block", reason))
}

fn other_length(found: usize, expected: usize) -> Error {
    Error::damaged("block", format!("it has {found} bytes, not {expected}"))
}

pub(super) fn fits(raw: &[u8]) -> Result<()> {
    if raw.len() > MAX_BLOCK {
        return Err(Error::TooLarge {
            len: raw.len(),
            max: MAX_BLOCK,
        });
    }
    Ok(())
}

pub(super) fn stored(raw: &[u8]) -> Vec<u8> {
    assemble(raw, (Method::Raw, false), 0, [0; 8], raw)
}

/// `is_behind`: as [`Header::is_behind`].
fn assemble(raw: &[u8], (method, is_behind): (Method, bool), lanes: usize, params: [u8; 8], payload: &[u8]) -> Vec<u8> {
    // Lengths are at most MAX_BLOCK and lanes at most MAX_LANES: `fits` and `Options::check` saw to it.
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let header = Header {
        version: Header::VERSION,
        method,
        lanes: u16::try_from(lanes).unwrap_or(u16::MAX),
        is_behind,
        raw_len: len(raw),
        payload_len: len(payload),
        raw_crc: crc32fast::hash(raw),
        params,
    };
    [&header.to_bytes(), payload].concat()
}

#[cfg(test)]
mod tests;
