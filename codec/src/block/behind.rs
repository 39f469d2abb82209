//! Blocks of method mix that are coded behind a dictionary, a reference, or both: what they name, and what pays.

use std::sync::Arc;

use super::engine::Predicting;
use super::in_solid::InSolid;
use crate::dictionary_id::DictionaryId;
use crate::mix::{self, DataLayout, Front, Predictor, WarmState};
use crate::reference_digest::ReferenceDigest;
use crate::{Error, MAX_BLOCK, Result, Stop};

/// What a block needs besides a codec to be decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The dictionary that it starts behind.
    pub dictionary: Option<DictionaryId>,
    /// The bytes that it resembles.
    pub reference: Option<ReferenceDigest>,
    /// The solid head that it is coded in or behind. The last block of that is the one that it refers to.
    pub solid: Option<InSolid>,
}

impl Needs {
    /// What a payload of method mix names, and the stream behind it. `None` for one that names nothing.
    pub(super) fn parse(payload: &[u8]) -> Option<(Needs, &[u8])> {
        if let Some((solid, stream)) = InSolid::parse(payload) {
            let solid = Some(solid);
            return Some((
                Needs {
                    solid,
                    ..Needs::default()
                },
                stream,
            ));
        }
        let (&layout, rest) = payload.split_first()?;
        let (dictionary, rest) = match layout {
            DataLayout::BEHIND_DICTIONARY | DataLayout::BEHIND_BOTH => {
                let (id, rest) = rest.split_first_chunk()?;
                (Some(DictionaryId(*id)), rest)
            }
            DataLayout::BEHIND_REFERENCE => (None, rest),
            _ => return None,
        };
        let (reference, stream) = match layout {
            DataLayout::BEHIND_DICTIONARY => (None, rest),
            _ => {
                let (digest, rest) = rest.split_first_chunk()?;
                (Some(ReferenceDigest(*digest)), rest)
            }
        };
        let solid = None;
        let needs = Needs {
            dictionary,
            reference,
            solid,
        };
        Some((needs, stream))
    }

    /// Whether another block is needed.
    pub fn refers(&self) -> bool {
        self.reference.is_some() || self.solid.is_some()
    }

    /// The payload that names this.
    pub(super) fn payload(self, stream: &[u8]) -> Vec<u8> {
        let (id, digest) = (self.dictionary.map(|id| id.0), self.reference.map(|digest| digest.0));
        let layout = match (id, digest) {
            (_, None) => DataLayout::BEHIND_DICTIONARY,
            (None, Some(_)) => DataLayout::BEHIND_REFERENCE,
            (Some(_), Some(_)) => DataLayout::BEHIND_BOTH,
        };
        let named = [id, digest].into_iter().flatten().flatten();
        [layout]
            .into_iter()
            .chain(named)
            .chain(stream.iter().copied())
            .collect()
    }

    /// The reference that was given, if it is the one that is needed.
    pub(super) fn check<'a>(&self, given: Option<&'a [u8]>) -> Result<&'a [u8]> {
        let Some(needed) = self.reference else { return Ok(&[]) };
        let given = given.ok_or(Error::MissingReference { needed })?;
        let found = ReferenceDigest::of(given);
        if found != needed || given.len() > MAX_BLOCK {
            return Err(Error::WrongReference { needed, found });
        }
        Ok(given)
    }
}

/// The part of a block on which dictionaries are tried: from a quarter of it on, where files have their head behind
/// them.
fn sample(raw: &[u8]) -> &[u8] {
    /// Bytes of it.
    const SAMPLE: usize = 4096;
    let start = raw.len() / 4;
    raw.get(start..start + SAMPLE).unwrap_or(raw)
}

/// A reference must save one byte of so many raw ones, because reading the block takes twice the time then.
const REFERENCE_WORTH: usize = 128;
/// A block behind a reference that is so many times smaller than expected without one is as good as it can be.
const FAR_SMALLER: usize = 4;

/// The dictionary that suits a block, and what a sample of the block takes behind it.
struct Suited<'a> {
    dictionary: Option<(DictionaryId, Arc<WarmState>)>,
    sample: &'a [u8],
    taken: usize,
    /// The sample without a dictionary, if that is best.
    cold: Option<Vec<u8>>,
}

impl Suited<'_> {
    /// Whether a payload of `len` bytes for `raw` ones is so many `times` smaller than the sample promises.
    fn is_smaller(&self, times: usize, len: usize, raw: usize) -> bool {
        len * times * self.sample.len() <= self.taken * raw
    }
}

impl Predicting {
    /// Codes a block without a language model, behind the dictionary of `candidates` that makes it smallest, or behind
    /// none; and behind one of `references`, if that saves enough. `None` if it takes `solid` bytes behind a
    /// solid head, and a sample promises more than that.
    pub(super) fn encode_mix(
        &self,
        raw: &[u8],
        candidates: &[DictionaryId],
        references: &[&[u8]],
        solid: Option<usize>,
        stop: &Stop,
    ) -> Result<Option<Vec<u8>>> {
        self.with_mixer(|mixer| {
            if candidates.is_empty() && references.is_empty() && solid.is_none() {
                return mix::encode(mixer, raw, stop).map(Some);
            }
            // Choosing a dictionary on a sample costs a part of coding the block, and is right nearly always.
            let suited = self.suited(mixer, raw, candidates, stop)?;
            if references.is_empty() && solid.is_some_and(|len| suited.is_smaller(1, len + len / 8, raw.len())) {
                return Ok(None);
            }
            without_head(mixer, suited, references, raw, stop).map(Some)
        })
    }

    fn suited<'a>(
        &self,
        mixer: &mut Predictor,
        raw: &'a [u8],
        candidates: &[DictionaryId],
        stop: &Stop,
    ) -> Result<Suited<'a>> {
        let sample = sample(raw);
        let cold = mix::encode(mixer, sample, stop)?;
        let mut suited = Suited {
            dictionary: None,
            sample,
            taken: cold.len(),
            cold: None,
        };
        for &id in candidates {
            let warm = self.warm(id, mixer, stop)?;
            let len = mix::encode_behind(mixer, Front::from(&*warm), sample, stop)?.len() + DictionaryId::LEN;
            if len < suited.taken {
                (suited.taken, suited.dictionary) = (len, Some((id, warm)));
            }
        }
        suited.cold = suited.dictionary.is_none().then_some(cold);
        Ok(suited)
    }

    /// Decodes `len` bytes of method mix.
    pub(super) fn decode_mix(
        &self,
        payload: &[u8],
        len: usize,
        reference: Option<&[u8]>,
        stop: &Stop,
    ) -> Result<Vec<u8>> {
        let Some((needs, stream)) = Needs::parse(payload) else {
            return self.with_mixer(|mixer| mix::decode(mixer, payload, len, stop));
        };
        let reference = needs.check(reference)?;
        self.with_mixer(|mixer| {
            let warm = needs.dictionary.map(|id| self.warm(id, mixer, stop)).transpose()?;
            let front = Front {
                dictionary: warm.as_deref(),
                reference,
            };
            mix::decode_behind(mixer, front, stream, len, stop)
        })
    }
}

/// The smallest payload behind a reference, or else without one.
fn without_head(
    mixer: &mut Predictor,
    suited: Suited<'_>,
    references: &[&[u8]],
    raw: &[u8],
    stop: &Stop,
) -> Result<Vec<u8>> {
    let Some(behind) = best_behind(mixer, &suited, references, raw, stop)? else {
        return alone(mixer, suited, raw, stop);
    };
    // Far smaller than the sample promises without it: no need to look.
    if suited.is_smaller(2, behind.len(), raw.len()) {
        return Ok(behind);
    }
    let alone = alone(mixer, suited, raw, stop)?;
    let worth = raw.len() / REFERENCE_WORTH;
    Ok(if behind.len() + worth < alone.len() {
        behind
    } else {
        alone
    })
}

/// The smallest payload of a block behind one of these references, if it is smaller than the block. A dictionary helps
/// one that is not much like its reference, and is tried on the first of them.
fn best_behind(
    mixer: &mut Predictor,
    suited: &Suited<'_>,
    references: &[&[u8]],
    raw: &[u8],
    stop: &Stop,
) -> Result<Option<Vec<u8>>> {
    let mut best: Option<Vec<u8>> = None;
    let mut dictionaries = vec![None];
    dictionaries.extend(suited.dictionary.as_ref().map(Some));
    let mut used = None;
    for reference in references {
        for dictionary in std::mem::take(&mut dictionaries) {
            let front = Front {
                dictionary: dictionary.map(|(_, warm)| warm.as_ref()),
                reference,
            };
            let needs = Needs {
                dictionary: dictionary.map(|(id, _)| *id),
                reference: Some(ReferenceDigest::of(reference)),
                solid: None,
            };
            let named = needs.payload(&[]).len();
            let most = best.as_ref().map_or(raw.len(), Vec::len).saturating_sub(named);
            let Some(stream) = mix::encode_behind_below(mixer, front, raw, most, stop)? else {
                continue;
            };
            let behind = needs.payload(&stream);
            let is_enough = suited.is_smaller(FAR_SMALLER, behind.len(), raw.len());
            (best, used) = (Some(behind), dictionary);
            if is_enough {
                return Ok(best);
            }
        }
        dictionaries = vec![used];
    }
    Ok(best)
}

/// The payload of a block without a reference.
fn alone(mixer: &mut Predictor, suited: Suited<'_>, raw: &[u8], stop: &Stop) -> Result<Vec<u8>> {
    Ok(match (suited.dictionary, suited.cold) {
        (Some((id, warm)), _) => {
            let needs = Needs {
                dictionary: Some(id),
                ..Needs::default()
            };
            needs.payload(&mix::encode_behind(mixer, Front::from(&*warm), raw, stop)?)
        }
        (None, Some(cold)) if suited.sample.len() == raw.len() => cold,
        (None, _) => mix::encode(mixer, raw, stop)?,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::block::testing::noise;
    use crate::dictionary::DictionarySource;
    use crate::{Codec, Header, Method, Options};

    /// Text of one kind, the i-th piece of it.
    fn records(i: u32) -> Vec<u8> {
        let line = |n: u32| {
            format!(
                "{{\"user\": {}, \"visits\": {}, \"active\": true}}\n",
                n * 7919 % 1009,
                n % 13
            )
        };
        (i * 100..i * 100 + 100).flat_map(|n| line(n).into_bytes()).collect()
    }

    #[test]
    fn a_block_starts_behind_the_dictionary_that_suits_it() {
        let dictionaries = vec![(0..20).flat_map(records).collect::<Vec<u8>>(), noise()];
        let ids: Vec<DictionaryId> = dictionaries.iter().map(|text| DictionaryId::of(text)).collect();
        let options = Options {
            dictionaries: false,
            ..Options::default()
        };
        let codec = Codec::with_dictionaries(None, Arc::new(dictionaries), options.clone()).unwrap();
        let (raw, stop) = (records(40), Stop::new());
        let cold = codec.encode(&raw, &stop).unwrap();
        assert_eq!(Codec::needs(&cold).unwrap().dictionary, None);
        let warm = codec.encode_with(&raw, &ids, &stop).unwrap();
        assert_eq!(Codec::needs(&warm).unwrap().dictionary, Some(ids[0]));
        assert!(warm.len() * 2 < cold.len(), "{} for {}", warm.len(), cold.len());
        assert_eq!(codec.decode(&warm, &stop).unwrap(), raw);
        let strange = "nothing of that kind, and short".repeat(3).into_bytes();
        let alone = codec.encode_with(&strange, &ids[1..], &stop).unwrap();
        assert_eq!(Codec::needs(&alone).unwrap().dictionary, None);
        assert_eq!(alone, codec.encode(&strange, &stop).unwrap());

        let without = Codec::new(None, options.clone()).unwrap();
        let error = without.decode(&warm, &stop).unwrap_err();
        assert!(
            matches!(error, Error::MissingDictionary { id } if id == ids[0]),
            "{error}"
        );
        assert!(!error.is_damage());

        /// Answers every question with the same text.
        struct Wrong;
        impl DictionarySource for Wrong {
            fn text(&self, _: DictionaryId) -> Result<Option<Vec<u8>>> {
                Ok(Some(b"the wrong text".to_vec()))
            }
        }
        let wrong = Codec::with_dictionaries(None, Arc::new(Wrong), options).unwrap();
        let error = wrong.decode(&warm, &stop).unwrap_err();
        assert!(matches!(error, Error::UnusableDictionary { .. }), "{error}");
    }

    #[test]
    fn a_block_is_coded_behind_a_reference_that_it_resembles() {
        let codec = Codec::new(None, Options::default()).unwrap();
        let stop = Stop::new();
        let reference = records(3);
        let mut raw = reference.clone();
        raw.splice(700..705, b"a few other bytes".iter().copied());
        let alone = codec.encode(&raw, &stop).unwrap();
        let behind = codec.encode_behind(&raw, &[], &[&reference], &stop).unwrap();
        assert!(behind.len() * 3 < alone.len(), "{} for {}", behind.len(), alone.len());
        let needed = ReferenceDigest::of(&reference);
        assert_eq!(Codec::needs(&behind).unwrap().reference, Some(needed));
        assert_eq!(codec.decode_behind(&behind, Some(&reference), &stop).unwrap(), raw);

        let error = codec.decode(&behind, &stop).unwrap_err();
        assert!(
            matches!(error, Error::MissingReference { needed: n } if n == needed),
            "{error}"
        );
        assert!(!error.is_damage());
        let error = codec.decode_behind(&behind, Some(&raw), &stop).unwrap_err();
        assert!(
            matches!(error, Error::WrongReference { needed: n, .. } if n == needed),
            "{error}"
        );

        // One that does not help is not needed for ever.
        let strange = codec.encode_behind(&raw, &[], &[&noise()], &stop).unwrap();
        assert_eq!(strange, alone);
        assert_eq!(codec.decode_behind(&alone, Some(&reference), &stop).unwrap(), raw);
    }

    #[test]
    fn a_block_is_coded_behind_the_better_one_of_two_references() {
        let codec = Codec::new(None, Options::default()).unwrap();
        let stop = Stop::new();
        let (noise, reference) = (noise(), records(3));
        let mut raw = reference.clone();
        raw.splice(700..705, b"a few other bytes".iter().copied());
        for references in [[&noise[..], &reference], [&reference, &noise]] {
            let behind = codec.encode_behind(&raw, &[], &references, &stop).unwrap();
            let needed = ReferenceDigest::of(&reference);
            assert_eq!(Codec::needs(&behind).unwrap().reference, Some(needed));
            assert_eq!(codec.decode_behind(&behind, Some(&reference), &stop).unwrap(), raw);
        }
    }

    /// Regression: a decoded block kept the memory of its reference, which caches did not count.
    #[test]
    fn a_decoded_block_takes_no_memory_for_its_reference() {
        let codec = Codec::new(None, Options::default()).unwrap();
        let stop = Stop::new();
        let reference = records(3);
        let raw = &reference[500..1000];
        let behind = codec.encode_behind(raw, &[], &[&reference], &stop).unwrap();
        assert!(Codec::needs(&behind).unwrap().reference.is_some());
        let decoded = codec.decode_behind(&behind, Some(&reference), &stop).unwrap();
        assert_eq!(decoded, raw);
        assert!(decoded.capacity() < 2 * raw.len(), "{}", decoded.capacity());
    }

    #[test]
    fn what_looks_random_may_resemble_its_reference() {
        let codec = Codec::new(None, Options::default()).unwrap();
        let stop = Stop::new();
        let mut state = 88_172_645_463_325_252_u64;
        let random = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        });
        let reference: Vec<u8> = random.take(16_384).collect();
        let raw = [b"shifted", &reference[..16_000]].concat();
        let header = Header::parse(&codec.encode(&raw, &stop).unwrap()).unwrap();
        assert_eq!(header.method, Method::Raw);
        let behind = codec.encode_behind(&raw, &[], &[&reference], &stop).unwrap();
        assert!(behind.len() * 20 < raw.len(), "{}", behind.len());
        assert_eq!(codec.decode_behind(&behind, Some(&reference), &stop).unwrap(), raw);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_payload_decodes_or_is_an_error(
            mut payload: Vec<u8>,
            layout in prop_oneof![0_u8..12, Just(13_u8), Just(DataLayout::SOLID)],
            reference: Vec<u8>,
            named: bool,
        ) {
            payload.insert(0, layout);
            if named && layout == DataLayout::SOLID {
                // The second block of a head, behind the first one.
                let digest = crc32fast::hash(&[&[0; 4], &reference[..]].concat());
                let fits = [&[1], &digest.to_le_bytes()[..], &[0; 4]].concat();
                payload.splice(1..1, fits);
            } else if named && layout >= DataLayout::BEHIND_REFERENCE {
                let at = payload.len().min(if layout == DataLayout::BEHIND_BOTH { 5 } else { 1 });
                payload.splice(at..at, ReferenceDigest::of(&reference).0);
            }
            let codec = Codec::new(None, Options::default()).unwrap();
            let len = 64 + payload.len();
            let header = Header {
                version: Header::VERSION,
                method: Method::Mix,
                lanes: 1,
                is_behind: false,
                raw_len: len as u32,
                payload_len: payload.len() as u32,
                raw_crc: 0,
                params: codec.params(Method::Mix),
            };
            let block = [&header.to_bytes()[..], &payload].concat();
            let _ = Codec::needs(&block).unwrap();
            prop_assert!(codec.decode_behind(&block, Some(&reference), &Stop::new()).is_err());
        }

        #[test]
        fn needs_come_back(dictionary: Option<[u8; 4]>, reference: Option<[u8; 4]>, stream: Vec<u8>) {
            let needs = Needs {
                dictionary: dictionary.map(DictionaryId),
                reference: reference.map(ReferenceDigest),
                solid: None,
            };
            if needs != Needs::default() {
                let payload = needs.payload(&stream);
                prop_assert_eq!(Needs::parse(&payload), Some((needs, &stream[..])));
            }
        }
    }
}
