//! Blocks of solid heads and behind them: coded, compared, and decoded with what is known of the head, or with all of
//! it.

use std::sync::Arc;

use super::codec::{Codec, check_sum};
use super::in_solid::InSolid;
use super::solid::{Growth, SolidHead};
use super::{Header, Method};
use crate::dictionary::{MAX_DICTIONARY, builtin};
use crate::mix::{self, DataLayout, Front, WarmState};
use crate::solid_digest::SolidDigest;
use crate::{Error, MAX_BLOCK, Result, Stop};

/// The most bytes of a state's text: a dictionary, a first block of any size, and a head.
const MOST_TEXT: usize = MAX_DICTIONARY + MAX_BLOCK + SolidHead::MOST_BYTES;

impl Codec {
    /// The head that begins with a block: its bytes, and what they were coded as. `None` if nothing that follows would
    /// gain by it, because its bytes say nothing of others.
    ///
    /// # Errors
    /// As of [`encode`](Codec::encode).
    pub fn begin_solid(&self, first: &[u8], block: &[u8], stop: &Stop) -> Result<Option<SolidHead>> {
        let header = Header::parse(block)?;
        let payload = block.get(Header::LEN..).unwrap_or_default();
        let in_plain = || DataLayout::is_plain(payload);
        let is_text = header.method != Method::Raw && (header.method != Method::Mix || in_plain());
        if !is_text || first.is_empty() || !self.options().mix {
            return Ok(None);
        }
        let named = Codec::needs(block)?.dictionary;
        let dictionary = named.filter(|id| builtin::find(*id).is_some());
        let warm = self.predicting().begin_solid(dictionary, first, stop)?;
        Ok(Some(SolidHead {
            warm: Arc::new(warm),
            blocks: 1,
            bytes: first.len(),
            digest: SolidDigest::of(dictionary, first),
            dictionary,
        }))
    }

    /// A block in or behind a head, if it takes less than `below` bytes, decoded and compared; and the head with it if
    /// it became a part. It becomes one if `growth` says so and there is room. Whoever decodes the block needs all
    /// blocks of the head, for ever.
    ///
    /// # Errors
    /// As of [`encode`](Codec::encode).
    pub fn encode_solid(
        &self,
        raw: &[u8],
        head: &SolidHead,
        growth: Growth,
        below: usize,
        stop: &Stop,
    ) -> Result<Option<(Vec<u8>, Option<SolidHead>)>> {
        let Some(payload) = self
            .predicting()
            .try_solid(raw, head, growth, below.saturating_sub(Header::LEN), stop)?
        else {
            return Ok(None);
        };
        let block = self.assemble(raw, Method::Mix, 1, &payload);
        let next = self.verify_solid(&block, raw, head, stop)?;
        Ok(Some((block, next)))
    }

    /// Decodes a block in a head that was just made, and compares. Returns the head with it if it is a part.
    pub(super) fn verify_solid(
        &self,
        block: &[u8],
        raw: &[u8],
        head: &SolidHead,
        stop: &Stop,
    ) -> Result<Option<SolidHead>> {
        let other = || Error::Verification("the block of a solid head decodes to other bytes".to_owned());
        let header = Header::parse(block)?;
        let payload = block.get(Header::LEN..).unwrap_or_default();
        let (solid, stream) = InSolid::parse(payload).ok_or_else(other)?;
        let (decoded, grown) = self.decode_with(&header, solid, stream, &head.warm, stop)?;
        match decoded == raw && solid.digest == head.digest {
            true => Ok(grown.map(|warm| head.then(raw, warm))),
            false => Err(other()),
        }
    }

    /// Decodes a block in a head, given what the head taught, and returns that with the block if it is a part.
    fn decode_with(
        &self,
        header: &Header,
        solid: InSolid,
        stream: &[u8],
        warm: &WarmState,
        stop: &Stop,
    ) -> Result<(Vec<u8>, Option<WarmState>)> {
        let (len, before) = (header.raw_len as usize, warm.text().len());
        if before + len > MOST_TEXT {
            return Err(Error::damaged("block", "its solid head is longer than those can be"));
        }
        let (raw, grown) = self.predicting().with_mixer(|mixer| match solid.is_part {
            true => {
                let grown = mix::decode_part(mixer, warm, stream, len, stop)?;
                let raw = grown.text().get(before..).unwrap_or_default().to_vec();
                Ok((raw, Some(grown)))
            }
            false => Ok((mix::decode_behind(mixer, Front::from(warm), stream, len, stop)?, None)),
        })?;
        check_sum(header, &raw)?;
        Ok((raw, grown))
    }

    /// The bytes of a block in a head whose last block is `last`.
    pub(super) fn decode_solid_block(
        &self,
        header: &Header,
        (solid, stream): (InSolid, &[u8]),
        last: Option<&[u8]>,
        stop: &Stop,
    ) -> Result<Vec<u8>> {
        let missing = || Error::MissingSolid { needed: solid.digest };
        let warm = self.predicting().solid_state(solid, last.ok_or_else(missing)?, stop)?;
        let warm = warm.ok_or_else(missing)?;
        let (raw, grown) = self.decode_with(header, solid, stream, &warm, stop)?;
        if let Some(grown) = grown {
            // Most who want the block want those behind it, and nobody wants the block itself again soon.
            self.predicting()
                .keep_solid(solid.digest, solid.digest.then(&raw), grown);
        }
        Ok(raw)
    }

    /// The bytes of the last one of `blocks`, which follow `first` in a head: for whoever has not decoded the others
    /// just before.
    ///
    /// # Errors
    /// As of [`decode`](Codec::decode); [`Error::MissingSolid`] if they are not the blocks of a head, one behind the
    /// other.
    pub fn decode_solid(&self, first: &[u8], blocks: &[Vec<u8>], stop: &Stop) -> Result<Vec<u8>> {
        let mut so_far: Option<(SolidDigest, Arc<WarmState>)> = None;
        let mut last = first.to_vec();
        for (block, number) in blocks.iter().zip(1_u8..) {
            stop.check()?;
            let header = Header::parse(block)?;
            self.check_params(&header)?;
            let payload = block.get(Header::LEN..).unwrap_or_default();
            let parsed = InSolid::parse(payload).filter(|_| header.method == Method::Mix);
            let (solid, stream) = parsed.ok_or_else(|| Error::damaged("block", "it is coded behind no solid head"))?;
            let missing = || Error::MissingSolid { needed: solid.digest };
            let (digest, warm) = match so_far.take() {
                Some(known) => known,
                None => {
                    let warm = self.predicting().begin_solid(solid.dictionary, first, stop)?;
                    (SolidDigest::of(solid.dictionary, first), Arc::new(warm))
                }
            };
            if solid.digest != digest || solid.blocks != number {
                return Err(missing());
            }
            let (raw, grown) = self.decode_with(&header, solid, stream, &warm, stop)?;
            match grown {
                Some(grown) => so_far = Some((digest.then(&raw), Arc::new(grown))),
                None => self.predicting().keep(digest, &warm),
            }
            last = raw;
        }
        if let Some((digest, warm)) = so_far {
            self.predicting().keep(digest, &warm);
        }
        Ok(last)
    }
}
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use crate::{Fronts, Options};

    /// The i-th piece of a table.
    fn rows(i: u32) -> Vec<u8> {
        let line = |n: u32| {
            format!(
                "{},{:.1},\"station {}\"\n",
                n * 7919 % 1009,
                f64::from(n % 400) / 8.0,
                n * n % 13
            )
        };
        (i * 200..i * 200 + 200).flat_map(|n| line(n).into_bytes()).collect()
    }

    fn codec() -> Codec {
        Codec::new(None, Options::default()).unwrap()
    }

    /// Pieces of a text and what they were coded as: a head of as many parts as it can have, and others behind it.
    fn coded(pieces: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let (codec, stop) = (codec(), Stop::new());
        let first = codec.encode(&pieces[0], &stop).unwrap();
        let mut head = codec.begin_solid(&pieces[0], &first, &stop).unwrap().unwrap();
        let mut blocks = vec![first];
        for raw in &pieces[1..] {
            let fronts = Fronts {
                solid: Some(&head),
                growth: Growth::Preferred,
                ..Fronts::default()
            };
            let (block, grown) = codec.encode_among(raw, &fronts, &stop).unwrap();
            blocks.push(block);
            head = grown.unwrap_or(head);
        }
        blocks
    }

    fn solid(block: &[u8]) -> InSolid {
        Codec::needs(block).unwrap().solid.unwrap()
    }

    #[test]
    fn blocks_learn_from_all_those_before_them() {
        let pieces: Vec<Vec<u8>> = (0..18).map(rows).collect();
        let blocks = coded(&pieces);
        assert_eq!(Codec::needs(&blocks[0]).unwrap().solid, None);
        let most = usize::from(SolidHead::MOST_BLOCKS);
        for (block, number) in blocks[1..].iter().zip(1..) {
            assert_eq!(usize::from(solid(block).blocks), number.min(most));
            assert_eq!(solid(block).is_part, number < most);
        }
        let alone = codec().encode(&pieces[17], &Stop::new()).unwrap();
        let (behind, alone) = (blocks[17].len(), alone.len());
        assert!(behind * 3 < alone * 2, "{behind} for {alone}");

        // In order, each is decoded once.
        let (reader, stop) = (codec(), Stop::new());
        for number in 0..18 {
            let last = number.min(most).checked_sub(1).map(|last| pieces[last].as_slice());
            let decoded = reader.decode_behind(&blocks[number], last, &stop).unwrap();
            assert_eq!(decoded, pieces[number]);
        }
    }

    #[test]
    fn whoever_has_not_read_the_head_is_told_and_can_read_all_of_it() {
        let pieces: Vec<Vec<u8>> = (0..18).map(rows).collect();
        let blocks = coded(&pieces);
        let (reader, stop) = (codec(), Stop::new());
        for last in [None, Some(pieces[15].as_slice())] {
            let error = reader.decode_behind(&blocks[17], last, &stop).unwrap_err();
            assert!(
                matches!(error, Error::MissingSolid { .. }) && !error.is_damage(),
                "{error}"
            );
        }
        let some = |numbers: &[usize]| -> Vec<Vec<u8>> { numbers.iter().map(|n| blocks[*n].clone()).collect() };
        let all: Vec<usize> = (1..16).chain([17]).collect();
        let decoded = reader.decode_solid(&pieces[0], &some(&all), &stop).unwrap();
        assert_eq!(decoded, pieces[17]);
        // It is known from then on.
        let other = reader.decode_behind(&blocks[16], Some(&pieces[15]), &stop).unwrap();
        assert_eq!(other, pieces[16]);

        // Blocks that are not those of one head, in their order.
        for wrong in [&[2][..], &[1, 3], &[1, 2, 2], &[2, 1]] {
            let error = codec().decode_solid(&pieces[0], &some(wrong), &stop).unwrap_err();
            assert!(matches!(error, Error::MissingSolid { .. }), "{error}");
        }
        let error = codec().decode_solid(&pieces[1], &some(&[1]), &stop).unwrap_err();
        assert!(matches!(error, Error::MissingSolid { .. }), "{error}");
        let error = codec().decode_solid(&pieces[0], &some(&[0]), &stop).unwrap_err();
        assert!(error.is_damage(), "{error}");
    }

    #[test]
    fn a_head_begins_behind_the_built_in_dictionary_of_its_first_block() {
        let text = concat!(
            include_str!("codec.rs"),
            include_str!("choose.rs"),
            include_str!("engine.rs")
        );
        let pieces: Vec<Vec<u8>> = text.as_bytes().chunks(4096).take(4).map(<[u8]>::to_vec).collect();
        let blocks = coded(&pieces);
        let named = Codec::needs(&blocks[0]).unwrap().dictionary;
        assert!(named.is_some());
        assert_eq!(solid(&blocks[1]).dictionary, named);
        assert_eq!(solid(&blocks[2]).dictionary, None);
        let (reader, stop) = (codec(), Stop::new());
        for number in 0..4_usize {
            let last = number.checked_sub(1).map(|last| pieces[last].as_slice());
            let decoded = reader.decode_behind(&blocks[number], last, &stop).unwrap();
            assert_eq!(decoded, pieces[number]);
        }
    }

    /// Digests have 32 bits. What another head taught must not be used, and is no damage.
    #[test]
    fn heads_with_one_digest_are_told_apart() {
        let pieces: Vec<Vec<u8>> = (0..3).map(rows).collect();
        let blocks = coded(&pieces);
        let (reader, stop) = (codec(), Stop::new());
        let predicting = reader.predicting();
        let other = predicting.begin_solid(None, b"something else", &stop).unwrap();
        predicting.keep(solid(&blocks[1]).digest, &Arc::new(other));
        let decoded = reader.decode_behind(&blocks[1], Some(&pieces[0]), &stop).unwrap();
        assert_eq!(decoded, pieces[1]);
        let other = predicting.begin_solid(None, b"something else", &stop).unwrap();
        predicting.keep(solid(&blocks[2]).digest, &Arc::new(other));
        let error = reader.decode_behind(&blocks[2], Some(&pieces[1]), &stop).unwrap_err();
        assert!(matches!(error, Error::MissingSolid { .. }), "{error}");
        let decoded = reader.decode_solid(&pieces[0], &blocks[1..], &stop).unwrap();
        assert_eq!(decoded, pieces[2]);
    }

    #[test]
    fn what_says_nothing_of_others_begins_no_head() {
        let (codec, stop) = (codec(), Stop::new());
        let records = (0..500_u32).flat_map(|n| [n, n * n, 7].map(u32::to_le_bytes).concat());
        let mut state = 1_u32;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        for raw in [noise.take(5000).collect(), records.collect::<Vec<u8>>()] {
            let block = codec.encode(&raw, &stop).unwrap();
            assert!(codec.begin_solid(&raw, &block, &stop).unwrap().is_none());
        }
    }
}
