//! Pages in sled. The one module that knows it.
//!
//! sled promises nothing after a power cut, and with a flipped bit or a truncated file it may panic or open with rows
//! missing. So nothing here is believed: every page carries its checksum and the key of the next, the whole index is
//! read and compared with the mark of the last clean close before it is used, and a panic inside sled is an error.

use super::pages::{Entry, Pages};
use crate::io::Io;
use crate::{Error, Result};
use ::sled::{Batch, Config, Db, Mode};
use rustix::fs::{FallocateFlags, FlockOperation, OFlags, flock};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Folder of sled's files, in the store.
pub(crate) const INDEX_FOLDER: &str = "index";

/// Pages that sled keeps in memory.
const CACHE_BYTES: u64 = 64 << 20;

/// Bytes that sled's file grows by. The default of 512 KiB costs a small store more than its data; with 128 KiB and less
/// sled puts large nodes into files of their own (`blobs/`), which it may forget to delete.
const SEGMENT_BYTES: usize = 256 << 10;

/// Before each key, because the first page's key is empty.
const PREFIX: u8 = b'p';

/// sled's one large file.
const DATA_FILE: &str = "db";

/// Pages in sled's files.
pub(crate) struct SledPages {
    /// None only after the files were let go.
    db: Option<Db>,
    folder: PathBuf,
    /// Writing failed, on a full disk for example. sled may wait for ever for what it could not write, so it is asked for
    /// nothing more that would write, and not even dropped.
    failed: bool,
}

/// Runs an operation of sled; errors and panics become [`Error::Index`].
fn guarded<T>(run: impl FnOnce() -> ::sled::Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(e)) => Err(Error::Index(format!("sled: {e}"))),
        Err(_) => Err(Error::Index("sled panicked".into())),
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
        let Some(root) = io.root() else {
            return Ok(None);
        };
        io.make_dir(INDEX_FOLDER)
            .map_err(|e| Error::io("make", INDEX_FOLDER, e))?;
        let path = root.join(INDEX_FOLDER);
        refuse_links(&path)?;
        let config = Config::new()
            .path(&path)
            .cache_capacity(CACHE_BYTES)
            .mode(Mode::LowSpace)
            .segment_size(SEGMENT_BYTES)
            .flush_every_ms(None);
        let db = guarded(|| config.open())?;
        io.give_back(INDEX_FOLDER)
            .map_err(|e| Error::io("change the owner of files in", INDEX_FOLDER, e))?;
        Ok(Some(Self {
            db: Some(db),
            folder: path,
            failed: false,
        }))
    }

    /// Opens an empty index in place of whatever is there but the file `keep`, which is not sled's; None for a store that
    /// does not lie on disk.
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
        let done = guarded(|| run(db));
        self.failed = done.is_err();
        done
    }
}

/// sled opens its files by name, so a link among them could lead it out of the store.
fn refuse_links(path: &Path) -> Result<()> {
    let io = |e| Error::io("list", INDEX_FOLDER, e);
    for entry in std::fs::read_dir(path).map_err(io)? {
        let entry = entry.map_err(io)?;
        if entry.file_type().map_err(io)?.is_symlink() {
            let name = entry.file_name();
            return Err(Error::Index(format!(
                "{INDEX_FOLDER}/{} is a symbolic link",
                name.to_string_lossy()
            )));
        }
    }
    Ok(())
}

impl Pages for SledPages {
    fn floor(&self, key: &[u8]) -> Result<Option<Entry>> {
        let db = self.db()?;
        let found = guarded(|| db.range(..=sled_key(key)).next_back().transpose())?;
        let Some((key, page)) = found else {
            return Ok(None);
        };
        match key.split_first() {
            Some((&PREFIX, key)) => Ok(Some((key.to_vec(), page.to_vec()))),
            _ => Err(Error::Index("a key that is no page's".into())),
        }
    }

    fn write(&mut self, changes: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<()> {
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
        if catch_unwind(AssertUnwindSafe(|| drop(db))).is_err() {
            tracing::warn!("sled panicked while closing the index: it will be made again from the log");
        }
        // Worth no error: the file is right without holes, too.
        if let Err(e) = finish(&self.folder.join(DATA_FILE)) {
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
fn finish(path: &Path) -> std::io::Result<()> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)?;
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
