//! Which stored block a new one is coded behind: the most similar one that may be referred to.

use lmfs_codec::Stop;
use lmfs_indexer::{Extent, MAX_CHAIN, StoredBlock};

use super::Packer;
use super::error::Error;
use super::similar::Sketch;
use crate::store::Tag;
use crate::store::contents::Unreadable;

/// Blocks read in at a time to learn what is packed already.
const PAGE: usize = 256;

/// A block to refer to.
pub(super) struct Reference {
    pub id: u64,
    pub raw: std::sync::Arc<Vec<u8>>,
}

impl Packer {
    /// A stored block that `id` resembles and may refer to, with its contents.
    pub(super) fn reference(
        &self,
        id: u64,
        sketch: &Sketch,
        computing: &rayon::ThreadPool,
        stop: &Stop,
    ) -> Result<Option<Reference>, lmfs_codec::Error> {
        // Those that refer to it would need more than before.
        match self.store.stored_block(id) {
            Ok(Some(now)) if now.referrers == 0 => {}
            _ => return Ok(None),
        }
        let found = self.similar.lock().find(sketch);
        for candidate in found.into_iter().filter(|found| *found != id).take(CANDIDATES) {
            let Some(extent) = self.may_be_referred_to(candidate, id) else {
                continue;
            };
            match self.contents.referred(extent, Some(computing), stop) {
                Ok(raw) => return Ok(Some(Reference { id: extent.id, raw })),
                Err(Unreadable::Codec(lmfs_codec::Error::Interrupted)) => return Err(lmfs_codec::Error::Interrupted),
                // Whatever is wrong with another one is no reason not to pack this one.
                Err(_) => {}
            }
        }
        Ok(None)
    }

    /// A block and those that are needed to decode it, as they will be when all that waits is committed. `None` if they
    /// are more than may be, or the index cannot be read.
    fn chain(&self, id: u64) -> Option<Vec<(u64, StoredBlock)>> {
        let (mut chain, mut next) = (Vec::new(), id);
        while next != 0 {
            if chain.len() > MAX_CHAIN {
                return None;
            }
            let stored = self.store.stored_block(next).ok()??;
            chain.push((next, stored));
            next = self.to_refer.lock().get(&next).copied().unwrap_or(stored.reference);
        }
        Some(chain)
    }

    /// The candidate, if `id` may refer to it.
    fn may_be_referred_to(&self, candidate: u64, id: u64) -> Option<Extent> {
        let chain = self.chain(candidate)?;
        if chain.len() > MAX_CHAIN || chain.iter().any(|(other, _)| *other == id) {
            return None;
        }
        chain.first().map(|(candidate, stored)| stored.extent(*candidate))
    }

    /// Has a block found by those that resemble it. One whose chain is as long as it may be stays out of the way of
    /// others that are as similar.
    pub(super) fn remember(&self, sketch: &Sketch, id: u64) {
        if self.chain(id).is_some_and(|chain| chain.len() <= MAX_CHAIN) {
            self.similar.lock().add(sketch, id);
        }
    }

    /// Looks at blocks that are packed already, as many bytes as `most`, if this process has seen none yet.
    pub(super) fn recall(&self, most: u64, computing: &rayon::ThreadPool, stop: &Stop) -> Result<(), Error> {
        if most == 0 || !self.similar.lock().is_empty() {
            return Ok(());
        }
        let (mut after, mut left) = (None, most);
        loop {
            let blocks = self.store.blocks(after, PAGE)?;
            let Some((ino, block, _)) = blocks.last() else {
                return Ok(());
            };
            after = Some((*ino, *block));
            for (ino, block, extent) in blocks {
                if stop.is_set() {
                    return Err(Error::Interrupted);
                }
                if Tag(extent.tag).needs_packing() {
                    continue;
                }
                let Some(rest) = left.checked_sub(extent.raw_len.into()) else {
                    return Ok(());
                };
                left = rest;
                let Ok(bytes) = self.store.read_block_of(ino, block, &extent) else {
                    continue;
                };
                match self.contents.decode(&extent, &bytes, Some(computing), stop) {
                    Ok(raw) => self.remember(&Sketch::of(&raw), extent.id),
                    Err(Unreadable::Codec(lmfs_codec::Error::Interrupted)) => return Err(Error::Interrupted),
                    // Readers and checks tell of what cannot be read.
                    Err(_) => {}
                }
            }
        }
    }
}

/// Similar blocks that are looked at, until one can be referred to.
const CANDIDATES: usize = 4;
