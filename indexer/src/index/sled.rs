//! Pages in sled. The one module that knows it.
//!
//! sled promises nothing after a power cut, and with a flipped bit or a truncated file it may panic or open with rows
//! missing. So nothing here is believed: every page carries its checksum and the key of the next, the whole index is
//! read and compared with the clean-shutdown marker before it is used, and a panic inside sled is an error.
//!
//! sled opens its files by name and follows links among them. It reaches the folder through its descriptor, and in a
//! store of somebody else it has that owner's rights and not root's, whatever the owner puts there.

use super::pages::{Changes, Entry, Pages};
use crate::io::{Directory, Io};
use crate::{Error, Result};
use ::sled::{Batch, Config, Db, Mode};
use rustix::fs::{FallocateFlags, FlockOperation, flock};
use rustix::io::Errno;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Folder of sled's files, in the store.
pub(crate) const INDEX_FOLDER: &str = "index";

/// Pages that sled keeps in memory.
const CACHE_BYTES: u64 = 64 << 20;

/// Bytes that sled's file grows by, instead of 512 KiB. With 128 KiB and less sled puts large nodes into files of their
/// own (`blobs/`), which it may forget to delete.
const SEGMENT_BYTES: usize = 256 << 10;

/// Before each key, because the first page's key is empty.
const PREFIX: u8 = b'p';

/// sled's one large file.
const DATA_FILE: &str = "db";

/// Pages in sled's files.
pub(crate) struct SledPages {
    /// None only after the files were let go.
    db: Option<Db>,
    /// Its path is reached through the descriptor, so it is held open while sled works.
    folder: Directory,
    /// Writing failed, on a full disk for example. sled may wait for ever for what it could not write, so it is asked
    /// for nothing more that would write, and not even dropped.
    failed: bool,
}

/// Runs an operation of sled on files in `folder`; errors and panics become [`Error::Index`].
fn guarded<T>(folder: &Directory, run: impl FnOnce() -> ::sled::Result<T>) -> Result<T> {
    match folder.as_owner(|| catch_unwind(AssertUnwindSafe(run))) {
        Ok(Ok(Ok(value))) => Ok(value),
        Ok(Ok(Err(e))) => Err(Error::Index(format!("sled: {e}"))),
        Ok(Err(_)) => Err(Error::Index("sled panicked".into())),
        Err(e) => Err(Error::Index(format!(
            "cannot take the rights of the store's owner: {e}"
        ))),
    }
}

fn sled_key(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 1);
    out.push(PREFIX);
    out.extend_from_slice(key);
    out
}

impl SledPages {
    /// Opens the index of a store on disk; None for a store that lies elsewhere.
    pub(crate) fn open(io: &dyn Io) -> Result<Option<Self>> {
        io.make_dir(INDEX_FOLDER)
            .map_err(|e| Error::io("make", INDEX_FOLDER, e))?;
        let folder = io.on_disk(INDEX_FOLDER);
        let Some(folder) = folder.map_err(|e| Error::io("open", INDEX_FOLDER, e))? else {
            return Ok(None);
        };
        refuse_links(&folder)?;
        let config = Config::new()
            .path(folder.reach())
            .cache_capacity(CACHE_BYTES)
            .mode(Mode::LowSpace)
            .segment_size(SEGMENT_BYTES)
            .flush_every_ms(None);
        let db = guarded(&folder, || config.open())?;
        Ok(Some(Self {
            db: Some(db),
            folder,
            failed: false,
        }))
    }

    /// Opens an empty index in place of whatever is there but the file `keep`, which is not sled's; None for a store
    /// that does not lie on disk.
    pub(crate) fn create(io: &dyn Io, keep: &str) -> Result<Option<Self>> {
        io.clear_dir(INDEX_FOLDER, keep)
            .map_err(|e| Error::io("remove", INDEX_FOLDER, e))?;
        Self::open(io)
    }

    fn db(&self) -> Result<&Db> {
        self.db.as_ref().ok_or_else(|| Error::Index("sled is closed".into()))
    }

    fn writing<T>(&mut self, run: impl FnOnce(&Db) -> ::sled::Result<T>) -> Result<T> {
        if self.failed {
            return Err(Error::Index("sled failed to write before".into()));
        }
        let db = self.db()?;
        let done = guarded(&self.folder, || run(db));
        self.failed = done.is_err();
        done
    }
}

/// An index with links in it is none that sled made.
fn refuse_links(folder: &Directory) -> Result<()> {
    let io = |e| Error::io("list", INDEX_FOLDER, e);
    for name in folder.names().map_err(io)? {
        let (kind, _) = folder.look(&name).map_err(io)?;
        if kind.is_symlink() {
            return Err(Error::Index(format!(
                "{INDEX_FOLDER}/{} is a symbolic link",
                name.display()
            )));
        }
    }
    Ok(())
}

impl Pages for SledPages {
    fn floor(&self, key: &[u8]) -> Result<Option<Entry>> {
        let db = self.db()?;
        let found = guarded(&self.folder, || db.range(..=sled_key(key)).next_back().transpose())?;
        let Some((key, page)) = found else {
            return Ok(None);
        };
        match key.split_first() {
            Some((&PREFIX, key)) => Ok(Some((key.into(), page[..].into()))),
            _ => Err(Error::Index("a key that is no page's".into())),
        }
    }

    fn write(&mut self, changes: Changes) -> Result<()> {
        let mut batch = Batch::default();
        for (key, page) in changes {
            match page {
                Some(page) => batch.insert(sled_key(&key), page),
                None => batch.remove(sled_key(&key)),
            }
        }
        self.writing(|db| db.apply_batch(batch))
    }

    fn flush(&mut self) -> Result<()> {
        self.writing(|db| db.flush()).map(drop)
    }

    fn in_memory(&self) -> bool {
        false
    }
}

impl Drop for SledPages {
    fn drop(&mut self) {
        // sled writes while it is dropped. So that it has nothing left to write then, and can be seen to fail:
        let flushed = self.flush();
        let db = self.db.take();
        if let Err(e) = flushed {
            tracing::warn!("{e}: the index will be made again from the log");
            std::mem::forget(db);
            return;
        }
        let closed = guarded(&self.folder, || {
            drop(db);
            Ok(())
        });
        if let Err(e) = closed {
            tracing::warn!("{e} while closing the index: it will be made again from the log");
        }
        // Worth no error: the file is right without holes, too.
        if let Err(e) = finish(&self.folder) {
            tracing::debug!("the unused end of the index stays on the disk: {e}");
        }
    }
}

/// How long sled's threads may go on with a file after it was dropped.
const LINGERING: Duration = Duration::from_secs(5);

/// Waits until sled has let go of its file, and gives back what it does not use of it.
///
/// Dropping it does not wait for its threads. Until they are done the file stays locked, so that it cannot be opened
/// again, and is no one else's to change.
fn finish(folder: &Directory) -> std::io::Result<()> {
    let file = folder.open_file(DATA_FILE, true)?;
    let begun = Instant::now();
    while let Err(e) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if e != Errno::WOULDBLOCK || begun.elapsed() > LINGERING {
            return Err(e.into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    free_zero_tail(&file)
}

/// Gives back the blocks of the zeros that a file ends with; its length and contents stay.
///
/// sled fills its file up to a whole segment: in a small store that is far more than the rows.
fn free_zero_tail(file: &File) -> std::io::Result<()> {
    const PIECE: u64 = 64 << 10;
    /// Holes are whole blocks of the filesystem below; nearly all have blocks of this size.
    const BLOCK: u64 = 4096;
    let len = file.metadata()?.len();
    let mut zeros_from = len;
    let mut piece = Vec::new();
    while zeros_from > 0 {
        let start = (zeros_from - 1) / PIECE * PIECE;
        piece.resize((zeros_from - start) as usize, 0);
        file.read_exact_at(&mut piece, start)?;
        if let Some(last) = piece.iter().rposition(|&b| b != 0) {
            zeros_from = start + last as u64 + 1;
            break;
        }
        zeros_from = start;
    }
    let hole = zeros_from.next_multiple_of(BLOCK);
    if hole < len {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(file, flags, hole, len - hole)?;
    }
    Ok(())
}
