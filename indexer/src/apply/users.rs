//! Who uses the stored blocks of a row, found once for all of them.

use crate::index::rows::{RUN, Run};
use std::collections::{BTreeMap, BTreeSet};

/// Where a block of a file is: the file, the run, and how many blocks of the run name a stored block.
pub(super) struct UsedBy {
    pub(super) ino: u64,
    pub(super) run: u64,
    pub(super) times: u64,
}

/// Who uses the stored blocks of one row, as it is by now: swaps and merges come for neighbours together, and looking
/// for the users of one of them finds those of all.
#[derive(Default)]
pub(super) struct Users {
    /// By stored block, file and run: how many blocks of the run name it.
    times: BTreeMap<(u64, u64, u64), u64>,
    /// Stored blocks left out because they have too many users.
    left_out: BTreeSet<u64>,
}

impl Users {
    /// None yet. The stored blocks in `left_out` have too many to be kept here.
    pub(super) fn without(left_out: BTreeSet<u64>) -> Self {
        Self {
            times: BTreeMap::new(),
            left_out,
        }
    }

    pub(super) fn note(&mut self, ino: u64, run: u64, blocks: &Run, row: u64) {
        for id in ids_in(blocks, row) {
            if !self.left_out.contains(&id) {
                *self.times.entry((id, ino, run)).or_default() += 1;
            }
        }
    }

    pub(super) fn forget(&mut self, ino: u64, run: u64, blocks: &Run, row: u64) {
        for id in ids_in(blocks, row) {
            self.times.remove(&(id, ino, run));
        }
    }

    /// The users of a stored block; none if it was left out.
    pub(super) fn of(&self, id: u64) -> Option<Vec<UsedBy>> {
        let found = self.times.range((id, 0, 0)..=(id, u64::MAX, u64::MAX));
        let used = found.map(|(&(_, ino, run), &times)| UsedBy { ino, run, times });
        (!self.left_out.contains(&id)).then(|| used.collect())
    }
}

/// The stored blocks of one row that the blocks of a run name.
fn ids_in(blocks: &Run, row: u64) -> impl Iterator<Item = u64> {
    blocks.iter().flatten().map(|u| u.id).filter(move |id| id / RUN == row)
}
