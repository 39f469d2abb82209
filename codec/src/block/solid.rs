//! Solid heads: the first blocks of a piece of a file, coded as one text, behind which its other blocks start.
//!
//! The first block is coded like any other. Those behind it are *parts* of the head: each goes on where the one before
//! it ended. Once the head is as long as it may be, other blocks are coded *behind* it, as behind a dictionary. Whoever
//! wants one of them decodes the head once. What it taught is kept like the state after a dictionary.

use std::sync::Arc;

use super::engine::Predicting;
use super::in_solid::InSolid;
use crate::dictionary::{DictionaryId, builtin};
use crate::mix::{self, Front, WarmState};
use crate::solid_digest::SolidDigest;
use crate::{Error, Result, Stop};

/// A solid head as far as it was coded, for encoding what comes behind it.
#[derive(Clone, Debug)]
pub struct SolidHead {
    pub(super) warm: Arc<WarmState>,
    pub(super) blocks: u8,
    pub(super) bytes: usize,
    pub(super) digest: SolidDigest,
    pub(super) dictionary: Option<DictionaryId>,
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

    pub(super) fn then(&self, raw: &[u8], warm: WarmState) -> SolidHead {
        SolidHead {
            warm: Arc::new(warm),
            blocks: self.blocks + 1,
            bytes: self.bytes + raw.len(),
            digest: self.digest.then(raw),
            dictionary: self.dictionary,
        }
    }
}

/// Whether a block becomes a part of its solid head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Growth {
    /// No: it comes behind the head.
    #[default]
    Never,
    /// If that makes it smallest.
    IfSmallest,
    /// Also if it is larger by an eighth, or if the language model makes it smaller: those behind it gain more by it.
    /// Nor is the model asked for a first block, which has no head in front of it yet.
    Preferred,
}

/// Bytes of a head that begins with a block of `first`, at most: its tables are made for so many.
fn solid_len(first: usize) -> usize {
    (first * usize::from(SolidHead::MOST_BLOCKS)).clamp(1, SolidHead::MOST_BYTES)
}

impl Predicting {
    /// The payload of a block in a head, if it has less than `below` bytes.
    pub(super) fn try_solid(
        &self,
        raw: &[u8],
        head: &SolidHead,
        growth: Growth,
        below: usize,
        stop: &Stop,
    ) -> Result<Option<Vec<u8>>> {
        let solid = InSolid {
            blocks: head.blocks,
            is_part: growth != Growth::Never && head.has_room(raw.len()),
            digest: head.digest,
            dictionary: head.dictionary,
        };
        let most = below.saturating_sub(solid.payload(&[]).len());
        let stream = self.with_mixer(|mixer| match solid.is_part {
            true => mix::encode_part(mixer, &head.warm, raw, most, stop),
            false => mix::encode_behind_below(mixer, Front::from(&*head.warm), raw, most, stop),
        })?;
        Ok(stream.map(|stream| solid.payload(&stream)))
    }

    pub(super) fn begin_solid(&self, dictionary: Option<DictionaryId>, first: &[u8], stop: &Stop) -> Result<WarmState> {
        if let Some(id) = dictionary.filter(|id| builtin::find(*id).is_none()) {
            return Err(Error::MissingDictionary { id });
        }
        self.with_mixer(|mixer| {
            let warm = dictionary.map(|id| self.warm(id, mixer, stop)).transpose()?;
            WarmState::begin_solid(mixer, warm.as_deref(), first, solid_len(first.len()), stop)
        })
    }

    /// What the blocks in front of a block taught, of which `last` is the last; `None` if that is not known.
    pub(super) fn solid_state(&self, solid: InSolid, last: &[u8], stop: &Stop) -> Result<Option<Arc<WarmState>>> {
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
