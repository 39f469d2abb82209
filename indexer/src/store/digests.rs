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

/// Most blocks that are remembered not to be readable. Beyond it none is found any more: that disk saves no space.
const MOST_BAD: usize = 1 << 18;

/// Rows of about this many bytes are read in at a time, since commits wait for it.
const PIECE: usize = 256 << 10;

/// Digests of stored blocks, and their numbers.
#[derive(Default)]
pub(super) struct Contents {
    newer: BTreeSet<(u32, u64)>,
    older: BTreeSet<(u32, u64)>,
    read: Read,
    /// Numbers of blocks that cannot be read.
    bad: BTreeSet<u64>,
}

/// How much of what the index holds was read in.
#[derive(Default)]
enum Read {
    #[default]
    Nothing,
    /// What comes before this key. What is committed meanwhile is noted.
    Before(Vec<u8>),
    All,
}

impl Contents {
    pub(super) fn get(&self, digest: u32) -> Vec<u64> {
        if self.bad.len() >= MOST_BAD {
            return Vec::new();
        }
        let all = (digest, 0)..=(digest, u64::MAX);
        let found = self.older.range(all.clone()).chain(self.newer.range(all));
        let found = found.map(|(_, id)| *id).filter(|id| !self.bad.contains(id));
        found.take(MOST).collect()
    }

    /// A block cannot be read: it is not found from now on, whoever names it anew.
    pub(super) fn distrust(&mut self, id: u64) {
        if self.bad.len() < MOST_BAD {
            self.bad.insert(id);
        }
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

    /// Whether reading in has begun, so that what is committed must be noted.
    pub(super) fn begun(&self) -> bool {
        !matches!(self.read, Read::Nothing)
    }

    /// Reads in the next piece of the index, if any is left; says whether all was read. After a failure it begins anew.
    pub(super) fn read_in(&mut self, index: &Index) -> Result<bool> {
        let done = self.read_piece(index);
        if done.is_err() {
            let bad = std::mem::take(&mut self.bad);
            *self = Self { bad, ..Self::default() };
        }
        done
    }

    fn read_piece(&mut self, index: &Index) -> Result<bool> {
        let prefix = [rows::BLOCKS];
        let from = match &self.read {
            Read::All => return Ok(true),
            Read::Nothing => prefix.to_vec(),
            Read::Before(key) => key.clone(),
        };
        let mut bytes = 0;
        let stopped = index.scan_prefix(&prefix, &from, |key, value| {
            if bytes >= PIECE {
                return ControlFlow::Break(Ok(key.to_vec()));
            }
            bytes += key.len() + value.len();
            let Some(Row::Blocks { first, blocks }) = rows::parse(key, value) else {
                return ControlFlow::Break(Err(Error::Index("a row of stored blocks".into())));
            };
            for (id, stored) in (first..).zip(blocks) {
                if let Some(stored) = stored {
                    self.put(stored.digest, id);
                }
            }
            ControlFlow::Continue(())
        })?;
        self.read = match stopped.transpose()? {
            Some(next) => Read::Before(next),
            None => Read::All,
        };
        Ok(matches!(self.read, Read::All))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::index::{Delta, MemPages};
    use crate::types::{BlockRef, StoredBlock};

    fn index(runs: u64) -> Index {
        let mut index = Index::new(Box::new(MemPages::default()));
        let row = |run: u64| {
            let blocks: Vec<_> = (run * rows::RUN..(run + 1) * rows::RUN)
                .map(|id| {
                    Some(StoredBlock {
                        location: BlockRef {
                            segment: 1,
                            offset: id as u32 * 7919,
                            len: 1000,
                        },
                        tag: 0,
                        raw_len: 1000,
                        digest: id as u32 + 1,
                        users: 1,
                        reference: 0,
                        referrers: 0,
                    })
                })
                .collect();
            rows::encode_blocks(run * rows::RUN, &blocks)
        };
        let rows: Delta = (1..=runs).map(|run| (rows::blocks_key(run), row(run))).collect();
        index.apply(rows);
        index.settle(usize::MAX).unwrap();
        index
    }

    /// Regression: the first search read all stored blocks at once, while nobody could commit.
    #[test]
    fn the_index_is_read_in_piece_by_piece() {
        const RUNS: u64 = 1000;
        let index = index(RUNS);
        let mut contents = Contents::default();
        let mut pieces = 1;
        while !contents.read_in(&index).unwrap() {
            assert!(contents.begun());
            pieces += 1;
        }
        assert!(pieces > 2, "{pieces}");
        for id in rows::RUN..(RUNS + 1) * rows::RUN {
            assert_eq!(contents.get(id as u32 + 1), [id]);
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_found_whoever_names_it() {
        let mut contents = Contents::default();
        for id in [7, 8] {
            contents.put(1, id);
        }
        contents.distrust(7);
        contents.put(1, 7);
        assert_eq!(contents.get(1), [8]);
        for id in 0..2 * MOST_BAD as u64 {
            contents.distrust(1000 + id);
        }
        assert_eq!((contents.get(1).len(), contents.bad.len()), (0, MOST_BAD));
    }

    /// Regression: after a row that could not be read, the table counted as read.
    #[test]
    fn what_could_not_be_read_in_is_not_taken_for_read() {
        let mut index = index(2);
        let bad = |value| Delta::from([(rows::blocks_key(2), Some(value))]);
        let good = index.get(&rows::blocks_key(2)).unwrap().unwrap();
        index.apply(bad(vec![0xff; 3]));
        let mut contents = Contents::default();
        for _ in 0..2 {
            assert!(contents.read_in(&index).is_err());
            assert!(!contents.begun());
        }
        index.apply(bad(good));
        assert!(contents.read_in(&index).unwrap());
        assert_eq!(contents.get(2 * rows::RUN as u32 + 1), [2 * rows::RUN]);
    }
}
