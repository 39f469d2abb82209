//! Who encodes a block: this process, or others who help. What they made is checked before it is taken.

use lmfs_codec::dictionary::{DictionaryId, builtin};
use lmfs_codec::{Codec, Error as CodecError, Header, Method, ReferenceDigest, Stop};

/// A block to encode, and what it may be coded behind.
#[derive(Clone, Copy, Debug)]
pub struct EncodeJob<'a> {
    /// Its bytes.
    pub raw: &'a [u8],
    /// Dictionaries of the store that may suit it.
    pub dictionaries: &'a [DictionaryId],
    /// The bytes of blocks that it resembles, the likeliest first.
    pub references: &'a [&'a [u8]],
}

/// Others who encode blocks of a run, beside its own threads.
pub trait Helpers: Sync {
    /// How many they are now.
    fn count(&self) -> usize;

    /// Blocks that they take at a time now.
    fn places(&self) -> usize;

    /// A block that one of them made and that `check` found fit; `None` if nobody is free. Who made an unfit one gets
    /// no more work, and another one does it again.
    ///
    /// # Errors
    /// [`CodecError::Interrupted`].
    fn encode(&self, job: &EncodeJob<'_>, check: &Check<'_>, stop: &Stop) -> Result<Option<Vec<u8>>, CodecError>;
}

/// Looks whether a block is fit for a job.
pub type Check<'a> = dyn Fn(&[u8], Depth) -> Result<(), Unfit> + Sync + 'a;

/// How closely a block is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What the language model coded is not decoded, because that takes as long as coding it.
    Quick,
    /// Everything is decoded and compared.
    Full,
}

/// Why a block that others made is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// What came is no block.
    #[error("it is no whole block ({0})")]
    NotABlock(CodecError),
    /// It has the length or the CRC-32 of other bytes, or decodes to others.
    #[error("it is a block of other bytes")]
    OtherBytes,
    /// This store has no such blocks.
    #[error("its method or its model is not the store's")]
    OtherMethod,
    /// It needs what was not offered.
    #[error("it needs a dictionary or a reference that it was not to be coded behind")]
    OtherNeeds,
    /// It does not decode.
    #[error("it does not decode ({0})")]
    Undecodable(CodecError),
    /// Nothing was found out.
    #[error("the check was interrupted")]
    Interrupted,
}

/// Whether `block` is one that `codec` could have made for a job, and decodes to its bytes.
///
/// # Errors
/// Why it cannot be taken.
pub fn check(codec: &Codec, job: &EncodeJob<'_>, block: &[u8], depth: Depth, stop: &Stop) -> Result<(), Unfit> {
    let header = Header::parse(block).map_err(Unfit::NotABlock)?;
    if header.raw_len as usize != job.raw.len() || header.raw_crc != crc32fast::hash(job.raw) {
        return Err(Unfit::OtherBytes);
    }
    let options = codec.options();
    let has_method = match header.method {
        Method::Raw | Method::Zstd => true,
        Method::Mix => options.mix,
        Method::Model => options.model && codec.model().is_some(),
        Method::Lm => options.lm_only && codec.model().is_some(),
    };
    if !has_method || header.params != codec.params(header.method) {
        return Err(Unfit::OtherMethod);
    }
    let needs = Codec::needs(block).map_err(Unfit::NotABlock)?;
    let offered = |id: DictionaryId| {
        let built_in = options.dictionaries && builtin::list().iter().any(|entry| entry.id == id);
        built_in || job.dictionaries.contains(&id)
    };
    let reference = match needs.reference {
        Some(needed) => {
            let given = job.references.iter().find(|it| ReferenceDigest::of(it) == needed);
            Some(*given.ok_or(Unfit::OtherNeeds)?)
        }
        None => None,
    };
    if needs.solid.is_some() || !needs.dictionary.is_none_or(offered) {
        return Err(Unfit::OtherNeeds);
    }
    if depth == Depth::Quick && header.method.needs_model() {
        return Ok(());
    }
    match codec.decode_behind(block, reference, stop) {
        Ok(decoded) if decoded == job.raw => Ok(()),
        Ok(_) => Err(Unfit::OtherBytes),
        Err(CodecError::Interrupted) => Err(Unfit::Interrupted),
        Err(error) => Err(Unfit::Undecodable(error)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use std::sync::Arc;

    use lmfs_codec::Options;
    use lmfs_codec::model::{EngineChoice, LoadOptions, load_bytes};

    use super::*;

    fn model(name: &str) -> Option<Arc<dyn lmfs_codec::model::LanguageModel>> {
        let gguf = lmfs_codec::model::builtin::find(name).unwrap().gguf.to_vec();
        Some(load_bytes(name, gguf, EngineChoice::Exact, &LoadOptions::default()).unwrap())
    }

    fn prose(len: usize) -> Vec<u8> {
        let text = "It was not that she minded the rain, for she had lived here long enough to expect it. ";
        text.bytes().cycle().take(len).collect()
    }

    #[test]
    fn a_block_is_fit_that_this_codec_could_have_made_for_the_job() {
        let text = (0..3000)
            .flat_map(|n: u32| format!("row {n} of {}\n", n * 7919 % 6151).into_bytes())
            .collect::<Vec<u8>>();
        let id = DictionaryId::of(&text);
        let codec = Codec::with_dictionaries(None, Arc::new(vec![text.clone()]), Options::default()).unwrap();
        let stop = Stop::new();
        let reference = text[..4000].to_vec();
        let similar = [b"changed ", &text[..3800]].concat();
        let references = [reference.as_slice()];
        let job = EncodeJob {
            raw: &similar,
            dictionaries: &[id],
            references: &references,
        };
        let behind = codec.encode_behind(&similar, &[], &references, &stop).unwrap();
        let warm = codec.encode_with(&similar, &[id], &stop).unwrap();
        assert!(Codec::needs(&behind).unwrap().reference.is_some());
        assert_eq!(Codec::needs(&warm).unwrap().dictionary, Some(id));
        let unfit = |job: &EncodeJob<'_>, block: &[u8]| check(&codec, job, block, Depth::Quick, &stop);
        for block in [&behind, &warm, &codec.stage(&similar).unwrap()] {
            unfit(&job, block).unwrap();
        }
        // What was not offered would be missing when the block is read.
        let alone = EncodeJob {
            dictionaries: &[],
            references: &[],
            ..job
        };
        assert!(matches!(unfit(&alone, &behind), Err(Unfit::OtherNeeds)));
        assert!(matches!(unfit(&alone, &warm), Err(Unfit::OtherNeeds)));

        assert!(matches!(unfit(&job, b""), Err(Unfit::NotABlock(_))));
        assert!(matches!(unfit(&job, &warm[..warm.len() - 1]), Err(Unfit::NotABlock(_))));
        let other = codec.encode(&text[..3800], &stop).unwrap();
        assert!(matches!(unfit(&job, &other), Err(Unfit::OtherBytes)));
        // The header of the right bytes in front of the payload of others.
        let mut forged = warm.clone();
        *forged.last_mut().unwrap() ^= 0x55;
        let found = unfit(&job, &forged);
        assert!(
            matches!(found, Err(Unfit::Undecodable(_) | Unfit::OtherBytes)),
            "{found:?}"
        );
        stop.set();
        assert!(matches!(unfit(&job, &warm), Err(Unfit::Interrupted)));
    }

    #[test]
    fn a_block_of_another_model_is_unfit_and_samples_of_the_right_one_are_decoded() {
        let mut options = Options::default();
        (options.mix, options.model_worth, options.zstd_level) = (false, 0, 1);
        let (tiny, small) = (
            Codec::new(model("tiny"), options.clone()).unwrap(),
            Codec::new(model("small"), options.clone()).unwrap(),
        );
        let stop = Stop::new();
        let raw: Vec<u8> = prose(300)
            .iter()
            .zip((0_u8..7).cycle())
            .map(|(b, n)| b ^ (n / 6))
            .collect();
        let job = EncodeJob {
            raw: &raw,
            dictionaries: &[],
            references: &[],
        };
        let block = tiny.encode(&raw, &stop).unwrap();
        assert_eq!(Header::parse(&block).unwrap().method, Method::Model);
        for depth in [Depth::Quick, Depth::Full] {
            check(&tiny, &job, &block, depth, &stop).unwrap();
            let found = check(&small, &job, &block, depth, &stop);
            assert!(matches!(found, Err(Unfit::OtherMethod)), "{found:?}");
        }
        options.model = false;
        let speed = Codec::new(model("tiny"), options).unwrap();
        let found = check(&speed, &job, &block, Depth::Quick, &stop);
        assert!(matches!(found, Err(Unfit::OtherMethod)), "{found:?}");

        let mut forged = block;
        forged[Header::LEN + 5] ^= 0x55;
        check(&tiny, &job, &forged, Depth::Quick, &stop).unwrap();
        let found = check(&tiny, &job, &forged, Depth::Full, &stop);
        assert!(
            matches!(found, Err(Unfit::Undecodable(_) | Unfit::OtherBytes)),
            "{found:?}"
        );
    }
}
