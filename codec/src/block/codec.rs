//! The codec: which method a block gets, and the way back.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{Fingerprint, Header, Method, Options, zstd};
use crate::model::LanguageModel;
use crate::{Error, MAX_BLOCK, Result, Stop};

/// Turns slices into blocks and back. Clones share everything; all methods may be called from many threads at once.
#[derive(Clone)]
pub struct Codec {
    shared: Arc<Shared>,
}

struct Shared {
    model: Option<Arc<dyn LanguageModel>>,
    options: Options,
}

impl Codec {
    /// A codec with or without a language model.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn new(model: Option<Arc<dyn LanguageModel>>, options: Options) -> Result<Codec> {
        options.check()?;
        Ok(Codec {
            shared: Arc::new(Shared { model, options }),
        })
    }

    /// The language model, if there is one.
    pub fn model(&self) -> Option<&Arc<dyn LanguageModel>> {
        self.shared.model.as_ref()
    }

    /// The options it was made with.
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// A block made in microseconds, raw or fast zstd: what a write stores until there is time for more.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond [`MAX_BLOCK`] bytes.
    pub fn first_copy(&self, raw: &[u8]) -> Result<Vec<u8>> {
        fits(raw)?;
        let frame = zstd::compress(raw, self.options().first_copy_level)?;
        Ok(assemble(raw, Method::Zstd, 0, frame).unwrap_or_else(|| stored(raw)))
    }

    /// The smallest block of all allowed methods, decoded and compared with `raw` before it is returned. Never longer
    /// than `raw` and a header.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Interrupted`], a failing engine, or [`Error::Verification`].
    pub fn encode(&self, raw: &[u8], stop: &Stop) -> Result<Vec<u8>> {
        fits(raw)?;
        stop.check()?;
        let frame = zstd::compress(raw, self.options().zstd_level)?;
        let block = assemble(raw, Method::Zstd, 0, frame).unwrap_or_else(|| stored(raw));
        if self.decode(&block, stop)? != raw {
            return Err(Error::Verification(
                "a zstd block decodes to other bytes".into(),
            ));
        }
        Ok(block)
    }

    /// The bytes of a block.
    ///
    /// # Errors
    /// Whatever [`Header::parse`] finds; [`Error::MissingModel`] when the block was coded with other parameters;
    /// [`Error::Damaged`] when the payload does not decode to the bytes whose CRC-32 the header has.
    pub fn decode(&self, block: &[u8], stop: &Stop) -> Result<Vec<u8>> {
        stop.check()?;
        let header = Header::parse(block)?;
        let payload = block.get(Header::LEN..).unwrap_or_default();
        let raw = match header.method {
            Method::Raw => payload.to_vec(),
            Method::Zstd => zstd::decompress(payload, header.raw_len as usize)?,
            Method::Model | Method::Mix | Method::Lm => {
                let needed = super::fingerprint::hex(&header.params);
                return Err(Error::MissingModel { needed, have: None });
            }
        };
        let crc = crc32fast::hash(&raw);
        if crc != header.raw_crc {
            let reason = format!(
                "CRC-32 of the decoded bytes is {crc:08x}, the header says {:08x}",
                header.raw_crc
            );
            return Err(Error::damaged("block", reason));
        }
        Ok(raw)
    }

    /// A digest of everything that decoding depends on, computed by coding a probe.
    pub fn fingerprint(&self) -> Result<Fingerprint> {
        Ok(Fingerprint(Sha256::digest(b"lmfs").into()))
    }
}

fn fits(raw: &[u8]) -> Result<()> {
    if raw.len() > MAX_BLOCK {
        return Err(Error::TooLarge {
            len: raw.len(),
            max: MAX_BLOCK,
        });
    }
    Ok(())
}

fn header(raw: &[u8], method: Method, lanes: u16, payload: &[u8]) -> Header {
    // Both lengths are at most MAX_BLOCK.
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    Header {
        version: Header::VERSION,
        method,
        lanes,
        raw_len: len(raw),
        payload_len: len(payload),
        raw_crc: crc32fast::hash(raw),
        params: [0; 8],
    }
}

fn assemble(raw: &[u8], method: Method, lanes: u16, payload: Option<Vec<u8>>) -> Option<Vec<u8>> {
    let payload = payload?;
    let mut block = header(raw, method, lanes, &payload).to_bytes().to_vec();
    block.extend_from_slice(&payload);
    Some(block)
}

fn stored(raw: &[u8]) -> Vec<u8> {
    let mut block = header(raw, Method::Raw, 0, raw).to_bytes().to_vec();
    block.extend_from_slice(raw);
    block
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    fn plain() -> Codec {
        Codec::new(None, Options::default()).unwrap()
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_round_trip(raw: Vec<u8>, repeat in 1_usize..50) {
            let raw = raw.repeat(repeat);
            let (codec, stop) = (plain(), Stop::new());
            for block in [codec.encode(&raw, &stop).unwrap(), codec.first_copy(&raw).unwrap()] {
                assert!(block.len() <= raw.len() + Header::LEN);
                assert_eq!(codec.decode(&block, &stop).unwrap(), raw);
            }
        }
    }

    #[test]
    fn a_stop_that_is_set_stops() {
        let stop = Stop::new();
        stop.set();
        assert!(matches!(
            plain().encode(b"text", &stop),
            Err(Error::Interrupted)
        ));
    }

    #[test]
    fn more_than_a_block_holds_is_refused() {
        let raw = vec![0; MAX_BLOCK + 1];
        assert!(matches!(
            plain().first_copy(&raw),
            Err(Error::TooLarge { .. })
        ));
        assert!(plain().first_copy(&raw[1..]).is_ok());
    }

    #[test]
    fn every_bit_flip_of_a_block_is_noticed() {
        let stop = Stop::new();
        let raw = b"all work and no play makes jack a dull boy ".repeat(3);
        for block in [plain().encode(&raw, &stop).unwrap(), stored(&raw)] {
            for bit in 0..block.len() * 8 {
                let mut flipped = block.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                match plain().decode(&flipped, &stop) {
                    Ok(same) => assert_eq!(same, raw, "bit {bit} changed the bytes unnoticed"),
                    Err(error) => drop(error),
                }
            }
        }
    }
}
