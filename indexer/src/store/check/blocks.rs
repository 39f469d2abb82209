//! Checking stored blocks: where they lie, and whether as many blocks of files name each as the index says.

use super::report::{Finding, Severity};
use crate::Result;
use crate::index::rows::{RUN, Use};
use crate::log::block_record_len;
use crate::store::Store;
use crate::types::{BlockRef, MAX_CHAIN, StoredBlock, chain_fits};
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What is remembered of a stored block.
struct Seen {
    id: u64,
    stored: StoredBlock,
    /// Bytes of its record.
    record: u64,
    /// Extents that name it, found so far, and stored blocks that refer to it.
    users: u64,
    referrers: u64,
    /// Why it cannot be read.
    wrong: Option<&'static str>,
}

impl Seen {
    /// Whether its record reaches into the one that begins next.
    fn overlaps(&self, next: &Seen) -> bool {
        let (a, b) = (self.stored.location, next.stored.location);
        a.segment == b.segment && u64::from(a.offset) + self.record > u64::from(b.offset)
    }
}

/// All stored blocks, in order of their numbers: about 80 bytes for each.
#[derive(Default)]
pub(super) struct Blocks {
    all: Vec<Seen>,
    /// Sums over the rows that lead from stored blocks to files: what they say, and what they should say.
    told: Links,
    used: Links,
}

/// A sum over links from stored blocks to runs of files, in whatever order.
#[derive(Default, PartialEq, Eq)]
struct Links {
    count: u64,
    sum: u64,
}

impl Links {
    fn add(&mut self, run: u64, ino: u64, file_run: u64) {
        let mut hasher = DefaultHasher::new();
        (run, ino, file_run).hash(&mut hasher);
        self.count += 1;
        self.sum = self.sum.wrapping_add(hasher.finish());
    }
}

impl Blocks {
    /// Adds a row of stored blocks.
    pub(super) fn add(&mut self, store: &Store, first: u64, blocks: &[Option<StoredBlock>]) {
        for (id, stored) in (first..).zip(blocks) {
            let Some(stored) = *stored else { continue };
            let record = block_record_len(id, stored.location.len);
            let wrong = match store.log.segment(stored.location.segment) {
                None => Some("the block's segment is missing"),
                Some(s) if s.len() < u64::from(stored.location.offset) + record => {
                    Some("the block lies beyond the end of its segment")
                }
                Some(_) => None,
            };
            self.all.push(Seen {
                id,
                stored,
                record,
                users: 0,
                referrers: 0,
                wrong,
            });
        }
    }

    /// Adds a row that says that a run of a file uses stored blocks of a row.
    pub(super) fn told(&mut self, run: u64, ino: u64, file_run: u64) {
        self.told.add(run, ino, file_run);
    }

    /// Adds a run of a file.
    pub(super) fn used(&mut self, ino: u64, file_run: u64, extents: &[Option<Use>]) {
        let rows: BTreeSet<u64> = extents.iter().flatten().map(|u| u.id / RUN).collect();
        rows.into_iter().for_each(|run| self.used.add(run, ino, file_run));
    }

    /// Adds an extent; gives the bytes that its block takes, and what is wrong with it.
    pub(super) fn name(&mut self, used: &Use) -> (u64, Option<(&'static str, BlockRef)>) {
        let at = self.all.binary_search_by_key(&used.id, |seen| seen.id);
        let Some(seen) = at.ok().and_then(|at| self.all.get_mut(at)) else {
            let nowhere = BlockRef {
                segment: 0,
                offset: 0,
                len: 0,
            };
            return (
                0,
                Some(("the extent names a stored block that does not exist", nowhere)),
            );
        };
        seen.users += 1;
        let longer = used.raw_len > seen.stored.raw_len;
        let wrong = longer
            .then_some("more bytes of the block count than it has")
            .or(seen.wrong);
        let (r, reference) = (seen.stored.location, seen.stored.reference);
        let wrong = wrong
            .map(|what| (what, r))
            .or_else(|| self.wrong_reference(r, reference));
        (u64::from(r.len), wrong)
    }

    fn find(&self, id: u64) -> Option<&Seen> {
        let at = self.all.binary_search_by_key(&id, |seen| seen.id);
        at.ok().and_then(|at| self.all.get(at))
    }

    /// What is wrong with what the stored block at `r` refers to, and where.
    fn wrong_reference(&self, r: BlockRef, reference: u64) -> Option<(&'static str, BlockRef)> {
        let (mut at, mut next, mut bytes) = (r, reference, 0);
        for needed in 1..=MAX_CHAIN {
            if next == 0 {
                return None;
            }
            let Some(seen) = self.find(next) else {
                return Some(("the block refers to a stored block that does not exist", at));
            };
            if let Some(wrong) = seen.wrong {
                return Some((wrong, seen.stored.location));
            }
            bytes += u64::from(seen.stored.raw_len);
            if !chain_fits(needed, bytes) {
                return Some(("the block needs more bytes of other blocks than may be", r));
            }
            (at, next) = (seen.stored.location, seen.stored.reference);
        }
        (next != 0).then_some(("the block refers to others in too long a chain, or in a circle", r))
    }

    /// Counts who refers to what.
    fn count_referrers(&mut self) {
        let references: Vec<u64> = self.all.iter().map(|seen| seen.stored.reference).collect();
        for id in references.into_iter().filter(|id| *id != 0) {
            let at = self.all.binary_search_by_key(&id, |seen| seen.id);
            if let Some(seen) = at.ok().and_then(|at| self.all.get_mut(at)) {
                seen.referrers += 1;
            }
        }
    }

    /// Compares what was added.
    pub(super) fn finish(&mut self, store: &Store, findings: &mut Vec<Finding>) -> Result<()> {
        self.count_referrers();
        for seen in &self.all {
            let id = seen.id;
            let counts = [
                (seen.users, seen.stored.users, "blocks of files name"),
                (seen.referrers, seen.stored.referrers, "stored blocks refer to"),
            ];
            for (found, said, what) in counts.into_iter().filter(|(found, said, _)| found != said) {
                let what = format!("{found} {what} the stored block {id}, the index says {said}: rebuild it");
                let (segment, offset) = (seen.stored.location.segment, seen.stored.location.offset);
                findings.push(Finding::new(Severity::Error, what).at(segment, offset.into()));
            }
        }
        if self.told != self.used {
            let what = "what the index says of which files use which stored blocks is wrong: rebuild it";
            findings.push(Finding::new(Severity::Error, what));
        }
        self.all.retain(|seen| seen.wrong.is_none());
        self.all.sort_unstable_by_key(|seen| (seen.stored.location, seen.id));
        for (a, b) in self.all.iter().zip(self.all.iter().skip(1)) {
            if !a.overlaps(b) {
                continue;
            }
            let what = match store.users(a.id)?.first() {
                Some((ino, block)) => format!("the block overlaps block {block} of inode {ino} in the log"),
                // One that only others are coded behind.
                None => format!("the block overlaps the stored block {} in the log", a.id),
            };
            let (segment, offset) = (b.stored.location.segment, b.stored.location.offset);
            for (ino, block) in store.users(b.id)? {
                let finding = Finding::new(Severity::Error, what.clone());
                findings.push(finding.ino(ino).block(block).at(segment, offset.into()));
            }
        }
        Ok(())
    }
}
