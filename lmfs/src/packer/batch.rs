//! Packed blocks on their way into the tree: first durable, then visible.

use std::time::{Duration, Instant};

use lmfs_indexer::{Change, Extent, SkippedSwap, Store};

use super::Error;
use super::plan::Waiting;
use super::status::Outcome;

/// A batch is committed when it has this many blocks ...
const BLOCKS: usize = 64;
/// ... or has waited this long: what a crash can cost in work, never in data.
const AGE: Duration = Duration::from_secs(10);

/// Swaps whose new blocks are appended, but perhaps not durable yet.
#[derive(Default)]
pub(super) struct Batch {
    swaps: Vec<(Waiting, Extent)>,
    since: Option<Instant>,
}

impl Batch {
    /// Adds the swap of one block for `new`.
    pub fn add(&mut self, waiting: &Waiting, new: Extent) {
        self.since.get_or_insert_with(Instant::now);
        self.swaps.push((*waiting, new));
    }

    /// The batch, leaving an empty one, if it is big or old enough.
    pub fn take_if_due(&mut self) -> Option<Batch> {
        let old = self.since.is_some_and(|since| since.elapsed() >= AGE);
        (old || self.swaps.len() >= BLOCKS).then(|| std::mem::take(self))
    }

    /// Makes the new blocks durable, then swaps the extents, then makes that durable. Returns the first copies and what
    /// became of each.
    pub fn commit(self, store: &Store) -> Result<Vec<(Extent, Outcome)>, Error> {
        if self.swaps.is_empty() {
            return Ok(Vec::new());
        }
        let changes = self.swaps.iter().map(|(waiting, new)| Change::SwapExtent {
            ino: waiting.ino,
            block: waiting.block,
            old: waiting.extent.r,
            new: *new,
        });
        store.sync()?;
        let report = store.commit(changes.collect())?;
        store.sync()?;
        let outcomes = self.swaps.iter().map(|(waiting, new)| {
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
