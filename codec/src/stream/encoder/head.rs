//! What the encoder makes of the first blocks: the key of the container, or blocks like all others.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::block::KeyCoder;
use crate::{Codec, Error, Header, Method, Result, Stop};

/// A block to be coded, by what it is in its container.
pub(super) enum Job {
    /// One in a container without a key.
    Alone(Vec<u8>),
    /// The first block of the head. Whoever codes it decides about the key.
    First(Arc<Head>),
    /// Another block of the head, or the one behind it.
    Head(Arc<Head>, usize),
    /// One behind the head.
    Rest(Arc<Head>, Vec<u8>),
}

/// The blocks that may become the key, and the one that follows them.
pub(super) struct Head {
    blocks: Vec<Vec<u8>>,
    next: Vec<u8>,
    /// Bytes of content that are known behind the head.
    rest: usize,
    decided: Mutex<Option<Decision>>,
    changed: Condvar,
}

/// What codes the blocks behind the head, and those of the head that were coded to find out.
struct Decision {
    codec: Codec,
    coded: Vec<Option<Vec<u8>>>,
}

impl Head {
    /// `next` is the block behind `blocks`, all of which have one length, and the first of `rest` bytes.
    pub(super) fn new(blocks: Vec<Vec<u8>>, next: Vec<u8>, rest: usize) -> Head {
        Head {
            blocks,
            next,
            rest,
            decided: Mutex::new(None),
            changed: Condvar::new(),
        }
    }

    /// How many blocks of this size the key has, of at most `most` bytes, if `len` bytes of content are known: all that
    /// are whole, but for one that is behind it.
    pub(super) fn len(block_size: usize, most: usize, len: usize) -> usize {
        let most = most.min(len.saturating_sub(1));
        (most / block_size).min(u16::MAX.into())
    }

    /// Decides, and codes the first block.
    fn first(&self, codec: &Codec, stop: &Stop) -> Result<Vec<u8>> {
        let decision = self.decide(codec, stop);
        // Others wait for a decision even if there is an error, which comes out before what they made.
        let (decision, result) = match decision {
            Ok(decision) => (decision, Ok(())),
            Err(error) => (
                Decision {
                    codec: codec.clone(),
                    coded: Vec::new(),
                },
                Err(error),
            ),
        };
        *self.decided.lock() = Some(decision);
        self.changed.notify_all();
        result?;
        self.block(0, codec, stop)
    }

    /// The block of this number of the head.
    fn block(&self, number: usize, codec: &Codec, stop: &Stop) -> Result<Vec<u8>> {
        let coded = self.wait(stop, |decision| decision.coded.get_mut(number).and_then(Option::take))?;
        match coded {
            Some(coded) => Ok(coded),
            // Only the last of them can be behind the key, and that one was coded to find out.
            None => codec.encode(self.blocks.get(number).unwrap_or(&self.next), stop),
        }
    }

    /// Waits for the decision. It is made by whoever has the first block, which was handed out before all others.
    fn wait<T>(&self, stop: &Stop, look: impl FnOnce(&mut Decision) -> T) -> Result<T> {
        let mut decided = self.decided.lock();
        loop {
            if let Some(decision) = decided.as_mut() {
                return Ok(look(decision));
            }
            stop.check()?;
            self.changed.wait_for(&mut decided, Stop::TICK);
        }
    }

    /// The key is worth it if what is known of the content takes less with it than without, by some blocks of it. Then
    /// it saves the more, the longer the content is.
    fn decide(&self, codec: &Codec, stop: &Stop) -> Result<Decision> {
        let count = self.blocks.len();
        let mut coded: Vec<Option<Vec<u8>>> = vec![None; count];
        let mut cold = Vec::new();
        for number in [0, count.saturating_sub(1)] {
            if let (Some(raw), Some(to @ None)) = (self.blocks.get(number), coded.get_mut(number)) {
                let block = codec.encode(raw, stop)?;
                cold.push(block.len() as f64 / raw.len() as f64);
                *to = Some(block);
            }
        }
        let header = |block: &Vec<u8>| Header::parse_prefix(block).ok();
        let raw = coded
            .iter()
            .flatten()
            .filter_map(header)
            .all(|header| header.method == Method::Raw);
        let alone = Decision {
            codec: codec.clone(),
            coded,
        };
        // What is noise at both ends is no dictionary, and coding it as one would take a thousand times longer.
        if raw {
            return Ok(alone);
        }
        let Some((key, coded)) = self.key(codec, stop)? else {
            return Ok(alone);
        };
        let behind = key.encode(&self.next, stop)?;
        let rate = cold.iter().sum::<f64>() / cold.len().max(1) as f64;
        let rate_behind = (behind.len() as f64 / self.next.len() as f64).min(rate);
        let (stored, head) = (
            coded.iter().map(Vec::len).sum::<usize>(),
            self.blocks.iter().map(Vec::len).sum::<usize>(),
        );
        if stored as f64 + rate_behind * self.rest as f64 >= rate * (head + self.rest) as f64 {
            return Ok(alone);
        }
        Ok(Decision {
            codec: key,
            coded: coded.into_iter().chain([behind]).map(Some).collect(),
        })
    }

    /// Codes the head as a key; `None` if that is no use.
    fn key(&self, codec: &Codec, stop: &Stop) -> Result<Option<(Codec, Vec<Vec<u8>>)>> {
        let block_size = self.blocks.first().map_or(0, Vec::len);
        let Ok(count) = u16::try_from(self.blocks.len()) else {
            return Ok(None);
        };
        let (mut encoder, mut decoder) = (KeyCoder::new(count, block_size)?, KeyCoder::new(count, block_size)?);
        let mut blocks = Vec::with_capacity(self.blocks.len());
        for raw in &self.blocks {
            let Some(block) = encoder.encode(codec, raw, stop)? else {
                return Ok(None);
            };
            // As every block: what was coded is decoded and compared before it is trusted.
            match decoder.decode(codec, &block, stop) {
                Ok(decoded) if decoded == *raw => blocks.push(block),
                Err(Error::Interrupted) => return Err(Error::Interrupted),
                _ => {
                    tracing::warn!("a key does not decode to what it was made of; the container has none");
                    return Ok(None);
                }
            }
        }
        Ok(decoder.finish(codec).map(|key| (key, blocks)))
    }
}

impl Job {
    /// Codes it.
    pub(super) fn run(self, codec: &Codec, stop: &Stop) -> Result<Vec<u8>> {
        match self {
            Job::Alone(raw) => codec.encode(&raw, stop),
            Job::First(head) => head.first(codec, stop),
            Job::Head(head, number) => head.block(number, codec, stop),
            Job::Rest(head, raw) => {
                let codec = head.wait(stop, |decision| decision.codec.clone())?;
                codec.encode(&raw, stop)
            }
        }
    }
}
