//! What became of a key, and how the blocks behind it are decoded.

use crate::block::{KeyPart, decode_as};
use crate::dictionary::builtin;
use crate::{Codec, Error, Result, Stop};

/// Whether this block needs the key of its container, if that has one: it is a part of it, or names a dictionary that
/// is not built in.
pub(in crate::stream) fn may_need(block: &[u8]) -> bool {
    let named = || Codec::needs(block).ok().and_then(|needs| needs.dictionary);
    KeyPart::of(block).is_some() || named().is_some_and(|id| builtin::find(id).is_none())
}

pub(super) fn broken(reason: &str) -> Error {
    Error::damaged(
        "container",
        format!("its key, which this block needs, is damaged: {reason}"),
    )
}

/// What was learned of a key.
#[derive(Clone)]
pub(super) enum Learned {
    /// There is no key, or one of no use.
    Nothing,
    /// What decodes the blocks behind it.
    Codec(Codec),
    /// Why it cannot be learned. Blocks that do not need it decode all the same.
    Damaged(String),
}

impl Learned {
    pub fn codec(&self) -> Option<&Codec> {
        match self {
            Learned::Codec(codec) => Some(codec),
            Learned::Nothing | Learned::Damaged(_) => None,
        }
    }

    /// Decodes a block that is no part of the key, in a container of `codec`.
    ///
    /// # Errors
    /// As of [`Codec::decode`]. A block that needs a damaged key is damaged.
    pub fn decode(&self, codec: &Codec, block: &[u8], fp: &[u8; 8], stop: &Stop) -> Result<Vec<u8>> {
        match self {
            Learned::Nothing => decode_as(codec, block, fp, stop),
            Learned::Codec(behind) => decode_as(behind, block, fp, stop),
            Learned::Damaged(reason) => match decode_as(codec, block, fp, stop) {
                Err(Error::MissingDictionary { .. }) if may_need(block) => Err(broken(reason)),
                other => other,
            },
        }
    }
}
