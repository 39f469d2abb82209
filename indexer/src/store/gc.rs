//! Garbage collection, or compaction: blocks in use are copied out of mostly dead segments, which are then deleted.
//!
//! The order makes every crash harmless: copies are appended, one transaction swaps the extents (only those that are
//! still what they were), a sync makes both durable, and only then is the segment deleted. A segment that holds
//! transactions needed for opening goes only after a checkpoint that makes them superfluous.

use super::Store;
use crate::log::{FRAME_LEN, Frame, HEADER_LEN, Position, RecordKind, Search, Segment};
use crate::types::{BlockRef, Extent};
use crate::wire::Reader;
use crate::{Change, Error, Result};
use std::sync::Arc;

/// What garbage collection may touch.
#[derive(Clone, Copy, Debug)]
pub struct GcOptions {
    /// Collect segments of which at most this share (0 to 1) is in use.
    pub max_live: f64,
    /// Seal the segment that grows first if no more than that is in use, so that it may be collected too.
    pub seal_head: bool,
}

impl Default for GcOptions {
    fn default() -> Self {
        Self {
            max_live: 0.6,
            seal_head: false,
        }
    }
}

/// How far garbage collection is, and what it did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Segments to look at.
    pub candidates: u64,
    /// Segments looked at.
    pub examined: u64,
    /// Segments deleted.
    pub deleted: u64,
    /// Bytes of the deleted segments.
    pub freed_bytes: u64,
    /// Blocks copied.
    pub moved_blocks: u64,
    /// Bytes of the copied blocks.
    pub moved_bytes: u64,
    /// What could not be read or deleted, and stays where it is.
    pub damaged: Vec<String>,
}

/// Bytes that a collection leaves free for deleting, when it is to begin.
const ROOM: u64 = 256 << 10;

/// Blocks swapped by one transaction.
const BATCH: usize = 128;

impl Store {
    /// Collects garbage until nothing is left to do. `watch` hears of every record and ends the work by saying false
    /// ([`Error::Interrupted`]; what was done stays done).
    pub fn gc(&self, options: &GcOptions, watch: &mut dyn FnMut(&GcReport) -> bool) -> Result<GcReport> {
        self.writable()?;
        let _one_at_a_time = self.collecting.lock();
        if options.seal_head && self.head_is_candidate(options.max_live)? {
            match self.log.seal_head() {
                // Not even a footer fits: it goes on growing, and what is deleted now makes room for the next time.
                Err(Error::NoSpace { .. }) => {}
                sealed => sealed?,
            }
        }
        let candidates = self.candidates(options.max_live)?;
        let mut run = Run {
            store: self,
            max_live: options.max_live,
            watch,
            waiting: Vec::new(),
            copied: 0,
            report: GcReport::default(),
        };
        run.report.candidates = candidates.len() as u64;
        let examined = candidates.iter().try_for_each(|segment| run.examine(segment));
        // What is empty already goes also when the disk is full: that makes room.
        if matches!(examined, Ok(()) | Err(Error::NoSpace { .. })) {
            run.release()?;
        }
        examined.map(|()| run.report)
    }

    /// Whether a segment holds no block in use, nor one that a transaction to come names.
    pub(super) fn is_garbage(&self, segment: u32) -> bool {
        let all = (segment, 0)..=(segment, u32::MAX);
        let pending = self.pending().range(all).next().is_some();
        let all = (segment, 0, 0)..=(segment, u32::MAX, u8::MAX);
        let held = self.held.lock().range(all).next().is_some();
        !pending && !held && !self.state().counters.live.contains_key(&segment)
    }

    /// Whether the segment that grows would be worth collecting. One that is not stays open: sealing it for nothing
    /// time and again would leave the log in small pieces.
    fn head_is_candidate(&self, max_live: f64) -> Result<bool> {
        let state = self.state();
        let mut open = self.log.segments().into_iter().filter(|s| !s.is_sealed());
        open.try_fold(false, |found, s| {
            Ok(found || state.counters.live_in(s.id)? as f64 <= max_live * s.len() as f64)
        })
    }

    /// Segments worth collecting, those with the least in use first.
    fn candidates(&self, max_live: f64) -> Result<Vec<Arc<Segment>>> {
        let state = self.state();
        let mut out = Vec::new();
        for segment in self.log.segments().into_iter().filter(|s| s.is_sealed()) {
            let live = state.counters.live_in(segment.id)?;
            if live as f64 <= max_live * segment.len() as f64 {
                out.push((live, segment));
            }
        }
        out.sort_by_key(|(live, _)| *live);
        Ok(out.into_iter().map(|(_, segment)| segment).collect())
    }
}

struct Run<'a> {
    store: &'a Store,
    max_live: f64,
    watch: &'a mut dyn FnMut(&GcReport) -> bool,
    /// Segments without a block in use, not deleted yet.
    waiting: Vec<Arc<Segment>>,
    /// Bytes copied since segments were last deleted.
    copied: u64,
    report: GcReport,
}

impl Run<'_> {
    fn examine(&mut self, segment: &Arc<Segment>) -> Result<()> {
        if !self.fits(segment)? {
            // What is empty already makes room.
            self.release()?;
            if !self.fits(segment)? {
                return Err(Error::NoSpace {
                    what: "the blocks in use of a segment: delete more, then collect again",
                    path: segment.name(),
                });
            }
        }
        self.empty(segment)?;
        self.report.examined += 1;
        if self.store.is_garbage(segment.id) {
            self.waiting.push(Arc::clone(segment));
        }
        // Copies must not pile up beyond what deleting one segment gives back.
        if self.copied + segment.len() > u64::from(self.store.segment_size) {
            self.release()?;
        }
        self.go_on()
    }

    fn go_on(&mut self) -> Result<()> {
        (self.watch)(&self.report).then_some(()).ok_or(Error::Interrupted)
    }

    /// Whether there is room for what is in use of a segment. Copies of a part would free nothing, and take what is
    /// needed to delete more.
    fn fits(&self, segment: &Segment) -> Result<bool> {
        // An eighth more, for frames and for the transactions that move the blocks.
        let live = self.store.state().counters.live_in(segment.id)?;
        if live == 0 {
            return Ok(true);
        }
        Ok(live + live / 8 + ROOM <= self.store.free_space()?)
    }

    /// Copies all blocks in use out of a segment.
    fn empty(&mut self, segment: &Segment) -> Result<()> {
        let io = self.store.io.as_ref();
        let mut at = HEADER_LEN as u64;
        let mut batch = Vec::new();
        let mut search = Search::new(io, segment);
        // Where damage that was told already ends: it is searched in pieces.
        let mut told = 0;
        while at < segment.len() && self.store.state().counters.live.contains_key(&segment.id) {
            self.go_on()?;
            let start = segment.read(io, at, FRAME_LEN + 10);
            let record = match &start {
                Ok(start) => Frame::decode(start, segment.salt, at)
                    .zip(start.get(FRAME_LEN..))
                    .ok_or("no record".to_owned()),
                Err(e) => Err(e.to_string()),
            };
            let (frame, start) = match record {
                Ok(record) => record,
                Err(why) => {
                    if at != told {
                        let name = segment.name();
                        self.report.damaged.push(format!("{name} at offset {at}: {why}"));
                    }
                    at = search.next_record(at + 1, segment.len());
                    told = at;
                    continue;
                }
            };
            if frame.kind == RecordKind::Footer {
                // What follows is the trailer, no record.
                break;
            }
            if frame.kind == RecordKind::Block
                && let Some((extent, reference)) = self.in_use(segment, at, &frame, start)?
            {
                match self.store.read_block(&extent) {
                    Ok(bytes) => {
                        let r = self.store.log.append_block(extent.id, &bytes, |_| ())?;
                        batch.push(Change::SwapBlock {
                            id: extent.id,
                            old: extent.location,
                            new: r,
                            tag: extent.tag,
                            reference,
                            hint: 0,
                        });
                        self.report.moved_blocks += 1;
                        self.report.moved_bytes += u64::from(r.len);
                        self.copied += frame.record_len();
                    }
                    // It stays where it is, and so does its segment; all others are still worth the work.
                    Err(e @ (Error::Damaged { .. } | Error::Io { .. })) => self.report.damaged.push(e.to_string()),
                    Err(e) => return Err(e),
                }
                if batch.len() >= BATCH {
                    self.store.commit_moves(std::mem::take(&mut batch))?;
                }
            }
            if frame.kind == RecordKind::Dictionary {
                self.dictionary(segment, at, start)?;
            }
            at += frame.record_len();
        }
        if !batch.is_empty() {
            self.store.commit_moves(batch)?;
        }
        Ok(())
    }

    /// Copies the copy of a dictionary whose record begins at `at`, and its payload with `start`, if it is in use.
    fn dictionary(&mut self, segment: &Segment, at: u64, start: &[u8]) -> Result<()> {
        let here = Position {
            segment: segment.id,
            offset: at as u32,
        };
        let Some((id, copy)) = self.store.copy_at(here, start)? else {
            return Ok(());
        };
        match self.store.move_copy(id, copy) {
            Ok(bytes) => {
                self.copied += bytes;
                self.report.moved_bytes += bytes;
                Ok(())
            }
            Err(e @ (Error::Damaged { .. } | Error::Io { .. })) => {
                self.report.damaged.push(e.to_string());
                Ok(())
            }
            Err(e) => Err(e),
        }
    }

    /// The stored block whose record begins at `at`, and its payload with `start`, if it is in use; and what it refers
    /// to.
    fn in_use(&self, segment: &Segment, at: u64, frame: &Frame, start: &[u8]) -> Result<Option<(Extent, u64)>> {
        let mut r = Reader::new(start);
        let before = r.rest().len();
        let Some(id) = r.varint() else {
            return Ok(None);
        };
        let Some(len) = frame.len.checked_sub((before - r.rest().len()) as u32) else {
            return Ok(None);
        };
        let here = BlockRef {
            segment: segment.id,
            offset: at as u32,
            len,
        };
        // The record names a stored block, but only the index knows whether it still lies here.
        let stored = self.store.stored_block(id)?.filter(|stored| stored.location == here);
        Ok(stored.map(|stored| (stored.extent(id), stored.reference)))
    }

    /// Deletes the segments that wait for it.
    fn release(&mut self) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.store.sync()?;
        let (behind, needed): (Vec<_>, Vec<_>) = self
            .waiting
            .drain(..)
            // Replay begins at the checkpoint, so nothing before it is needed to open the store.
            .partition(|s| s.id < self.store.log.checkpoint().segment);
        self.delete(behind)?;
        let gain: u64 = needed.iter().map(|s| s.len()).sum();
        // What goes is at least the checkpoint before, as a rule, so one with the same rows would be written time and
        // again: it must be no more of what it lets go than a segment may hold that is worth collecting.
        let worth = |rows: u64| rows as f64 <= self.max_live * gain as f64;
        if worth(self.store.row_bytes(worth)?) {
            self.store.checkpoint()?;
            let first = self.store.log.checkpoint().segment;
            self.delete(needed.into_iter().filter(|s| s.id < first).collect())?;
        }
        self.copied = 0;
        Ok(())
    }

    fn delete(&mut self, segments: Vec<Arc<Segment>>) -> Result<()> {
        for segment in segments {
            // No commit may come to name a block in it from here on.
            let _no_commits = self.store.committing();
            if !self.store.is_garbage(segment.id) {
                continue;
            }
            let gone = self.store.drop_parity(segment.id);
            match gone.and_then(|()| self.store.log.remove(segment.id)) {
                Ok(()) => {}
                // The next collection tries again.
                Err(e @ (Error::Io { .. } | Error::Replaced(_))) => {
                    self.report.damaged.push(e.to_string());
                    continue;
                }
                Err(e) => return Err(e),
            }
            self.report.deleted += 1;
            self.report.freed_bytes += segment.len();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{BlockRef, CreateOptions, Inode, Kind, MemIo, Time};

    /// A store with one empty file.
    fn with_a_file() -> Store {
        let store = Store::create(Arc::new(MemIo::new()), CreateOptions::new([1; 16])).unwrap();
        let inode = Inode {
            size: 5,
            ..Inode::new(5, Kind::File, 0o644, Time::default())
        };
        let _made = store.commit(vec![Change::PutInode(inode)]).unwrap();
        store
    }

    /// Moves all there is.
    fn collect(store: &Store) {
        let options = GcOptions {
            max_live: 1.0,
            seal_head: true,
        };
        let _report = store.gc(&options, &mut |_| true).unwrap();
    }

    fn name(store: &Store, (id, r): (u64, BlockRef)) -> Extent {
        let extent = Extent {
            id,
            location: r,
            tag: 0,
            raw_len: 5,
            digest: 0,
        };
        let _named = store
            .commit(vec![Change::PutExtents {
                ino: 5,
                first: 0,
                extents: vec![Some(extent)],
            }])
            .unwrap();
        extent
    }

    #[test]
    fn a_swap_of_a_block_that_was_moved_is_skipped_though_its_segment_is_gone() {
        let store = with_a_file();
        let old = name(&store, store.append_block(b"bytes").unwrap());
        collect(&store);
        let moved = store.extent(5, 0).unwrap().unwrap();
        assert_ne!(moved.location, old.location);
        assert!(store.log.segment(old.location.segment).is_none(), "the segment is gone");
        let tag_it = Change::SwapBlock {
            id: old.id,
            old: old.location,
            new: old.location,
            tag: 1,
            reference: 0,
            hint: 5,
        };
        let report = store.commit(vec![tag_it]).unwrap();
        assert_eq!(report.skipped.len(), 1);
        assert_eq!(store.extent(5, 0).unwrap(), Some(moved));
    }

    fn put_meta(n: u32, value: &[u8]) -> Change {
        let (key, value) = (n.to_be_bytes().to_vec(), value.to_vec());
        Change::PutMeta { key, value }
    }

    /// The checkpoint was garbage to itself: as soon as it took 64 bytes for each inode it was written anew in each
    /// round.
    #[test]
    fn an_idle_store_is_left_alone() {
        let io = MemIo::new();
        let mut store = Store::create(Arc::new(io.clone()), CreateOptions::new([1; 16])).unwrap();
        for n in 0..2000 {
            let _put = store.commit(vec![put_meta(n, &[7; 1000])]).unwrap();
        }
        let options = GcOptions {
            seal_head: true,
            ..GcOptions::default()
        };
        for opened in 0..3 {
            store.checkpoint().unwrap();
            let round = || drop(store.gc(&options, &mut |_| true).unwrap());
            // What was there before the checkpoint goes, and its segment is ended: there is nothing else to do.
            round();
            round();
            let files = io.files();
            assert!(store.totals().log_bytes < 2_500_000, "{opened}: {:?}", store.totals());
            assert!(store.totals().dead_bytes < 100_000, "{opened}: {:?}", store.totals());
            for _ in 0..5 {
                assert!(!store.checkpoint_if_due().unwrap());
                round();
            }
            assert!(io.files() == files, "{opened}: something was written");
            store.close().unwrap();
            store = Store::open(Arc::new(io.clone()), crate::OpenOptions::default())
                .unwrap()
                .0;
        }
        // What was deleted is garbage in the checkpoint.
        for n in 0..2000 {
            let _gone = store.commit(vec![put_meta(n, &[])]).unwrap();
        }
        let _report = store.gc(&options, &mut |_| true).unwrap();
        assert!(store.totals().log_bytes < 100_000, "{:?}", store.totals());
    }

    /// It wrote what fitted of a checkpoint, each time again, until nothing was left for deleting.
    #[test]
    fn a_checkpoint_that_does_not_fit_is_not_begun() {
        let io = MemIo::new();
        let store = Store::create(Arc::new(io.clone()), CreateOptions::new([1; 16])).unwrap();
        for n in 0..100 {
            let _put = store.commit(vec![put_meta(n, &[7; 60_000])]).unwrap();
        }
        let room = store.checkpoint_room();
        assert!((6_000_000..8_000_000).contains(&room), "{room}");
        io.set_free_space(room / 2);
        let before = io.files();
        for _ in 0..3 {
            assert!(matches!(store.checkpoint(), Err(Error::NoSpace { .. })));
        }
        assert!(io.files() == before, "something was written");
        // With the rows gone it fits.
        for n in 0..100 {
            let _gone = store.commit(vec![put_meta(n, &[])]).unwrap();
        }
        let options = GcOptions {
            seal_head: true,
            ..GcOptions::default()
        };
        let report = store.gc(&options, &mut |_| true).unwrap();
        assert_eq!(report.deleted, 1);
        assert!(store.checkpoint_room() < 100_000);
    }

    /// The footer of the segment that grows did not fit, and nothing was deleted.
    #[test]
    fn what_is_garbage_goes_though_not_one_byte_is_left() {
        let io = crate::io::FaultIo::new(Arc::new(MemIo::new()));
        let io = Arc::new(io);
        let store = Store::create(Arc::clone(&io) as Arc<dyn crate::Io>, CreateOptions::new([1; 16])).unwrap();
        let abandoned = store.append_block(&[7; 1000]).unwrap();
        store.log.seal_head().unwrap();
        store.checkpoint().unwrap();
        store.abandon_blocks(&[abandoned.1]);
        io.fail(crate::io::Fault::NoSpace, 0, u64::MAX);
        let options = GcOptions {
            max_live: 1.0,
            seal_head: true,
        };
        let report = store.gc(&options, &mut |_| true).unwrap();
        assert!(io.hits() > 0);
        assert_eq!(report.deleted, 1);
    }

    #[test]
    fn a_block_that_is_not_committed_yet_is_not_collected() {
        let store = with_a_file();
        let new = store.append_block(b"bytes").unwrap();
        collect(&store);
        name(&store, new);
        let now = |store: &Store| store.extent(5, 0).unwrap().unwrap();
        assert_eq!(store.read_block(&now(&store)).unwrap(), b"bytes");
        collect(&store);
        assert_eq!(store.read_block(&now(&store)).unwrap(), b"bytes");
        assert!(store.pending().is_empty(), "a named block is pending no more");
    }

    /// A flush found an equal block, whose last user went and whose segment was collected before the flush named it.
    #[test]
    fn a_block_that_is_held_can_be_named_though_its_last_user_is_gone() {
        let store = Arc::new(with_a_file());
        let first = name(&store, store.append_block(b"bytes").unwrap());
        let held = store.hold(first.id).unwrap().unwrap();
        let other = Change::SwapBlock {
            id: first.id,
            old: first.location,
            new: first.location,
            tag: 9,
            reference: 0,
            hint: 0,
        };
        assert!(store.commit(vec![other]).unwrap().skipped.is_empty());
        collect(&store);
        let moved = store.extent(5, 0).unwrap().unwrap();
        assert!(moved.location != first.location && moved.id == first.id);
        let _cut = store.commit(vec![Change::TruncateExtents { ino: 5, from: 0 }]).unwrap();
        collect(&store);
        assert_eq!(store.stored_block(first.id).unwrap(), None);
        // Regression: nothing said that a block with the tag may come back, and what it needs was deleted.
        assert_eq!(store.tags_in_use(), [0].into());
        name(&store, (held.extent().id, held.extent().location));
        drop(held);
        let now = store.extent(5, 0).unwrap().unwrap();
        assert_eq!(store.read_block(&now).unwrap(), b"bytes");
        assert!(store.held.lock().is_empty());
        assert_eq!(store.tags_in_use(), [0].into());
        collect(&store);
        let now = store.extent(5, 0).unwrap().unwrap();
        assert_eq!(store.read_block(&now).unwrap(), b"bytes");
    }

    /// Regression: the swap of a copy brought the tag back that the block had when it was copied.
    #[test]
    fn a_tag_that_is_set_while_its_block_is_copied_stays() {
        let store = with_a_file();
        let old = name(&store, store.append_block(b"bytes").unwrap());
        let options = GcOptions {
            max_live: 1.0,
            seal_head: true,
        };
        let mut is_set = false;
        let watch = &mut |report: &GcReport| {
            if report.moved_blocks == 1 && !is_set {
                is_set = true;
                let tag_it = Change::SwapBlock {
                    id: old.id,
                    old: old.location,
                    new: old.location,
                    tag: 1,
                    reference: 0,
                    hint: 5,
                };
                assert_eq!(store.commit(vec![tag_it]).unwrap().skipped, []);
            }
            true
        };
        let _report = store.gc(&options, watch).unwrap();
        assert!(is_set);
        let now = store.extent(5, 0).unwrap().unwrap();
        assert_eq!((now.location, now.tag), (old.location, 1));
        assert_eq!(store.read_block(&now).unwrap(), b"bytes");
        collect(&store);
        let now = store.extent(5, 0).unwrap().unwrap();
        assert!(now.location != old.location && now.tag == 1);
    }
}
