//! Finding stored blocks by a digest of what they decode to.
//!
//! The digests are in the rows of the stored blocks. The table over them is in memory, because rows in the order of
//! digests would scatter every flush over the whole index. It is made when it is first asked for.

use super::{State, Store};
use crate::Result;
use crate::change::MAX_USERS;
use crate::index::rows::{self, Row};
use crate::types::Extent;
use crate::{Change, Error};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// Digests in each half of the table, which takes about 25 bytes for each. When the newer half is full, the older one is
/// forgotten: of more than so many stored blocks, those written last are found.
const HALF: usize = 1 << 19;

/// Most stored blocks with one digest that are looked at.
const MOST: usize = 64;

/// Digests of stored blocks, and their numbers.
#[derive(Default)]
pub(super) struct Contents {
    newer: BTreeSet<(u32, u64)>,
    older: BTreeSet<(u32, u64)>,
    /// Whether what the index holds was read in.
    read: bool,
}

impl Contents {
    fn get(&self, digest: u32) -> Vec<u64> {
        let all = (digest, 0)..=(digest, u64::MAX);
        let found = self.older.range(all.clone()).chain(self.newer.range(all));
        found.map(|(_, id)| *id).take(MOST).collect()
    }

    fn put(&mut self, digest: u32, id: u64) {
        if digest == 0 || self.older.contains(&(digest, id)) {
            return;
        }
        if self.newer.len() >= HALF {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert((digest, id));
    }

    fn forget(&mut self, digest: u32, id: u64) {
        self.newer.remove(&(digest, id));
        self.older.remove(&(digest, id));
    }

    fn read_in(&mut self, state: &State) -> Result<()> {
        let prefix = [rows::BLOCKS];
        let failed = state.index.scan_prefix(&prefix, &prefix, |key, value| {
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

impl Store {
    /// Stored blocks in use that may decode to the same as one with this digest and length does, the oldest first, but
    /// not all if there are many. Whoever shares one compares the bytes first.
    pub fn find_equal(&self, digest: u32, raw_len: u32) -> Result<Vec<Extent>> {
        if digest == 0 {
            return Ok(Vec::new());
        }
        let found = {
            let mut contents = self.contents.lock();
            if !contents.read {
                contents.read_in(&self.state())?;
            }
            contents.get(digest)
        };
        let mut equal = Vec::new();
        for id in found {
            match self.stored_block(id)? {
                Some(stored) if stored.digest != digest || stored.raw_len != raw_len => {}
                // One more user would keep it from being coded anew.
                Some(stored) if stored.users >= MAX_USERS => {}
                Some(stored) => equal.push(stored.extent(id)),
                None => self.contents.lock().forget(digest, id),
            }
        }
        Ok(equal)
    }

    /// Notes the stored blocks that a transaction named.
    pub(super) fn note_contents(&self, tx: &[Change]) {
        let mut contents = self.contents.lock();
        if !contents.read {
            return;
        }
        for change in tx {
            if let Change::PutExtents { extents, .. } = change {
                extents.iter().flatten().for_each(|e| contents.put(e.digest, e.id));
            }
        }
    }
}
