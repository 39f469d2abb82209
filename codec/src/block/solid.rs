//! Solid heads: the first blocks of a piece of a file, coded as one text, behind which its other blocks start.
//!
//! The first block is coded like any other. Those behind it are *parts* of the head: each goes on where the one before
//! it ended. Once the head is as long as it may be, other blocks are coded *behind* it, as behind a dictionary. Whoever
//! wants one of them decodes the head once. What it taught is kept like the state after a dictionary.

use std::sync::Arc;

use super::codec::{Codec, check_sum};
use super::engine::Predicting;
use super::{Header, Method};
use crate::dictionary::{DictionaryId, MAX_DICTIONARY, builtin};
use crate::mix::{self, DataLayout, Front, WarmState};
use crate::{Error, MAX_BLOCK, Result, Stop};

/// How blocks name a solid head: the CRC-32 of the id of its dictionary, or of four zeros, and of its blocks.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SolidDigest(pub u32);

impl SolidDigest {
    fn of(dictionary: Option<DictionaryId>, first: &[u8]) -> SolidDigest {
        let id = dictionary.map_or([0; DictionaryId::LEN], |id| id.0);
        SolidDigest(crc32fast::hash(&id)).then(first)
    }

    /// That of the same head and one block more.
    fn then(self, raw: &[u8]) -> SolidDigest {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.0);
        hasher.update(raw);
        SolidDigest(hasher.finalize())
    }
}

impl std::fmt::Display for SolidDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl std::fmt::Debug for SolidDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SolidDigest({self})")
    }
}

/// The solid head that a block is coded in or behind, as its payload says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InSolid {
    /// Blocks of the head in front of this one, at least 1.
    pub blocks: u8,
    /// Whether this block is a part of it. If not, the head is complete, and the block is coded behind it.
    pub is_part: bool,
    /// The blocks in front of this one.
    pub digest: SolidDigest,
    /// The built-in dictionary that the head begins behind. Only the second block says so.
    pub dictionary: Option<DictionaryId>,
}

impl InSolid {
    /// The bit of the number of blocks that says that the block is no part.
    const BEHIND: u8 = 0x80;

    /// What a payload of method mix says, and the stream behind it. `None` for a block without a head.
    pub(super) fn parse(payload: &[u8]) -> Option<(InSolid, &[u8])> {
        let (&[layout, number, d0, d1, d2, d3], rest) = payload.split_first_chunk()?;
        let blocks = number & !InSolid::BEHIND;
        if layout != DataLayout::SOLID || blocks == 0 {
            return None;
        }
        let (dictionary, stream) = match blocks {
            1 => {
                let (id, stream) = rest.split_first_chunk()?;
                (
                    Some(DictionaryId(*id)).filter(|id| id.0 != [0; DictionaryId::LEN]),
                    stream,
                )
            }
            _ => (None, rest),
        };
        let solid = InSolid {
            blocks,
            is_part: number & InSolid::BEHIND == 0,
            digest: SolidDigest(u32::from_le_bytes([d0, d1, d2, d3])),
            dictionary,
        };
        Some((solid, stream))
    }

    /// The payload that says this.
    fn payload(self, stream: &[u8]) -> Vec<u8> {
        let number = if self.is_part {
            self.blocks
        } else {
            self.blocks | InSolid::BEHIND
        };
        let mut payload = vec![DataLayout::SOLID, number];
        payload.extend(self.digest.0.to_le_bytes());
        if self.blocks == 1 {
            payload.extend(self.dictionary.map_or([0; DictionaryId::LEN], |id| id.0));
        }
        payload.extend(stream);
        payload
    }
}

/// A solid head as far as it was coded, for encoding what comes behind it.
#[derive(Clone, Debug)]
pub struct SolidHead {
    warm: Arc<WarmState>,
    blocks: u8,
    bytes: usize,
    digest: SolidDigest,
    dictionary: Option<DictionaryId>,
}

impl SolidHead {
    /// The most blocks of a head.
    pub const MOST_BLOCKS: u8 = 16;
    /// The most bytes that its blocks have together, unless it has only one.
    pub const MOST_BYTES: usize = 256 << 10;

    /// Whether a block of `len` bytes may still become a part.
    pub fn has_room(&self, len: usize) -> bool {
        self.blocks < SolidHead::MOST_BLOCKS && self.bytes + len <= SolidHead::MOST_BYTES
    }

    fn then(&self, raw: &[u8], warm: WarmState) -> SolidHead {
        SolidHead {
            warm: Arc::new(warm),
            blocks: self.blocks + 1,
            bytes: self.bytes + raw.len(),
            digest: self.digest.then(raw),
            dictionary: self.dictionary,
        }
    }
}

/// The most bytes of a state's text: a dictionary, a first block of any size, and a head.
const MOST_TEXT: usize = MAX_DICTIONARY + MAX_BLOCK + SolidHead::MOST_BYTES;

/// Bytes of a head that begins with a block of `first`, at most: its tables are made for so many.
fn solid_len(first: usize) -> usize {
    (first * usize::from(SolidHead::MOST_BLOCKS)).clamp(1, SolidHead::MOST_BYTES)
}

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

    /// A block in or behind a head, if it takes less than `below` bytes, decoded and compared; and the head with it if it became a
    /// part. It becomes one if `grow` says so and there is room. Whoever decodes the block needs the head: all its
    /// blocks, for ever.
    ///
    /// # Errors
    /// As of [`encode`](Codec::encode).
    pub fn encode_solid(
        &self,
        raw: &[u8],
        head: &SolidHead,
        grow: bool,
        below: usize,
        stop: &Stop,
    ) -> Result<Option<(Vec<u8>, Option<SolidHead>)>> {
        let Some(payload) = self
            .predicting()
            .try_solid(raw, head, grow, below.saturating_sub(Header::LEN), stop)?
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
            false => Ok((mix::decode_behind(mixer, behind(warm), stream, len, stop)?, None)),
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

    /// The bytes of the last one of `blocks`, which follow `first` in a head: for whoever has not decoded the others just
    /// before.
    ///
    /// # Errors
    /// As of [`decode`](Codec::decode); [`Error::MissingSolid`] if they are not the blocks of a head, one behind the other.
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

impl Predicting {
    /// The payload of a block in a head, if it has less than `below` bytes.
    pub(super) fn try_solid(
        &self,
        raw: &[u8],
        head: &SolidHead,
        grow: bool,
        below: usize,
        stop: &Stop,
    ) -> Result<Option<Vec<u8>>> {
        let solid = InSolid {
            blocks: head.blocks,
            is_part: grow && head.has_room(raw.len()),
            digest: head.digest,
            dictionary: head.dictionary,
        };
        let most = below.saturating_sub(solid.payload(&[]).len());
        let stream = self.with_mixer(|mixer| match solid.is_part {
            true => mix::encode_part(mixer, &head.warm, raw, most, stop),
            false => mix::encode_behind_below(mixer, behind(&head.warm), raw, most, stop),
        })?;
        Ok(stream.map(|stream| solid.payload(&stream)))
    }

    fn begin_solid(&self, dictionary: Option<DictionaryId>, first: &[u8], stop: &Stop) -> Result<WarmState> {
        if let Some(id) = dictionary.filter(|id| builtin::find(*id).is_none()) {
            return Err(Error::MissingDictionary { id });
        }
        self.with_mixer(|mixer| {
            let warm = dictionary.map(|id| self.warm(id, mixer, stop)).transpose()?;
            WarmState::begin_solid(mixer, warm.as_deref(), first, solid_len(first.len()), stop)
        })
    }

    /// What the blocks in front of a block taught, of which `last` is the last; `None` if that is not known.
    fn solid_state(&self, solid: InSolid, last: &[u8], stop: &Stop) -> Result<Option<Arc<WarmState>>> {
        // Two heads may have one digest. The bytes tell them apart.
        let fits = |warm: &Arc<WarmState>| warm.text().ends_with(last);
        if let Some(known) = self.solid_of(solid.digest).filter(fits) {
            return Ok(Some(known));
        }
        if solid.blocks > 1 || SolidDigest::of(solid.dictionary, last) != solid.digest {
            return Ok(None);
        }
        let warm = Arc::new(self.begin_solid(solid.dictionary, last, stop)?);
        self.keep(solid.digest, &warm);
        Ok(Some(warm))
    }
}

fn behind(warm: &WarmState) -> Front<'_> {
    Front {
        dictionary: Some(warm),
        reference: &[],
    }
}
