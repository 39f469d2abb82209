//! The table of digests of stored blocks, in memory.

use crate::index::Index;
use crate::index::rows::{self, Row};
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// Digests in each half of the table, which takes about 25 bytes for each. When the newer half is full, the older one
/// is forgotten: of more than so many stored blocks, those written last are found.
const HALF: usize = 1 << 19;

/// Most stored blocks with one digest that are looked at.
const MOST: usize = 64;

/// Digests of stored blocks, and their numbers.
#[derive(Default)]
pub(super) struct Contents {
    newer: BTreeSet<(u32, u64)>,
    older: BTreeSet<(u32, u64)>,
    /// Whether what the index holds was read in.
    pub(super) read: bool,
}

impl Contents {
    pub(super) fn get(&self, digest: u32) -> Vec<u64> {
        let all = (digest, 0)..=(digest, u64::MAX);
        let found = self.older.range(all.clone()).chain(self.newer.range(all));
        found.map(|(_, id)| *id).take(MOST).collect()
    }

    pub(super) fn put(&mut self, digest: u32, id: u64) {
        if digest == 0 || self.older.contains(&(digest, id)) {
            return;
        }
        if self.newer.len() >= HALF {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert((digest, id));
    }

    pub(super) fn forget(&mut self, digest: u32, id: u64) {
        self.newer.remove(&(digest, id));
        self.older.remove(&(digest, id));
    }

    pub(super) fn read_in(&mut self, index: &Index) -> Result<()> {
        let prefix = [rows::BLOCKS];
        let failed = index.scan_prefix(&prefix, &prefix, |key, value| {
            let Some(Row::Blocks { first, blocks }) = rows::parse(key, value) else {
                return ControlFlow::Break(Error::Index("a row of stored blocks".into()));
            };
            for (id, stored) in (first..).zip(blocks) {
                if let Some(stored) = stored {
                    self.put(stored.digest, id);
                }
            }
            ControlFlow::Continue(())
        })?;
        self.read = true;
        failed.map_or(Ok(()), Err)
    }
}
