//! The key of a container that is read from its start.

use parking_lot::{Condvar, Mutex};

use super::learned::{Learned, broken, may_need};
use crate::block::{KeyCoder, KeyPart, decode_as};
use crate::{Codec, Error, Header, Result, Stop};

/// The key of a container that is read from its start, by several threads. Its blocks are decoded in their order, those
/// behind it when it is complete.
#[derive(Default)]
pub(in crate::stream) struct Turns {
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
    first: First,
}

/// What is known of the first block, if it is no part of a key. One that is damaged may have been one.
#[derive(Default, PartialEq, Eq)]
enum First {
    #[default]
    Intact,
    UnderWay,
    Lost,
}

/// What a block is to the key of its container.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::stream) enum Role {
    /// The part of this number, behind all before it.
    Part(KeyPart),
    /// A part that does not fit what was found before.
    Stray,
    /// The first block, which is something else.
    First,
    /// Something else.
    Other,
}

impl Turns {
    /// Takes note of the next block of the container, before it is handed to a thread. `first`: no block was found
    /// before it. `lost`: there may have been some.
    pub(in crate::stream) fn found(&self, block: &[u8], first: bool, lost: bool) -> Role {
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
                let role = match (part, first) {
                    (Some(_), _) => Role::Stray,
                    (None, true) if lost => {
                        state.first = First::Lost;
                        Role::Other
                    }
                    (None, true) => {
                        state.first = First::UnderWay;
                        Role::First
                    }
                    (None, false) => Role::Other,
                };
                self.changed.notify_all();
                role
            }
        }
    }

    /// Decodes a block. All that were [found](Turns::found) before it must have been handed to threads.
    pub(in crate::stream) fn decode(
        &self,
        role: Role,
        codec: &Codec,
        block: &[u8],
        fp: &[u8; 8],
        stop: &Stop,
    ) -> Result<Vec<u8>> {
        match role {
            Role::Part(part) => self.part(part, codec, block, stop),
            Role::Stray => Err(broken("blocks of it are missing")),
            Role::First => {
                let decoded = self.other(codec, block, fp, stop);
                let lost = decoded.as_ref().is_err_and(Error::is_damage);
                self.state.lock().first = if lost { First::Lost } else { First::Intact };
                self.changed.notify_all();
                decoded
            }
            Role::Other => match self.other(codec, block, fp, stop) {
                Err(Error::MissingDictionary { .. }) if self.first_is_lost(stop)? => {
                    Err(broken("the first block is not intact"))
                }
                other => other,
            },
        }
    }

    /// Decodes a block that is no part of the key.
    fn other(&self, codec: &Codec, block: &[u8], fp: &[u8; 8], stop: &Stop) -> Result<Vec<u8>> {
        if !may_need(block) {
            return decode_as(codec, block, fp, stop);
        }
        self.complete(stop)?.decode(codec, block, fp, stop)
    }

    fn first_is_lost(&self, stop: &Stop) -> Result<bool> {
        let mut state = self.state.lock();
        while state.first == First::UnderWay {
            stop.check()?;
            self.changed.wait_for(&mut state, Stop::TICK);
        }
        Ok(state.first == First::Lost)
    }

    fn part(&self, part: KeyPart, codec: &Codec, block: &[u8], stop: &Stop) -> Result<Vec<u8>> {
        let mut state = self.state.lock();
        while state.decoded < part.number && state.damage.is_none() {
            stop.check()?;
            self.changed.wait_for(&mut state, Stop::TICK);
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

    /// Waits for the whole key.
    fn complete(&self, stop: &Stop) -> Result<Learned> {
        let mut state = self.state.lock();
        loop {
            if let Some(reason) = &state.damage {
                return Ok(Learned::Damaged(reason.clone()));
            }
            if state.ended && state.found < state.blocks {
                return Ok(Learned::Damaged("blocks of it are missing".into()));
            }
            if state.decoded == state.blocks {
                return Ok(state.codec.clone().map_or(Learned::Nothing, Learned::Codec));
            }
            stop.check()?;
            self.changed.wait_for(&mut state, Stop::TICK);
        }
    }
}
