//! The folder of a store that lies in a bucket: the segments that HEAD names, read through a cache.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lmfs_indexer::Io;
use lmfs_indexer::io::{Entry, File, Stat};
use lmfs_object::bucket::{self, Error, Head, Reader};
use parking_lot::RwLock;
use tokio::runtime::Handle;

/// Segments by their paths.
type Files = BTreeMap<String, Arc<bucket::File>>;

/// What is there, and what is about to be.
#[derive(Default)]
struct Views {
    now: Files,
    /// A newer state that is being opened. Those who read the older one still find its files.
    next: Option<Files>,
}

/// The segments of a store in a bucket.
pub struct BucketIo {
    reader: Arc<Reader>,
    runtime: Handle,
    views: RwLock<Views>,
    behind: Arc<AtomicBool>,
}

impl BucketIo {
    /// The segments that `head` names. Requests run on `runtime`, and whoever reads waits for them.
    #[must_use]
    pub fn new(reader: Arc<Reader>, runtime: Handle, head: &Head) -> BucketIo {
        let views = Views {
            now: files(head),
            next: None,
        };
        BucketIo {
            reader,
            runtime,
            views: RwLock::new(views),
            behind: Arc::default(),
        }
    }

    /// From here on the folder has the files of `head`; files of the state before can still be opened.
    pub fn begin(&self, head: &Head) {
        self.views.write().next = Some(files(head));
    }

    /// The state that was begun is the one that is read, or else the state before is again.
    pub fn end(&self, opened: bool) {
        let mut views = self.views.write();
        if let Some(next) = views.next.take().filter(|_| opened) {
            views.now = next;
        }
    }

    /// Whether an object was gone since this was asked last: then HEAD is older than the grace period.
    pub fn was_behind(&self) -> bool {
        self.behind.swap(false, Ordering::Relaxed)
    }

    fn file(&self, path: &str) -> io::Result<Arc<bucket::File>> {
        let views = self.views.read();
        let next = views.next.as_ref().and_then(|next| next.get(path));
        let file = next.or_else(|| views.now.get(path)).cloned();
        file.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "HEAD names no such file"))
    }
}

fn files(head: &Head) -> Files {
    let segments = head.files.iter().filter(|file| file.path.starts_with("segments/"));
    segments
        .map(|file| (file.path.clone(), Arc::new(file.clone())))
        .collect()
}

fn read_only<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Io for BucketIo {
    fn list(&self, dir: &str) -> io::Result<Vec<Entry>> {
        let views = self.views.read();
        let files = views.next.as_ref().unwrap_or(&views.now);
        let entry = |(path, file): (&String, &Arc<bucket::File>)| {
            let name = path.strip_prefix(dir)?.strip_prefix('/')?.to_owned();
            let len = file.len();
            Some(Entry {
                name,
                len,
                allocated: len,
            })
        };
        Ok(files.iter().filter_map(entry).collect())
    }

    fn make_dir(&self, _dir: &str) -> io::Result<()> {
        read_only()
    }

    fn create(&self, _path: &str) -> io::Result<Arc<dyn File>> {
        read_only()
    }

    fn open(&self, path: &str, write: bool) -> io::Result<Arc<dyn File>> {
        if write {
            return read_only();
        }
        Ok(Arc::new(BucketFile {
            file: self.file(path)?,
            reader: Arc::clone(&self.reader),
            runtime: self.runtime.clone(),
            behind: Arc::clone(&self.behind),
        }))
    }

    fn stat(&self, path: &str) -> io::Result<Stat> {
        Ok(stat(&*self.file(path)?))
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        read_only()
    }

    fn remove(&self, _path: &str) -> io::Result<()> {
        read_only()
    }

    fn clear_dir(&self, _dir: &str, _keep: &str) -> io::Result<()> {
        read_only()
    }

    fn sync_dir(&self, _dir: &str) -> io::Result<()> {
        Ok(())
    }

    fn free_space(&self) -> io::Result<u64> {
        Ok(0)
    }
}

/// There are no links, and no inodes: nothing here is ever replaced.
fn stat(file: &bucket::File) -> Stat {
    Stat {
        id: (0, 0),
        len: file.len(),
        links: 1,
    }
}

/// A segment.
struct BucketFile {
    file: Arc<bucket::File>,
    reader: Arc<Reader>,
    runtime: Handle,
    behind: Arc<AtomicBool>,
}

impl File for BucketFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let end = offset.saturating_add(buf.len() as u64).min(self.file.len());
        if offset >= end {
            return Ok(0);
        }
        let read = self.runtime.block_on(self.reader.read(&self.file, offset..end));
        let bytes = read.map_err(|error| {
            if matches!(error, Error::Gone { .. }) {
                self.behind.store(true, Ordering::Relaxed);
            }
            io::Error::other(error)
        })?;
        let part = buf.get_mut(..bytes.len()).ok_or(io::ErrorKind::InvalidData)?;
        part.copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn write_at(&self, _buf: &[u8], _offset: u64) -> io::Result<usize> {
        read_only()
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        read_only()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.len())
    }

    fn stat(&self) -> io::Result<Stat> {
        Ok(stat(&self.file))
    }
}
