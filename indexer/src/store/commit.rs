//! Writing: blocks, transactions, durability.

use super::shutdown_marker::ShutdownMarker;
use super::{CommitReport, Moved, Store};
use crate::apply;
use crate::change::{Change, block_id, encode_changes};
use crate::invalid_change::InvalidChange;
use crate::types::BlockRef;
use crate::{Error, Result};
use parking_lot::{MutexGuard, RwLockWriteGuard};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

/// Pages that new rows are merged into while nobody else can read.
const PAGES: usize = 16;

impl Store {
    /// Appends the bytes of a new stored block, and gives its number and where they lie. They take part in nothing
    /// until a commit names it in an extent. Whoever will not commit one must say so ([`Store::abandon_blocks`]), or
    /// else garbage collection spares it until the store is opened again.
    pub fn append_block(&self, bytes: &[u8]) -> Result<(u64, BlockRef)> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        block_id(id)?;
        Ok((id, self.append_again(id, bytes)?))
    }

    /// Appends the bytes of a stored block in another form, for a [`Change::SwapBlock`].
    pub fn append_again(&self, id: u64, bytes: &[u8]) -> Result<BlockRef> {
        self.writable()?;
        // Noted before the segment can be sealed: garbage collection never sees the block without the marker.
        self.log.append_block(id, bytes, |r| {
            self.pending().insert((r.segment, r.offset));
        })
    }

    /// Whether blocks of so many bytes can be appended at once: nobody has to wait for a segment to become durable.
    pub fn has_room_for(&self, bytes: u64) -> bool {
        self.log.has_room_for(bytes)
    }

    /// Makes a transaction happen: all of it or, on an error, nothing. Its effects are visible when this returns and
    /// durable after the next [`Store::sync`].
    pub fn commit(&self, tx: Vec<Change>) -> Result<CommitReport> {
        self.writable()?;
        let bytes = encode_valid(&tx)?;
        self.commit_encoded(self.committing(), &tx, &bytes)
    }

    /// As [`Store::commit`], for changes that follow from what the store holds: nobody else commits between `changes`,
    /// which reads, and the transaction. It may read from the store, but not commit, ask for a checkpoint or for
    /// garbage collection.
    pub fn commit_with<E: From<Error>>(
        &self,
        changes: impl FnOnce() -> std::result::Result<Vec<Change>, E>,
    ) -> std::result::Result<CommitReport, E> {
        self.writable()?;
        let one_at_a_time = self.committing();
        let tx = changes()?;
        let bytes = encode_valid(&tx)?;
        Ok(self.commit_encoded(one_at_a_time, &tx, &bytes)?)
    }

    /// Commits copies that garbage collection made: swaps, each with the tag that the block had when it was read. Those
    /// of blocks that have another one since are left out: the swap would bring the old one back.
    pub(super) fn commit_moves(&self, mut moves: Vec<Change>) -> Result<()> {
        self.writable()?;
        let one_at_a_time = self.committing();
        let mut failed = None;
        moves.retain(|change| match change {
            Change::SwapBlock { id, tag, reference, .. } => match self.stored_block(*id) {
                Ok(stored) => stored.is_some_and(|stored| (stored.tag, stored.reference) == (*tag, *reference)),
                Err(error) => {
                    failed = Some(error);
                    false
                }
            },
            _ => true,
        });
        if let Some(error) = failed {
            return Err(error);
        }
        if moves.is_empty() {
            return Ok(());
        }
        let bytes = encode_valid(&moves)?;
        // Skipped swaps are of blocks that were written or packed meanwhile. Their copies are garbage at once.
        let _skipped = self.commit_encoded(one_at_a_time, &moves, &bytes)?;
        Ok(())
    }

    /// What is left of a commit when its changes are checked and it is its turn.
    fn commit_encoded(&self, one_at_a_time: MutexGuard<'_, ()>, tx: &[Change], bytes: &[u8]) -> Result<CommitReport> {
        // Worked out before anything is appended: what the log has must be possible to apply.
        let effect = apply::effect(&self.state().index, self.log.seq().saturating_add(1), tx)?;
        self.check_places(&effect.placed)?;
        // The log first. If this fails, the index does not know of the transaction either.
        self.log.append_transaction(bytes, effect.put_bytes())?;
        let changed = effect.rows.len();
        self.state_mut().apply(effect.rows, &effect.counters);
        let seq = self.log.seq();
        // Their extents keep them from now on; those of skipped swaps are garbage.
        let mut pending = self.pending();
        for r in tx.iter().flat_map(new_refs) {
            pending.remove(&(r.segment, r.offset));
        }
        drop((pending, one_at_a_time));
        self.settle(changed + PAGES);
        self.note_contents(tx);
        self.tell_moved(&effect.moved, &effect.resized);
        Ok(CommitReport {
            seq,
            skipped: effect.skipped,
        })
    }

    /// Merges new rows into so many pages, a few at a time: reading and committing go on between. Each page takes up
    /// one row or more, so when every commit merges as many as it changed rows, and some, memory is bounded.
    fn settle(&self, mut pages: usize) {
        let mut state = self.state_mut();
        while pages > 0 {
            match state.index.settle(pages.min(PAGES)) {
                Ok(true) => {}
                Ok(false) => return,
                // The rows stay in memory, so nothing is lost; the next start makes the index anew.
                Err(e) => return tracing::warn!("{e}"),
            }
            pages = pages.saturating_sub(PAGES);
            RwLockWriteGuard::bump(&mut state);
        }
    }

    fn tell_moved(&self, moved: &[(u64, BlockRef, BlockRef)], resized: &BTreeSet<u64>) {
        let Some(told) = self.on_moved.get() else { return };
        let moved = moved.iter().filter(|(_, old, new)| old != new);
        let moved: Vec<Moved> = moved.map(|&(id, old, new)| Moved { id, old, new }).collect();
        if !moved.is_empty() || !resized.is_empty() {
            told(&moved, resized);
        }
    }

    /// Returns when everything committed and appended before the call is durable. Threads that call it together share
    /// one fdatasync.
    pub fn sync(&self) -> Result<()> {
        if self.read_only {
            return Ok(());
        }
        self.log.sync()?;
        self.note_new_segment();
        Ok(())
    }

    /// Looks whether the store still lies where it is written to, and says why nothing more can be stored if something
    /// stopped that.
    pub fn check_place(&self) -> Result<()> {
        if self.read_only {
            return Ok(());
        }
        self.log.check_writable()?;
        self.log.check_names()
    }

    /// Notes in the marker that a segment was begun and is durable, so that it is missed if it is not there at the next
    /// opening: nothing else would tell.
    fn note_new_segment(&self) {
        let durable = self.log.durable();
        let mut noted = self.noted_segment.lock();
        if durable.segment <= *noted {
            return;
        }
        *noted = durable.segment;
        let before = self.log.segments().into_iter().filter(|s| s.id < durable.segment);
        let mut segments: Vec<_> = before.map(|s| (s.id, s.len())).collect();
        segments.push((durable.segment, u64::from(durable.offset)));
        if let Err(e) = ShutdownMarker::dirty(self.store_id, self.opened_seq, segments).write(self.io.as_ref()) {
            tracing::warn!(
                "{e}: should segment {:08x} get lost, that may go unnoticed",
                durable.segment
            );
        }
    }

    /// Forgets blocks that were appended and will not be named by any transaction, so that they become garbage. Those
    /// that were named stay what they are.
    pub fn abandon_blocks(&self, blocks: &[BlockRef]) {
        let mut pending = self.pending();
        for r in blocks {
            pending.remove(&(r.segment, r.offset));
        }
    }

    /// Blocks that were appended and neither named by a transaction nor abandoned: their segments cannot be collected.
    pub fn pending_blocks(&self) -> usize {
        self.pending().len()
    }

    pub(super) fn pending(&self) -> MutexGuard<'_, BTreeSet<(u32, u32)>> {
        self.pending.lock()
    }

    /// A stored block may only lie where something is. A skipped swap says nothing: its block was moved by garbage
    /// collection, which may have taken the segment away since.
    fn check_places(&self, places: &[BlockRef]) -> Result<()> {
        places.iter().try_for_each(|r| self.check_place_of(*r))
    }

    fn check_place_of(&self, r: BlockRef) -> Result<()> {
        let end = u64::from(r.offset) + u64::from(r.len);
        match self.log.segment(r.segment) {
            None => Err(Error::Moved { segment: r.segment }),
            Some(s) if s.len() < end => Err(InvalidChange::Place(s.name()).into()),
            Some(_) => Ok(()),
        }
    }

    pub(super) fn writable(&self) -> Result<()> {
        if self.read_only {
            Err(Error::ReadOnly)
        } else {
            self.log.check_writable()
        }
    }
}

fn encode_valid(tx: &[Change]) -> Result<Vec<u8>> {
    let mut copied = 0;
    for change in tx {
        change.validate().and_then(|()| change.count_copied(&mut copied))?;
    }
    // Most changes take less.
    let mut bytes = Vec::with_capacity(64 * tx.len());
    encode_changes(&mut bytes, tx);
    Ok(bytes)
}

/// Where the blocks lie that a change names.
fn new_refs(change: &Change) -> impl Iterator<Item = BlockRef> {
    let (many, one) = match change {
        Change::PutExtents { extents, .. } => (extents.as_slice(), None),
        Change::SwapBlock { new, .. } => (&[][..], Some(*new)),
        _ => (&[][..], None),
    };
    let copies = match change {
        Change::Dictionary(change) => change.new_copies(),
        _ => &[],
    };
    many.iter()
        .flatten()
        .map(|e| e.location)
        .chain(one)
        .chain(copies.iter().copied())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use crate::{CreateOptions, Extent, Inode, Kind, MemIo, Time};
    use std::sync::Arc;
    use std::sync::mpsc;
    use std::time::Duration;

    /// Regression: a merge between the reading of an extent and the commit of its clipped form freed the stored block,
    /// and the commit brought it back, with a shorter length than all that it decodes to.
    #[test]
    fn no_merge_comes_between_reading_an_extent_and_cutting_it() {
        let store = Store::create(Arc::new(MemIo::new()), CreateOptions::new([1; 16])).unwrap();
        let mut ids = Vec::new();
        for ino in 2..4 {
            let (id, r) = store.append_block(b"the same").unwrap();
            ids.push(id);
            let extents = vec![Some(Extent::new((id, r), 0, 8))];
            let put = Change::PutExtents { ino, first: 0, extents };
            let inode = Inode::new(ino, Kind::File, 0o644, Time::default());
            let _made = store.commit(vec![Change::PutInode(inode), put]).unwrap();
        }
        let merge = Change::MergeBlock {
            id: ids[0],
            into: ids[1],
            hint: 0,
        };
        let (told, merged) = mpsc::channel();
        std::thread::scope(|scope| {
            let cut = store.commit_with(|| {
                let extent = store.extent(2, 0)?.unwrap();
                scope.spawn(|| {
                    let report = store.commit(vec![merge]).unwrap();
                    told.send(report.skipped.is_empty()).unwrap();
                });
                assert!(merged.recv_timeout(Duration::from_millis(100)).is_err());
                let extents = vec![Some(Extent { raw_len: 3, ..extent })];
                Ok::<_, Error>(vec![Change::PutExtents {
                    ino: 2,
                    first: 0,
                    extents,
                }])
            });
            let _cut = cut.unwrap();
        });
        assert_eq!(merged.recv(), Ok(true));
        assert_eq!(store.stored_block(ids[0]).unwrap(), None);
        assert_eq!(store.stored_block(ids[1]).unwrap().unwrap().users, 2);
        let extent = |ino| store.extent(ino, 0).unwrap().unwrap();
        assert_eq!((extent(2).id, extent(2).raw_len), (ids[1], 3));
        assert_eq!((extent(3).id, extent(3).raw_len), (ids[1], 8));
    }
}
