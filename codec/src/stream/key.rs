//! The key of a container, as it is read: its first blocks, which are a dictionary for the others.

mod kept;
mod learned;
mod turns;

use std::sync::OnceLock;

pub(super) use kept::Keys;
pub use kept::kept_key_bytes;
pub(super) use learned::may_need;
use learned::{Learned, broken};
pub(super) use turns::{Role, Turns};

use crate::block::{KeyCoder, KeyPart, decode_as};
use crate::mix::WarmState;
use crate::{Codec, Error, Header, Result, Stop};

/// What was learned of the first blocks of a container.
pub(super) struct Key {
    /// The bytes of its blocks up to one that is damaged, unless a codec has them.
    text: Vec<u8>,
    learned: Learned,
    /// The first block of the container, if it is no part of a key.
    first: Vec<u8>,
    /// Whether that block decodes, once somebody had to know.
    intact: OnceLock<bool>,
}

impl Key {
    /// Bytes of memory that it takes.
    fn bytes(&self) -> usize {
        let warm = self.learned.codec().and_then(Codec::key).map_or(0, WarmState::bytes);
        // A codec and its place in a list take some hundred bytes more.
        warm + self.text.capacity() + self.first.capacity() + 1024
    }

    /// Learns it from the container's first blocks, of which these are the stored bytes. Others may follow.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub(super) fn learn(codec: &Codec, mut stored: &[u8], stop: &Stop) -> Result<Key> {
        let mut key = Key {
            text: Vec::new(),
            learned: Learned::Nothing,
            first: Vec::new(),
            intact: OnceLock::new(),
        };
        let mut next = || -> Result<(&[u8], usize)> {
            let header = Header::parse_prefix(stored)?;
            let (block, rest) = stored
                .split_at_checked(Header::LEN + header.payload_len as usize)
                .ok_or_else(|| Error::damaged("container", "it ends early"))?;
            stored = rest;
            Ok((block, header.raw_len as usize))
        };
        let mut learn = || -> Result<Learned> {
            let (first, len) = next()?;
            let Some(KeyPart { blocks, .. }) = KeyPart::of(first) else {
                // Another block of it tells that there was one.
                return match std::iter::from_fn(|| next().ok()).any(|(block, _)| KeyPart::of(block).is_some()) {
                    true => Err(Error::damaged("container", "its first block is not intact")),
                    false => {
                        key.first = first.to_vec();
                        Ok(Learned::Nothing)
                    }
                };
            };
            let mut coder = KeyCoder::new(blocks, len)?;
            key.text.extend(coder.decode(codec, first, stop)?);
            for _ in 1..blocks {
                key.text.extend(coder.decode(codec, next()?.0, stop)?);
            }
            Ok(coder.finish(codec).map_or(Learned::Nothing, Learned::Codec))
        };
        key.learned = match learn() {
            Err(error) if error.is_damage() => Learned::Damaged(error.to_string()),
            other => other?,
        };
        if key.learned.codec().is_some() {
            key.text = Vec::new();
        }
        Ok(key)
    }

    fn text(&self) -> &[u8] {
        self.learned
            .codec()
            .and_then(Codec::key)
            .map_or(&self.text, WarmState::text)
    }

    /// Whether there was no key. A first block that does not decode may have been one.
    fn had_none(&self, codec: &Codec, fp: &[u8; 8], stop: &Stop) -> Result<bool> {
        if let Some(intact) = self.intact.get() {
            return Ok(*intact);
        }
        let intact = match decode_as(codec, &self.first, fp, stop) {
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) => !error.is_damage(),
            Ok(_) => true,
        };
        Ok(*self.intact.get_or_init(|| intact))
    }

    /// Decodes a block of the container, whose content is at `start` in it.
    pub(super) fn decode(&self, codec: &Codec, start: u64, block: &[u8], fp: &[u8; 8], stop: &Stop) -> Result<Vec<u8>> {
        if KeyPart::of(block).is_some() {
            let len = Header::parse(block)?.raw_len as usize;
            let start = usize::try_from(start).unwrap_or(usize::MAX);
            let bytes = self.text().get(start..).and_then(|rest| rest.get(..len));
            return match (bytes, &self.learned) {
                (Some(bytes), _) => Ok(bytes.to_vec()),
                (None, Learned::Damaged(reason)) => Err(broken(reason)),
                (None, _) => Err(Error::damaged("container", "a block of a key is not where its key is")),
            };
        }
        match (self.learned.decode(codec, block, fp, stop), &self.learned) {
            (Err(Error::MissingDictionary { .. }), Learned::Nothing)
                if !self.first.is_empty() && !self.had_none(codec, fp, stop)? =>
            {
                Err(broken("its first block is not intact"))
            }
            (decoded, _) => decoded,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests;
