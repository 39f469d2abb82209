//! A folder that remembers every write and sync, to see what a power cut at any moment would leave of it.

use super::{Entry, File, Io, MemIo, Stat};
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

mod image;
mod replay;

pub use image::Loss;
pub use replay::Replay;

/// What was asked of the folder. Files are numbered, since names come and go.
enum Event {
    Create {
        path: String,
        file: usize,
    },
    Rename {
        from: String,
        to: String,
    },
    Remove {
        path: String,
    },
    SyncDir {
        dir: String,
    },
    Write {
        file: usize,
        offset: u64,
        bytes: Vec<u8>,
    },
    SetLen {
        file: usize,
        len: u64,
    },
    Sync {
        file: usize,
    },
    /// A sync that failed: what it should have written will never be.
    LostSync {
        file: usize,
    },
}

impl Event {
    fn is_sync(&self) -> bool {
        matches!(self, Self::Sync { .. } | Self::SyncDir { .. })
    }
}

#[derive(Default)]
struct Record {
    events: Vec<Event>,
    /// The file that a path names now.
    names: BTreeMap<String, usize>,
    files: usize,
    /// File syncs until one fails.
    sync_fails: Option<usize>,
}

/// A folder in memory that records what is done to it. [`CrashIo::crash`] gives the folder that a power cut after any
/// number of events leaves: what was synced is there, of the rest any part. Clones share the folder.
#[derive(Clone, Default)]
pub struct CrashIo {
    now: MemIo,
    /// What was there, durable, before the first event.
    before: Arc<BTreeMap<String, Vec<u8>>>,
    record: Arc<Mutex<Record>>,
}

impl CrashIo {
    /// An empty folder.
    pub fn new() -> Self {
        Self::default()
    }

    /// A folder that holds these files, durably.
    pub fn from_files(files: BTreeMap<String, Vec<u8>>) -> Self {
        let names = files.keys().cloned().zip(0..).collect();
        let record = Record {
            events: Vec::new(),
            names,
            files: files.len(),
            sync_fails: None,
        };
        Self {
            now: MemIo::from_files(files.clone()),
            before: Arc::new(files),
            record: Arc::new(Mutex::new(record)),
        }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock()
    }

    /// How many events there were so far.
    pub fn events(&self) -> usize {
        self.record().events.len()
    }

    /// How many of the first `at` events are syncs, of files or of folders.
    pub fn syncs(&self, at: usize) -> usize {
        self.record().events.iter().take(at).filter(|e| e.is_sync()).count()
    }

    /// Lets `after` more syncs of files pass and the next one fail as on ext4 and XFS: what was written to the file and
    /// not synced is dropped, and yet read as if it were there until a power cut.
    pub fn fail_sync(&self, after: usize) {
        self.record().sync_fails = Some(after);
    }

    /// What power cuts leave, going from the first event to the last.
    pub fn replay(&self) -> Replay {
        Replay::new(Arc::clone(&self.before), Arc::clone(&self.record))
    }

    /// The files that a power cut after the first `at` events leaves.
    pub fn crash(&self, at: usize, loss: Loss) -> BTreeMap<String, Vec<u8>> {
        let mut replay = self.replay();
        while replay.at() < at && replay.advance() {}
        replay.image(loss).files()
    }
}

impl Io for CrashIo {
    fn list(&self, dir: &str) -> io::Result<Vec<Entry>> {
        self.now.list(dir)
    }

    fn make_dir(&self, dir: &str) -> io::Result<()> {
        self.now.make_dir(dir)
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let mut record = self.record();
        let now = self.now.create(path)?;
        let file = record.files;
        record.files += 1;
        record.names.insert(path.to_owned(), file);
        record.events.push(Event::Create {
            path: path.to_owned(),
            file,
        });
        Ok(self.file(now, file))
    }

    fn open(&self, path: &str, write: bool) -> io::Result<Arc<dyn File>> {
        let now = self.now.open(path, write)?;
        let file = self.record().names.get(path).copied();
        Ok(self.file(now, file.ok_or(io::ErrorKind::NotFound)?))
    }

    fn stat(&self, path: &str) -> io::Result<Stat> {
        self.now.stat(path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut record = self.record();
        self.now.rename(from, to)?;
        if let Some(file) = record.names.remove(from) {
            record.names.insert(to.to_owned(), file);
        }
        record.events.push(Event::Rename {
            from: from.to_owned(),
            to: to.to_owned(),
        });
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut record = self.record();
        self.now.remove(path)?;
        record.names.remove(path);
        record.events.push(Event::Remove { path: path.to_owned() });
        Ok(())
    }

    fn clear_dir(&self, dir: &str, keep: &str) -> io::Result<()> {
        for entry in self.now.list(dir)?.iter().filter(|e| e.name != keep) {
            self.remove(&format!("{dir}/{}", entry.name))?;
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.record().events.push(Event::SyncDir { dir: dir.to_owned() });
        Ok(())
    }

    fn free_space(&self) -> io::Result<u64> {
        self.now.free_space()
    }
}

impl CrashIo {
    fn file(&self, now: Arc<dyn File>, number: usize) -> Arc<dyn File> {
        Arc::new(CrashFile {
            now,
            number,
            record: Arc::clone(&self.record),
        })
    }
}

struct CrashFile {
    now: Arc<dyn File>,
    number: usize,
    record: Arc<Mutex<Record>>,
}

impl CrashFile {
    fn note(&self, event: Event) {
        let mut record = self.record.lock();
        record.events.push(event);
    }
}

impl File for CrashFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.now.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.note(Event::Write {
            file: self.number,
            offset,
            bytes: buf.to_vec(),
        });
        self.now.write_at(buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        let file = self.number;
        let mut record = self.record.lock();
        let fails = record.sync_fails == Some(0);
        record.sync_fails = record.sync_fails.and_then(|n| n.checked_sub(1));
        if fails {
            record.events.push(Event::LostSync { file });
            return Err(io::Error::from_raw_os_error(5));
        }
        record.events.push(Event::Sync { file });
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.note(Event::SetLen { file: self.number, len });
        self.now.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.now.len()
    }

    fn stat(&self) -> io::Result<Stat> {
        self.now.stat()
    }

    fn data(&self, from: u64) -> io::Result<Range<u64>> {
        self.now.data(from)
    }
}
