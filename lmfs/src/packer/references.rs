//! Which stored blocks a new one is coded behind on trial: the most similar ones that may be referred to.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use lmfs_codec::{Method, ReferenceDigest, Stop};
use lmfs_indexer::{Extent, MAX_CHAIN, StoredBlock, chain_fits};
use parking_lot::Mutex;
use tracing::error;

use super::Packer;
use super::error::Error;
use super::job::{COURTESY, JobSpec};
use super::similar::{Alike, Sketch};
use crate::store::Tag;
use crate::store::contents::Unreadable;

/// Blocks read in at a time to learn what is packed already.
const PAGE: usize = 256;

/// The most blocks in front of another one that the language model decodes, which takes longer than all others
/// together.
const MAX_MODELLED: usize = 2;

/// A block of a chain.
pub(super) struct Link {
    pub id: u64,
    stored: StoredBlock,
    /// Its tag when all that waits is committed.
    tag: Tag,
}

/// A block to refer to.
pub(super) struct Reference {
    pub id: u64,
    pub raw: std::sync::Arc<Vec<u8>>,
}

impl Packer {
    /// Stored blocks that `id` resembles and may refer to, with their contents. The most similar one comes first. With
    /// `only_close`, those that have at least half in common with it.
    pub(super) fn references(
        &self,
        id: u64,
        sketch: &Sketch,
        only_close: bool,
        computing: &rayon::ThreadPool,
        stop: &Stop,
    ) -> Result<Vec<Reference>, lmfs_codec::Error> {
        let mut references = Vec::new();
        // Those that refer to it would need more than before.
        match self.store.stored_block(id) {
            Ok(Some(now)) if now.referrers == 0 => {}
            _ => return Ok(references),
        }
        let found = self.similar.lock().find(sketch);
        let suits = |found: &Alike<u64>| found.block != id && (found.is_close || !only_close);
        for candidate in found.into_iter().filter(suits).take(CANDIDATES) {
            if references.len() == TRIED {
                break;
            }
            let Some(extent) = self.may_be_referred_to(candidate, id) else {
                continue;
            };
            match self.contents.referred(extent, Some(computing), stop) {
                // What is wrong in memory must not get into what is stored.
                Ok(raw) if is_as_stored(&raw, &extent) => references.push(Reference { id: extent.id, raw }),
                Ok(_) => error!(id = extent.id, "a block in memory is not what is stored; this is a bug"),
                Err(Unreadable::Codec(lmfs_codec::Error::Interrupted)) => return Err(lmfs_codec::Error::Interrupted),
                // Whatever is wrong with another one is no reason not to pack this one.
                Err(_) => {}
            }
        }
        Ok(references)
    }

    /// A block and those that are needed to decode it, as they will be when all that waits is committed. `None` if they
    /// are more than may be, or the index cannot be read.
    pub(super) fn chain(&self, id: u64) -> Option<Vec<Link>> {
        let (mut chain, mut next) = (Vec::new(), id);
        while next != 0 {
            if chain.len() > MAX_CHAIN {
                return None;
            }
            let stored = self.store.stored_block(next).ok()??;
            let waits = self.to_refer.lock().get(&next).copied();
            let (tag, reference) = waits.unwrap_or((Tag(stored.tag), stored.reference));
            chain.push(Link { id: next, stored, tag });
            next = reference;
        }
        Some(chain)
    }

    /// The candidate, if `id` may refer to it.
    fn may_be_referred_to(&self, candidate: Alike<u64>, id: u64) -> Option<Extent> {
        let chain = self.chain(candidate.block)?;
        if !may_grow(&chain, candidate.is_close) || chain.iter().any(|link| link.id == id) {
            return None;
        }
        let candidate = chain.first()?;
        // One that waits to be committed stays as it will be once others refer to it.
        let is_packed = !candidate.tag.needs_packing();
        is_packed.then(|| candidate.stored.extent(candidate.id))
    }

    /// Has a block found by those that resemble it. One whose chain is as long as it may be stays out of the way of
    /// others that are as similar.
    pub(super) fn remember(&self, sketch: &Sketch, id: u64) {
        if self.chain(id).is_some_and(|chain| may_grow(&chain, true)) {
            self.similar.lock().add(sketch, id);
        }
    }

    /// Looks at blocks that are packed already, as many bytes as `most` but not more than [`RECALLED`], if this process
    /// has seen none yet. Those that only the language model decodes take too long.
    pub(super) fn recall(
        &self,
        most: u64,
        spec: &JobSpec<'_>,
        computing: &rayon::ThreadPool,
        stop: &Stop,
    ) -> Result<(), Error> {
        if most == 0 || !self.similar.lock().is_empty() {
            return Ok(());
        }
        let (mut after, mut left, mut seen) = (None, most.min(RECALLED), HashSet::new());
        // Those that others need stay in memory for a while.
        let mut decoded = HashSet::new();
        loop {
            let blocks = self.store.blocks(after, PAGE)?;
            let Some((ino, block, _)) = blocks.last() else {
                return Ok(());
            };
            after = Some((*ino, *block));
            let (mut chosen, mut is_enough) = (Vec::new(), false);
            for found in blocks {
                let (extent, tag) = (found.2, Tag(found.2.tag));
                if tag.needs_packing() || tag.method() == Some(Method::Model) || !seen.insert(extent.id) {
                    continue;
                }
                let Some(chain) = self.chain(extent.id) else {
                    continue;
                };
                let new = chain.iter().filter(|link| decoded.insert(link.id));
                let takes = new.map(|link| u64::from(link.stored.raw_len)).sum();
                let Some(rest) = left.checked_sub(takes) else {
                    is_enough = true;
                    break;
                };
                left = rest;
                chosen.push(found);
            }
            self.look_at(&chosen, spec, computing, stop)?;
            if is_enough {
                return Ok(());
            }
        }
    }

    /// Remembers blocks, in their order: by file and number.
    fn look_at(
        &self,
        blocks: &[(u64, u64, Extent)],
        spec: &JobSpec<'_>,
        computing: &rayon::ThreadPool,
        stop: &Stop,
    ) -> Result<(), Error> {
        let next = AtomicUsize::new(0);
        let sketches = Mutex::new(Vec::new());
        // As in the run itself: these threads touch the store, and the others compute.
        let look = || {
            while let Some(&(ino, block, extent)) = blocks.get(next.fetch_add(1, Ordering::Relaxed)) {
                if spec.idle.is_some() {
                    self.environment.wait_for_readers(COURTESY, &|| stop.is_set());
                }
                if stop.is_set() {
                    return;
                }
                let bytes = self.store.read_block_of(ino, block, &extent).map_err(Unreadable::from);
                let raw = bytes.and_then(|bytes| self.contents.decode(&extent, &bytes, Some(computing), stop));
                // Readers and checks tell of what cannot be read.
                if let Ok(raw) = raw {
                    let sketch = computing.install(|| Sketch::of(&raw));
                    sketches.lock().push(((ino, block), extent.id, sketch));
                }
            }
        };
        std::thread::scope(|scope| {
            (0..spec.threads.max(1)).for_each(|_| drop(scope.spawn(look)));
        });
        if stop.is_set() {
            return Err(Error::Interrupted);
        }
        let mut sketches = sketches.into_inner();
        sketches.sort_unstable_by_key(|(at, _, _)| *at);
        sketches.iter().for_each(|(_, id, sketch)| self.remember(sketch, *id));
        Ok(())
    }
}

/// The number of the reference that a block needs, of those that it was coded behind on trial.
pub(super) fn number(tried: &[Reference], needed: ReferenceDigest) -> Result<u64, lmfs_codec::Error> {
    // The codec decoded the block behind the first one with this digest, too.
    let found = tried.iter().find(|tried| ReferenceDigest::of(&tried.raw) == needed);
    let unknown = || lmfs_codec::Error::Verification("the block needs a reference that it was not coded behind".into());
    found.map(|found| found.id).ok_or_else(unknown)
}

/// Whether a block may be coded behind a chain that is needed to decode its reference.
pub(super) fn may_grow(chain: &[Link], is_close: bool) -> bool {
    let bytes = chain.iter().map(|link| u64::from(link.stored.raw_len)).sum();
    let modelled = chain.iter().filter(|link| link.tag.method() == Some(Method::Model));
    chain_fits(chain.len(), bytes) && (is_close || chain.len() <= MAX_DISTANT) && modelled.count() <= MAX_MODELLED
}

/// Whether these are the bytes of which the index has the digest, if it has one.
fn is_as_stored(raw: &[u8], extent: &Extent) -> bool {
    let digest = u32::from_le_bytes(ReferenceDigest::of(raw).0);
    extent.digest == 0 || extent.digest == digest
}

/// Bytes of packed blocks that are looked at by a process that has seen none yet: a few seconds' work.
const RECALLED: u64 = 64 << 20;

/// Similar blocks that are looked at, until enough are found that can be referred to.
const CANDIDATES: usize = 8;
/// References that a block is coded behind on trial. The smallest result is kept.
const TRIED: usize = 2;
/// The longest chain for a block that has less than half in common with its reference. It saves little, so its readers
/// should not wait for many others.
const MAX_DISTANT: usize = 3;

#[cfg(test)]
mod tests {
    use lmfs_indexer::BlockRef;

    use super::*;

    #[test]
    fn chains_grow_to_their_limits_and_no_further() {
        let location = BlockRef {
            segment: 1,
            offset: 0,
            len: 1,
        };
        let link = |id: usize, raw_len: u32, method: Method| Link {
            id: id as u64,
            stored: StoredBlock {
                location,
                tag: 0,
                raw_len,
                digest: 0,
                users: 1,
                reference: 0,
                referrers: 0,
            },
            tag: Tag::packed(method),
        };
        let chain = |blocks: &[u32]| {
            let links = (1..).zip(blocks).map(|(id, &raw_len)| link(id, raw_len, Method::Mix));
            links.collect::<Vec<_>>()
        };
        for (blocks, close, distant) in [
            (&[1; 3][..], true, true),
            (&[1; 4], true, false),
            (&[1; MAX_CHAIN], true, false),
            (&[1; MAX_CHAIN + 1], false, false),
            (&[1 << 20], true, true),
            (&[256 << 10; 2], true, true),
            (&[256 << 10, 256 << 10, 1], false, false),
        ] {
            let chain = chain(blocks);
            assert_eq!(
                (may_grow(&chain, true), may_grow(&chain, false)),
                (close, distant),
                "{blocks:?}"
            );
        }
        // What a reader waits for longest is what the language model decodes.
        let modelled = |count: usize| {
            let method = |id| if id <= count { Method::Model } else { Method::Mix };
            (1..=5).map(|id| link(id, 1, method(id))).collect::<Vec<_>>()
        };
        assert!(may_grow(&modelled(2), true) && !may_grow(&modelled(3), true));
    }
}
