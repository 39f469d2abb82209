//! Pages in memory while they are few, in sled once they are many.
//!
//! sled's files take far more than the rows of a small store, and looking a page up in them takes far longer than in
//! memory. Few pages are therefore written to one file when the store is closed (`saved`), and to none before.

use super::pages::{Changes, Entry, MemPages, Pages};
use super::sled::{INDEX_FOLDER, SledPages};
use crate::io::Io;
use crate::{Error, Result};
use std::sync::Arc;

/// Bytes of pages that can be kept in memory: the rows of some 80,000 files.
pub(crate) const MOST_IN_MEMORY: usize = 8 << 20;

/// Pages that are put into sled at a time.
const BATCH: usize = 64;

/// Pages that move to sled when they become many.
pub(crate) struct SpillPages {
    io: Arc<dyn Io>,
    /// The file in the folder of the index that is not sled's.
    keep: &'static str,
    /// Bytes of pages that may be in memory.
    most: usize,
    place: Place,
}

enum Place {
    Memory(MemPages),
    /// There is no place for sled, or it failed there.
    MemoryAlone(MemPages),
    Sled(SledPages),
}

impl SpillPages {
    /// No pages yet, in place of whatever is in the folder of the index but the file `keep`.
    pub(crate) fn create(io: &Arc<dyn Io>, keep: &'static str, most: usize) -> Result<Self> {
        io.clear_dir(INDEX_FOLDER, keep)
            .map_err(|e| Error::io("remove", INDEX_FOLDER, e))?;
        Ok(Self::empty(io, keep, most))
    }

    /// No pages yet, for those that were saved and are still to be read.
    pub(crate) fn empty(io: &Arc<dyn Io>, keep: &'static str, most: usize) -> Self {
        Self {
            io: Arc::clone(io),
            keep,
            most,
            place: Place::Memory(MemPages::default()),
        }
    }

    /// Pages that are in sled.
    pub(crate) fn in_sled(io: &Arc<dyn Io>, keep: &'static str, most: usize, pages: SledPages) -> Self {
        Self {
            place: Place::Sled(pages),
            ..Self::empty(io, keep, most)
        }
    }

    /// Moves the pages to sled if they are many.
    fn spill(&mut self) {
        let Place::Memory(pages) = &mut self.place else { return };
        if pages.bytes() <= self.most {
            return;
        }
        self.place = match moved(self.io.as_ref(), self.keep, pages) {
            Ok(Some(sled)) => Place::Sled(sled),
            Ok(None) => Place::MemoryAlone(std::mem::take(pages)),
            Err(e) => {
                tracing::warn!("{e}; the index is kept in memory until the next start");
                Place::MemoryAlone(std::mem::take(pages))
            }
        };
    }
}

/// The pages in sled; `None` for a store that does not lie on disk.
fn moved(io: &dyn Io, keep: &str, pages: &MemPages) -> Result<Option<SledPages>> {
    let Some(mut sled) = SledPages::create(io, keep)? else {
        return Ok(None);
    };
    let mut batch = Changes::new();
    for (key, page) in pages.iter() {
        batch.push((key.to_vec(), Some(page.to_vec())));
        if batch.len() >= BATCH {
            sled.write(std::mem::take(&mut batch))?;
        }
    }
    sled.write(batch)?;
    Ok(Some(sled))
}

impl Pages for SpillPages {
    fn floor(&self, key: &[u8]) -> Result<Option<Entry>> {
        match &self.place {
            Place::Memory(pages) | Place::MemoryAlone(pages) => pages.floor(key),
            Place::Sled(pages) => pages.floor(key),
        }
    }

    fn write(&mut self, changes: Changes) -> Result<()> {
        match &mut self.place {
            Place::Memory(pages) | Place::MemoryAlone(pages) => pages.write(changes)?,
            Place::Sled(pages) => return pages.write(changes),
        }
        self.spill();
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        match &mut self.place {
            Place::Memory(pages) | Place::MemoryAlone(pages) => pages.flush(),
            Place::Sled(pages) => pages.flush(),
        }
    }

    fn in_memory(&self) -> bool {
        !matches!(self.place, Place::Sled(_))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::index::Index;
    use crate::io::{MemIo, RealIo};

    const MOST: usize = 100_000;

    fn filled(io: Arc<dyn Io>, rows: u32) -> Index {
        let mut index = Index::new(Box::new(SpillPages::create(&io, "mark", MOST).unwrap()));
        let row = |n: u32| (n.to_be_bytes().to_vec(), Some(vec![n as u8; 1000]));
        index.apply((0..rows).map(row).collect());
        index.flush().unwrap();
        index
    }

    #[test]
    fn many_pages_move_to_sled_and_are_the_same_there() {
        let dir = tempfile::tempdir().unwrap();
        let io = || Arc::new(RealIo::new(dir.path()).unwrap());
        let few = filled(io(), 50);
        assert!(few.in_memory());
        drop(few);
        let rows = MOST as u32 / 100;
        let many = filled(io(), rows);
        assert!(!many.in_memory());
        let in_memory = filled(Arc::new(MemIo::new()), rows);
        assert!(in_memory.in_memory(), "sled has no place there");
        let sum = |index: &Index| index.read_all(|_, _| Some(())).unwrap();
        assert_eq!(sum(&many), sum(&in_memory));
        assert_eq!(sum(&many).rows, u64::from(rows));
    }

    #[test]
    fn where_sled_cannot_be_all_pages_stay_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let io: Arc<dyn Io> = Arc::new(RealIo::new(dir.path()).unwrap());
        let mut pages = SpillPages::create(&io, "mark", MOST).unwrap();
        dir.close().unwrap();
        let page = vec![7; MOST];
        pages.write(vec![(b"key".to_vec(), Some(page.clone()))]).unwrap();
        assert!(pages.in_memory());
        assert_eq!(&pages.floor(b"key").unwrap().unwrap().1[..], &page[..]);
    }
}
