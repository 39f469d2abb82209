//! Packed blocks on their way into the tree: first durable, then visible.

use std::time::{Duration, Instant};

use lmfs_indexer::{Change, Error as StoreError, Extent, PendingBlock, SkippedSwap, Store};
use sha2::{Digest, Sha256};

use super::Error;
use super::plan::Waiting;
use super::status::Outcome;
use crate::store::Tag;

/// A batch is committed when it has this many blocks ...
const BLOCKS: usize = 64;
/// ... or has waited this long: what a crash can cost in work, never in data.
const AGE: Duration = Duration::from_secs(10);

/// Swaps whose new blocks are appended, but perhaps not durable yet.
#[derive(Default)]
pub(super) struct Batch {
    swaps: Vec<Swap>,
    since: Option<Instant>,
}

/// One block on its way.
struct Swap {
    waiting: Waiting,
    /// SHA-256 of the first copy's bytes in the log.
    first: [u8; 32],
    new: Extent,
    /// Keeps the new block from garbage collection until the swap. After a failure, or a panic, it is garbage: the next
    /// run packs the block anew.
    _pending: Option<PendingBlock>,
}

/// What a block becomes.
pub(super) enum New {
    /// It stays where it is: nothing is smaller.
    Kept(Extent),
    /// It is appended and waits for the swap.
    Packed(Extent, PendingBlock),
}

impl Batch {
    /// Adds the swap of one block, whose first copy is `first`, for `new`.
    pub fn add(&mut self, waiting: &Waiting, first: &[u8], new: New) {
        let (new, pending) = match new {
            New::Kept(extent) => (extent, None),
            New::Packed(extent, pending) => (extent, Some(pending)),
        };
        self.since.get_or_insert_with(Instant::now);
        self.swaps.push(Swap {
            waiting: *waiting,
            first: Sha256::digest(first).into(),
            new,
            _pending: pending,
        });
    }

    /// The batch, leaving an empty one, if it is big or old enough.
    pub fn take_if_due(&mut self) -> Option<Batch> {
        let old = self.since.is_some_and(|since| since.elapsed() >= AGE);
        (old || self.swaps.len() >= BLOCKS).then(|| std::mem::take(self))
    }

    /// Makes the new blocks durable, then swaps the extents, then makes that durable. Returns the first copies and what
    /// became of each.
    pub fn commit(mut self, store: &Store) -> Result<Vec<(Extent, Outcome)>, Error> {
        if self.swaps.is_empty() {
            return Ok(Vec::new());
        }
        store.sync()?;
        for swap in &mut self.swaps {
            swap.follow(store)?;
        }
        let changes = self.swaps.iter().map(|swap| Change::SwapExtent {
            ino: swap.waiting.ino,
            block: swap.waiting.block,
            old: swap.waiting.extent.r,
            new: swap.new,
        });
        let report = store.commit(changes.collect())?;
        store.sync()?;
        let outcomes = self.swaps.iter().map(|Swap { waiting, new, .. }| {
            let skipped = SkippedSwap {
                ino: waiting.ino,
                block: waiting.block,
            };
            let outcome = if report.skipped.contains(&skipped) {
                Outcome::Changed
            } else if new.r == waiting.extent.r {
                Outcome::Kept
            } else {
                Outcome::Packed(new.r.len.into())
            };
            (waiting.extent, outcome)
        });
        Ok(outcomes.collect())
    }
}

impl Swap {
    /// Finds the first copy again if garbage collection moved it since it was read, or the same bytes were written
    /// anew: of them as many count as now. Other bytes stay as they are.
    fn follow(&mut self, store: &Store) -> Result<(), Error> {
        let Waiting { ino, block, extent } = self.waiting;
        let now = store.extent(ino, block)?;
        let Some(now) = now.filter(|now| now.r != extent.r && (now.tag == extent.tag || Tag(now.tag).waits())) else {
            return Ok(());
        };
        match store.read_block_of(ino, block, now.r) {
            Ok(bytes) if <[u8; 32]>::from(Sha256::digest(&bytes)) == self.first => {
                if self.new.r == extent.r {
                    self.new.r = now.r;
                }
                self.new.raw_len = now.raw_len;
                self.waiting.extent = now;
                Ok(())
            }
            // Moved once more, or it cannot be read: it waits for the next run, which says what is wrong with it.
            Ok(_) | Err(StoreError::Moved { .. } | StoreError::Damaged { .. } | StoreError::Io { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
