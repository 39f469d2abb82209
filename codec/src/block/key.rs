//! The key of a container: its first blocks, which are a dictionary for the others.
//!
//! They are coded one behind the other, as a dictionary is compressed, so that whoever reads them has learned them.

use std::sync::Arc;

use super::codec::check_sum;
use super::{Codec, Header, Method};
use crate::dictionary::{MAX_DICTIONARY, builtin};
use crate::dictionary_id::DictionaryId;
use crate::mix::{DataLayout, Growing};
use crate::{Error, Result, Stop};

/// What a block says that is a part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyPart {
    /// Blocks of the key, all of one length.
    pub(crate) blocks: u16,
    /// Which of them this is, from 0 on.
    pub(crate) number: u16,
}

impl KeyPart {
    /// The most bytes of a key.
    pub(crate) const MOST: usize = MAX_DICTIONARY;

    /// What this block says; `None` if it is no part of a key, or of one that cannot be.
    pub(crate) fn of(block: &[u8]) -> Option<KeyPart> {
        let header = Header::parse_prefix(block).ok()?;
        let payload = block.get(Header::LEN..).filter(|_| header.method == Method::Mix)?;
        let (part, _) = KeyPart::parse(payload)?;
        // With this, and as no payload is longer than what it holds, readers know where a key ends at the latest.
        (usize::from(part.blocks) * header.raw_len as usize <= KeyPart::MOST).then_some(part)
    }

    fn parse(payload: &[u8]) -> Option<(KeyPart, &[u8])> {
        let (&[layout, b0, b1, n0, n1], stream) = payload.split_first_chunk()?;
        let part = KeyPart {
            blocks: u16::from_le_bytes([b0, b1]),
            number: u16::from_le_bytes([n0, n1]),
        };
        (layout == DataLayout::KEY && part.number < part.blocks).then_some((part, stream))
    }

    fn payload(self, stream: &[u8]) -> Vec<u8> {
        let ([b0, b1], [n0, n1]) = (self.blocks.to_le_bytes(), self.number.to_le_bytes());
        [&[DataLayout::KEY, b0, b1, n0, n1], stream].concat()
    }
}

/// Codes the blocks of a key, one after the other.
#[derive(Debug)]
pub(crate) struct KeyCoder {
    growing: Growing,
    blocks: u16,
    done: u16,
    block_size: usize,
}

impl KeyCoder {
    /// For a key of so many blocks of this size.
    ///
    /// # Errors
    /// A key that is empty or longer than a dictionary can be.
    pub(crate) fn new(blocks: u16, block_size: usize) -> Result<KeyCoder> {
        let len = usize::from(blocks) * block_size;
        if len == 0 || len > KeyPart::MOST {
            return Err(Error::damaged("container", format!("a key of {len} bytes cannot be")));
        }
        Ok(KeyCoder {
            growing: Growing::new(len),
            blocks,
            done: 0,
            block_size,
        })
    }

    /// The next block; `None` if it would be longer than one that is stored as it is. After that, or an error, nothing
    /// more can be coded.
    pub(crate) fn encode(&mut self, codec: &Codec, raw: &[u8], stop: &Stop) -> Result<Option<Vec<u8>>> {
        let part = KeyPart {
            blocks: self.blocks,
            number: self.done,
        };
        let payload = part.payload(&self.growing.encode(raw, stop)?);
        self.done += 1;
        let fits = payload.len() <= raw.len() && raw.len() == self.block_size;
        Ok(fits.then(|| codec.assemble(raw, Method::Mix, 1, &payload)))
    }

    /// The bytes of the next block. After an error nothing more can be coded.
    ///
    /// # Errors
    /// As [`Codec::decode`].
    pub(crate) fn decode(&mut self, codec: &Codec, block: &[u8], stop: &Stop) -> Result<Vec<u8>> {
        let header = Header::parse(block)?;
        codec.check_params(&header)?;
        let payload = block.get(Header::LEN..).unwrap_or_default();
        let part = KeyPart::parse(payload).filter(|_| header.method == Method::Mix);
        let expected = KeyPart {
            blocks: self.blocks,
            number: self.done,
        };
        let len = header.raw_len as usize;
        let (_, stream) = part
            .filter(|(part, _)| *part == expected && len == self.block_size)
            .ok_or_else(|| Error::damaged("container", "the blocks of its key do not fit together"))?;
        let raw = self.growing.decode(stream, len, stop)?;
        check_sum(&header, raw)?;
        self.done += 1;
        Ok(raw.to_vec())
    }

    /// A codec that knows the whole key besides what `codec` knows; `None` while blocks are missing, or if a built-in
    /// dictionary has its id: that one is then meant.
    pub(crate) fn finish(self, codec: &Codec) -> Option<Codec> {
        self.finish_with(codec, DictionaryId::of)
    }

    fn finish_with(self, codec: &Codec, id_of: impl FnOnce(&[u8]) -> DictionaryId) -> Option<Codec> {
        let warm = self.growing.finish()?;
        let id = id_of(warm.text());
        builtin::find(id).is_none().then(|| codec.with_key(id, Arc::new(warm)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use crate::Options;

    fn coded(raw: &[u8]) -> (Codec, Vec<u8>, KeyCoder) {
        let codec = Codec::new(None, Options::default()).unwrap();
        let mut encoder = KeyCoder::new(1, raw.len()).unwrap();
        let block = encoder.encode(&codec, raw, &Stop::new()).unwrap().unwrap();
        (codec, block, encoder)
    }

    /// Regression: a key with the id of a built-in dictionary was used by the encoder, and by no reader.
    #[test]
    fn a_key_with_the_id_of_a_built_in_dictionary_is_not_used() {
        let raw = b"one and two and three and four and five and six".repeat(20);
        let id = builtin::list().first().unwrap().id;
        let (codec, _, encoder) = coded(&raw);
        assert!(encoder.finish_with(&codec, |_| id).is_none());
        let (codec, _, encoder) = coded(&raw);
        assert!(encoder.finish(&codec).unwrap().key().is_some());
    }

    /// Readers look for a key in no more bytes than blocks of this length take.
    #[test]
    fn a_block_of_a_key_is_not_longer_than_what_it_holds() {
        let raw = b"one and two and three and four and five and six".repeat(20);
        let (codec, block, _) = coded(&raw);
        let longer = |by: usize| {
            let stream = [&block[Header::LEN..], &vec![0; by]].concat();
            codec.assemble(&raw, Method::Mix, 1, &stream)
        };
        let room = raw.len() + Header::LEN - block.len();
        assert!(KeyPart::of(&longer(room)).is_some());
        assert!(KeyPart::of(&longer(room + 1)).is_none());
        let mut decoder = KeyCoder::new(1, raw.len()).unwrap();
        assert!(
            decoder
                .decode(&codec, &longer(room + 1), &Stop::new())
                .unwrap_err()
                .is_damage()
        );
    }

    /// The language model learns from the key, too, and containers whose keys have one id are told apart.
    #[test]
    fn blocks_of_the_language_model_are_coded_behind_a_key() {
        use crate::model::{EngineChoice, LoadOptions, builtin, load_bytes};

        const BLOCK: usize = 4096;

        let gguf = builtin::find("tiny").unwrap().gguf.to_vec();
        let model = load_bytes("tiny", gguf, EngineChoice::Exact, &LoadOptions::default()).unwrap();
        let codec = Codec::new(
            Some(model),
            Options {
                model_worth: 0,
                dictionaries: false,
                ..Options::default()
            },
        )
        .unwrap();
        let text = concat!(
            include_str!("../mix/predictor.rs"),
            include_str!("../mix/context_models.rs"),
            include_str!("../mix/neighbours.rs"),
        );
        let key = &text.as_bytes()[..4 * BLOCK];
        let mut coder = KeyCoder::new(1, key.len()).unwrap();
        let first = coder.encode(&codec, key, &Stop::new()).unwrap().unwrap();
        let behind = coder.finish(&codec).unwrap();
        let raw = &text.as_bytes()[7 * BLOCK..8 * BLOCK];
        let block = behind.encode(raw, &Stop::new()).unwrap();
        let header = Header::parse(&block).unwrap();
        assert!(header.is_behind && header.method == Method::Model, "{header:?}");
        assert!(block.len() < codec.encode(raw, &Stop::new()).unwrap().len());

        // One codec serves many containers. Another key was learned by it before.
        let other = &text.as_bytes()[3 * BLOCK..7 * BLOCK];
        let mut decoder = KeyCoder::new(1, other.len()).unwrap();
        let of_other = decoder.encode(&codec, other, &Stop::new()).unwrap().unwrap();
        let mut reader = KeyCoder::new(1, other.len()).unwrap();
        reader.decode(&codec, &of_other, &Stop::new()).unwrap();
        let id = behind.predicting().key().unwrap();
        let mistaken = reader.finish_with(&codec, |_| id).unwrap();
        assert!(mistaken.decode(&block, &Stop::new()).unwrap_err().is_damage());
        let mut reader = KeyCoder::new(1, key.len()).unwrap();
        reader.decode(&codec, &first, &Stop::new()).unwrap();
        assert_eq!(
            reader.finish(&codec).unwrap().decode(&block, &Stop::new()).unwrap(),
            raw
        );
    }
}
