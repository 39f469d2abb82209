//! The key of a container, as it is read: its first blocks, which are a dictionary for the others.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::block::{KeyCoder, KeyPart, decode_as};
use crate::dictionary::builtin;
use crate::{Codec, Error, Header, Result, Stop};

/// Whether this block needs the key of its container, if that has one: it is a part of it, or names a dictionary that
/// is not built in.
pub(super) fn may_need(block: &[u8]) -> bool {
    let named = || Codec::needs(block).ok().and_then(|needs| needs.dictionary);
    KeyPart::of(block).is_some() || named().is_some_and(|id| builtin::find(id).is_none())
}

fn broken(reason: &str) -> Error {
    Error::damaged(
        "container",
        format!("its key, which this block needs, is damaged: {reason}"),
    )
}

/// What was learned of the first blocks of a container.
pub(super) struct Key {
    /// The bytes of its blocks, up to one that is damaged.
    text: Vec<u8>,
    /// What decodes the blocks behind it. None: there is no key.
    rest: std::result::Result<Option<Codec>, String>,
}

impl Key {
    /// Learns it from the container's first blocks, of which these are the stored bytes. Others may follow.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub(super) fn learn(codec: &Codec, mut stored: &[u8], stop: &Stop) -> Result<Key> {
        let mut key = Key {
            text: Vec::new(),
            rest: Ok(None),
        };
        let mut next = || -> Result<(&[u8], usize)> {
            let header = Header::parse_prefix(stored)?;
            let (block, rest) = stored
                .split_at_checked(Header::LEN + header.payload_len as usize)
                .ok_or_else(|| Error::damaged("container", "it ends early"))?;
            stored = rest;
            Ok((block, header.raw_len as usize))
        };
        let mut learn = || -> Result<Option<Codec>> {
            let (first, len) = next()?;
            let Some(KeyPart { blocks, .. }) = KeyPart::of(first) else {
                // Another block of it tells that there was one.
                return match std::iter::from_fn(|| next().ok()).any(|(block, _)| KeyPart::of(block).is_some()) {
                    true => Err(Error::damaged("container", "its first block is not intact")),
                    false => Ok(None),
                };
            };
            let mut coder = KeyCoder::new(blocks, len)?;
            key.text.extend(coder.decode(codec, first, stop)?);
            for _ in 1..blocks {
                key.text.extend(coder.decode(codec, next()?.0, stop)?);
            }
            Ok(coder.finish(codec))
        };
        key.rest = match learn() {
            Err(error) if error.is_damage() => Err(error.to_string()),
            other => Ok(other?),
        };
        Ok(key)
    }

    /// Decodes a block of the container, whose content is at `start` in it.
    pub(super) fn decode(&self, codec: &Codec, start: u64, block: &[u8], fp: &[u8; 8], stop: &Stop) -> Result<Vec<u8>> {
        if KeyPart::of(block).is_some() {
            let len = Header::parse(block)?.raw_len as usize;
            let start = usize::try_from(start).unwrap_or(usize::MAX);
            let bytes = self.text.get(start..).and_then(|rest| rest.get(..len));
            return match (bytes, &self.rest) {
                (Some(bytes), _) => Ok(bytes.to_vec()),
                (None, Err(reason)) => Err(broken(reason)),
                (None, Ok(_)) => Err(Error::damaged("container", "a block of a key is not where its key is")),
            };
        }
        match &self.rest {
            Ok(key) => decode_as(key.as_ref().unwrap_or(codec), block, fp, stop),
            Err(reason) if may_need(block) => match decode_as(codec, block, fp, stop) {
                Err(Error::MissingDictionary { .. }) => Err(broken(reason)),
                other => other,
            },
            Err(_) => decode_as(codec, block, fp, stop),
        }
    }
}

/// How many keys a reader keeps that goes from one container to another. Each takes about 20 times its text.
const MOST_KEYS: usize = 2;

/// The keys of containers in a row, by number. The ones unused for longest go.
#[derive(Default)]
pub(super) struct Keys {
    kept: Mutex<VecDeque<(usize, Arc<Key>)>>,
    /// Held while one is learned, so that several readers do not do the same work.
    learning: Mutex<()>,
}

impl Keys {
    /// A key that is kept, or what `learn` makes.
    pub(super) fn get_or(&self, number: usize, stop: &Stop, learn: impl FnOnce() -> Result<Key>) -> Result<Arc<Key>> {
        let _alone = loop {
            if let Some(alone) = self.learning.try_lock_for(TICK) {
                break alone;
            }
            stop.check()?;
        };
        if let Some(key) = self.get(number) {
            return Ok(key);
        }
        let key = Arc::new(learn()?);
        let mut kept = self.kept.lock();
        kept.push_front((number, Arc::clone(&key)));
        kept.truncate(MOST_KEYS);
        Ok(key)
    }

    pub(super) fn get(&self, container: usize) -> Option<Arc<Key>> {
        let mut kept = self.kept.lock();
        let at = kept.iter().position(|(number, _)| *number == container)?;
        let found = kept.remove(at)?;
        let key = Arc::clone(&found.1);
        kept.push_front(found);
        Some(key)
    }
}

/// How often whoever waits looks whether there is still a reason to.
const TICK: Duration = Duration::from_millis(50);

/// The key of a container that is read from its start, by several threads. Its blocks are decoded in their order, those
/// behind it when it is complete.
#[derive(Default)]
pub(super) struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Blocks of it that were found, and that it has.
    found: u16,
    blocks: u16,
    /// Nothing more of it will be found.
    ended: bool,
    /// Blocks that were decoded.
    decoded: u16,
    /// While a block is being decoded, or none was yet, there is none.
    coder: Option<KeyCoder>,
    codec: Option<Codec>,
    damage: Option<String>,
}

/// What a block is to the key of its container.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The part of this number, behind all before it.
    Part(KeyPart),
    /// A part that does not fit what was found before.
    Stray,
    /// Something else.
    Other,
}

impl Turns {
    /// Takes note of the next block of the container, before it is handed to a thread. `first`: nothing is before it.
    pub(super) fn found(&self, block: &[u8], first: bool) -> Role {
        let mut state = self.state.lock();
        let part = KeyPart::of(block);
        match part {
            Some(part) if first && part.number == 0 => {
                (state.found, state.blocks) = (1, part.blocks);
                Role::Part(part)
            }
            Some(part) if !state.ended && part.blocks == state.blocks && part.number == state.found => {
                state.found += 1;
                Role::Part(part)
            }
            _ => {
                state.ended = true;
                if let Some(stray) = part.filter(|_| state.blocks == 0) {
                    // There was a key, of which the first block is not intact.
                    state.blocks = stray.blocks;
                }
                self.changed.notify_all();
                if part.is_some() { Role::Stray } else { Role::Other }
            }
        }
    }

    /// Decodes a block. All that were [found](Turns::found) before it must have been handed to threads.
    pub(super) fn decode(&self, role: Role, codec: &Codec, block: &[u8], fp: &[u8; 8], stop: &Stop) -> Result<Vec<u8>> {
        match role {
            Role::Part(part) => self.part(part, codec, block, stop),
            Role::Stray => Err(broken("blocks of it are missing")),
            Role::Other if !may_need(block) => decode_as(codec, block, fp, stop),
            Role::Other => match self.complete(stop)? {
                Ok(key) => decode_as(key.as_ref().unwrap_or(codec), block, fp, stop),
                Err(reason) => match decode_as(codec, block, fp, stop) {
                    Err(Error::MissingDictionary { .. }) => Err(broken(&reason)),
                    other => other,
                },
            },
        }
    }

    fn part(&self, part: KeyPart, codec: &Codec, block: &[u8], stop: &Stop) -> Result<Vec<u8>> {
        let mut state = self.state.lock();
        while state.decoded < part.number && state.damage.is_none() {
            stop.check()?;
            self.changed.wait_for(&mut state, TICK);
        }
        if let Some(reason) = &state.damage {
            return Err(broken(reason));
        }
        let coder = state.coder.take();
        // Only the next block waits for this one, but every thread looks at the state.
        drop(state);
        let decoded = self.next_part(part, coder, codec, block, stop);
        let mut state = self.state.lock();
        let result = match decoded {
            Ok((raw, coder)) => {
                state.decoded += 1;
                if state.decoded == state.blocks {
                    state.codec = coder.finish(codec);
                } else {
                    state.coder = Some(coder);
                }
                Ok(raw)
            }
            Err(error) => {
                state.damage = Some(error.to_string());
                Err(error)
            }
        };
        self.changed.notify_all();
        result
    }

    fn next_part(
        &self,
        part: KeyPart,
        coder: Option<KeyCoder>,
        codec: &Codec,
        block: &[u8],
        stop: &Stop,
    ) -> Result<(Vec<u8>, KeyCoder)> {
        let len = Header::parse(block)?.raw_len as usize;
        let mut coder = match coder {
            Some(coder) => coder,
            None => KeyCoder::new(part.blocks, len)?,
        };
        let raw = coder.decode(codec, block, stop)?;
        Ok((raw, coder))
    }

    /// Waits for the whole key: what decodes what is behind it, if there is one, or why it is not complete.
    fn complete(&self, stop: &Stop) -> Result<std::result::Result<Option<Codec>, String>> {
        let mut state = self.state.lock();
        loop {
            if let Some(reason) = &state.damage {
                return Ok(Err(reason.clone()));
            }
            if state.ended && state.found < state.blocks {
                return Ok(Err("blocks of it are missing".into()));
            }
            if state.decoded == state.blocks {
                return Ok(Ok(state.codec.clone()));
            }
            stop.check()?;
            self.changed.wait_for(&mut state, TICK);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests;
