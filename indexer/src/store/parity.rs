//! Parity for the segments of an open store.

use super::Store;
use super::parity_files::Known;
use crate::log::{FOLDER, Segment};
use crate::parity::{self, Layout, Made, ParityFile, make, parity_name};
use crate::{Error, Result};

/// What making parity did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParityReport {
    /// Segments that have new parity.
    pub made: u64,
    /// Segments that are damaged and therefore get none, in words.
    pub refused: Vec<String>,
}

impl Store {
    /// Makes the parity that sealed segments lack, if the store was opened with parity. Call it now and then, when
    /// nobody waits. `watch` hears of bytes read and ends the work by saying false.
    ///
    /// It takes memory for about two segments while it works.
    pub fn make_parity(&self, watch: &mut dyn FnMut(u64) -> bool) -> Result<ParityReport> {
        self.make_parity_of(|s| s.is_sealed(), watch)
    }

    /// As [`Store::make_parity`], for what was written since the store was opened, with what the growing segment holds
    /// so far. All of it must be durable. What older segments lack is much, perhaps, and has waited already.
    pub(super) fn make_own_parity(&self) -> Result<ParityReport> {
        self.make_parity_of(|s| s.id >= self.opened_segment, &mut |_| true)
    }

    fn make_parity_of(
        &self,
        which: impl Fn(&Segment) -> bool,
        watch: &mut dyn FnMut(u64) -> bool,
    ) -> Result<ParityReport> {
        let mut done = ParityReport::default();
        if self.parity_files.percent == 0 || self.read_only {
            return Ok(done);
        }
        for segment in self.log.segments().into_iter().filter(|s| which(s)) {
            // No segment may go while its parity is made.
            let _no_collection = self.collecting.lock();
            if self.log.segment(segment.id).is_none() || self.parity_files.refused().contains(&segment.id) {
                continue;
            }
            let len = segment.len();
            if self.covered(segment.id)? == Some(len) {
                continue;
            }
            // A segment that is just being sealed is durable when this returns; parity vouches for that.
            self.log.sync()?;
            let layout = Layout::plan(
                segment.id,
                self.store_id,
                len,
                segment.is_sealed(),
                self.parity_files.percent,
            );
            let mut pace = |n| watch(n).then_some(()).ok_or(Error::Interrupted);
            match make(self.io.as_ref(), &segment, &layout, &mut pace)? {
                Made::Written => {
                    let known = Known {
                        covered: Some(len),
                        bytes: layout.file_len(),
                    };
                    self.parity_files.files().insert(segment.id, known);
                    done.made += 1;
                }
                Made::Refused(why) => {
                    self.parity_files.refused().insert(segment.id);
                    done.refused
                        .push(format!("{} gets no parity, for it is damaged: {why}", segment.name()));
                }
            }
        }
        self.drop_strays()?;
        Ok(done)
    }

    /// Deletes all parity.
    pub fn remove_parity(&self) -> Result<()> {
        self.writable()?;
        let _no_collection = self.collecting.lock();
        let ids: Vec<u32> = self.parity_files.files().keys().copied().collect();
        ids.into_iter().try_for_each(|id| self.drop_parity(id))?;
        self.io.sync_dir(FOLDER).map_err(|e| Error::io("sync", FOLDER, e))
    }

    /// How much of a segment its parity covers; None if it has none that can be used.
    fn covered(&self, id: u32) -> Result<Option<u64>> {
        let Some(known) = self.parity_files.files().get(&id).copied() else {
            return Ok(None);
        };
        if known.covered.is_some() {
            return Ok(known.covered);
        }
        let covered = match parity::read_layout(self.io.as_ref(), id, &self.store_id)? {
            ParityFile::Usable(layout) => Some(layout.covered),
            ParityFile::Unusable(why) => {
                tracing::warn!("{}: {why}; it is made anew", parity_name(id));
                None
            }
            ParityFile::Missing => None,
        };
        if let Some(known) = self.parity_files.files().get_mut(&id) {
            known.covered = covered;
        }
        Ok(covered)
    }

    /// Parity files whose segment is gone: a crash came between the two deletions. A segment with blocks in use was not
    /// deleted but lost, and its parity may be what brings it back.
    fn drop_strays(&self) -> Result<()> {
        let ids: Vec<u32> = self.parity_files.files().keys().copied().collect();
        for id in ids.into_iter().filter(|id| self.log.segment(*id).is_none()) {
            if self.is_garbage(id) {
                self.drop_parity(id)?;
            }
        }
        Ok(())
    }

    /// Deletes the parity file of a segment that is to go.
    pub(super) fn drop_parity(&self, id: u32) -> Result<()> {
        if self.parity_files.files().contains_key(&id) {
            parity::remove(self.io.as_ref(), id)?;
            self.parity_files.files().remove(&id);
        }
        self.parity_files.refused().remove(&id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::io::Io;
    use crate::parity::parity_number;
    use crate::{Change, CreateOptions, Extent, Inode, Kind, MemIo, OpenOptions, Time};
    use std::sync::Arc;

    /// A store with a file whose blocks fill some small segments without parity, closed.
    fn unprotected() -> MemIo {
        let io = MemIo::new();
        let options = CreateOptions {
            segment_size: 8192,
            ..CreateOptions::new([1; 16])
        };
        let store = Store::create(Arc::new(io.clone()), options).unwrap();
        let inode = Inode::new(5, Kind::File, 0o644, Time::default());
        let _made = store.commit(vec![Change::PutInode(inode)]).unwrap();
        let extents = (0..20u8).map(|n| {
            let new = store.append_block(&[n; 1000]).unwrap();
            Some(Extent::new(new, 0, 1000))
        });
        let (ino, first, extents) = (5, 0, extents.collect());
        let _put = store.commit(vec![Change::PutExtents { ino, first, extents }]).unwrap();
        store.checkpoint().unwrap();
        store.close().unwrap();
        io
    }

    fn open(io: &MemIo) -> Store {
        let options = OpenOptions {
            parity: 10,
            segment_size: 8192,
            ..OpenOptions::default()
        };
        Store::open(Arc::new(io.clone()), options).unwrap().0
    }

    fn parity_files(io: &MemIo) -> usize {
        io.list(FOLDER)
            .unwrap()
            .iter()
            .filter_map(|e| parity_number(&e.name))
            .count()
    }

    /// It made all that an interrupted `lmfs parity` had left, and could not be stopped.
    #[test]
    fn closing_makes_parity_of_what_was_written_and_leaves_the_rest_for_later() {
        let io = unprotected();
        let store = open(&io);
        assert!(store.log.segments().len() > 2);
        store.close().unwrap();
        assert_eq!(parity_files(&io), 1);
        let store = open(&io);
        let sealed = store.log.segments().iter().filter(|s| s.is_sealed()).count();
        let made = store.make_parity(&mut |_| true).unwrap();
        assert_eq!(made.made as usize, sealed);
    }

    /// It was deleted with the next parity that was made, and it was what could have brought the segment back.
    #[test]
    fn the_parity_of_a_lost_segment_stays() {
        let io = unprotected();
        let store = open(&io);
        let _made = store.make_parity(&mut |_| true).unwrap();
        store.close().unwrap();
        let before = parity_files(&io);
        io.remove(&crate::log::segment_name(2)).unwrap();
        let store = open(&io);
        let _made = store.make_parity(&mut |_| true).unwrap();
        assert_eq!(parity_files(&io), before);
        // With its blocks deleted nobody needs it.
        let _cut = store.commit(vec![Change::TruncateExtents { ino: 5, from: 0 }]).unwrap();
        let _made = store.make_parity(&mut |_| true).unwrap();
        assert_eq!(parity_files(&io), before - 1);
    }
}
