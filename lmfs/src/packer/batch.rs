//! Packed blocks on their way into the tree: first durable, then visible.

use std::time::{Duration, Instant};

use lmfs_indexer::{Change, Extent, PendingBlock, Skipped, Store, StoredBlock};

use super::error::Error;
use super::queue::Waiting;
use super::status::Outcome;
use crate::store::Tag;

/// A batch is committed when it has this many blocks ...
const BLOCKS: usize = 64;
/// ... or has waited this long: what a crash can cost in work, never in data.
const AGE: Duration = Duration::from_secs(10);
/// Blocks with more users than this together are swapped in by more than one transaction: each of them costs work, and
/// everybody's commits wait for it.
const USERS: u64 = 1 << 16;

/// Swaps whose new blocks are appended, but perhaps not durable yet.
#[derive(Default)]
pub(super) struct Batch {
    swaps: Vec<(Waiting, New)>,
    since: Option<Instant>,
}

/// What a stored block becomes.
pub(super) enum New {
    /// It stays where it is, with this tag: nothing is smaller.
    Kept(Tag),
    /// It is appended and waits for the swap. After a failure, or a panic, what was appended is garbage: the next run
    /// packs the block anew. The number is that of the stored block that it refers to, or 0.
    Packed(Tag, PendingBlock, u64),
    /// Another stored block, with this number, has the same bytes: all who use this one will use that one.
    Same(u64),
}

impl Batch {
    /// Adds what one block becomes.
    pub fn add(&mut self, waiting: &Waiting, new: New) {
        self.since.get_or_insert_with(Instant::now);
        self.swaps.push((*waiting, new));
    }

    /// The batch, leaving an empty one, if it is big or old enough.
    pub fn take_if_due(&mut self) -> Option<Batch> {
        let old = self.since.is_some_and(|since| since.elapsed() >= AGE);
        (old || self.swaps.len() >= BLOCKS).then(|| std::mem::take(self))
    }

    /// Makes the new blocks durable, then swaps them in, then makes that durable. Returns the staged blocks and what
    /// became of each.
    pub fn commit(self, store: &Store) -> Result<Vec<(Extent, Outcome)>, Error> {
        if self.swaps.is_empty() {
            return Ok(Vec::new());
        }
        store.sync()?;
        let (mut changes, mut outcomes) = (Vec::new(), Vec::new());
        let (mut users, mut skipped) = (0, Vec::new());
        for (waiting, new) in &self.swaps {
            let id = waiting.extent.id;
            // Garbage collection may have moved it since it was read. Its contents are the same for ever.
            let now = store.stored_block(id)?.filter(|now| waiting.is_still(now.tag));
            let Some(now) = now else {
                outcomes.push((waiting.extent, Outcome::Changed));
                continue;
            };
            users += now.users;
            if users > USERS && !changes.is_empty() {
                skipped.extend(store.commit(std::mem::take(&mut changes))?.skipped);
                users = now.users;
            }
            changes.push(change(waiting, &now, new));
            let outcome = match new {
                New::Kept(_) => Outcome::Kept,
                New::Packed(_, pending, _) => Outcome::Packed(pending.location().len.into()),
                New::Same(_) => Outcome::Shared,
            };
            outcomes.push((waiting.extent, outcome));
        }
        skipped.extend(store.commit(changes)?.skipped);
        store.sync()?;
        for (extent, outcome) in &mut outcomes {
            if skipped.contains(&Skipped { id: extent.id }) {
                *outcome = Outcome::Changed;
            }
        }
        Ok(outcomes)
    }

    /// Numbers of the stored blocks in it.
    pub fn ids(&self) -> Vec<u64> {
        self.swaps.iter().map(|(waiting, _)| waiting.extent.id).collect()
    }
}

fn change(waiting: &Waiting, now: &StoredBlock, new: &New) -> Change {
    let (id, hint) = (waiting.extent.id, waiting.ino);
    let (new, Tag(tag), reference) = match new {
        New::Kept(tag) => (now.location, *tag, now.reference),
        New::Packed(tag, pending, reference) => (pending.location(), *tag, *reference),
        New::Same(into) => {
            let into = *into;
            return Change::MergeBlock { id, into, hint };
        }
    };
    Change::SwapBlock {
        id,
        old: now.location,
        new,
        tag,
        reference,
        hint,
    }
}
