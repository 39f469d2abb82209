//! The folder of a store that lies in a bucket: the segments that HEAD names, read through a cache.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::{Either, select};
use lmfs_indexer::Io;
use lmfs_indexer::io::{Entry, File, Stat};
use lmfs_object::bucket::{self, Error, Head, Reader};
use parking_lot::RwLock;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Segments by their paths.
type Files = BTreeMap<String, Arc<bucket::File>>;

/// What is there, and what is about to be.
struct Views {
    now: Files,
    /// A newer state that is being opened. Those who read the older one still find its files.
    next: Option<Files>,
    /// Ends the reads of who opens the newer state.
    opening: watch::Sender<bool>,
    /// No newer state is to be opened any more.
    stopped: bool,
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
            opening: watch::Sender::new(false),
            stopped: false,
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
        let mut views = self.views.write();
        views.next = Some(files(head));
        views.opening = watch::Sender::new(views.stopped);
    }

    /// Whoever opens a newer state gives up, now and from here on: a read may take long, and nobody will look at it.
    pub fn stop(&self) {
        let mut views = self.views.write();
        views.stopped = true;
        if views.next.is_some() {
            views.opening.send_replace(true);
        }
    }

    /// Whether that was asked for.
    pub fn is_stopped(&self) -> bool {
        self.views.read().stopped
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
        let opening = {
            let views = self.views.read();
            views.next.as_ref().map(|_| views.opening.subscribe())
        };
        Ok(Arc::new(BucketFile {
            file: self.file(path)?,
            opening,
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

/// Ends when the newer state is given up for which a file was opened.
async fn given_up(opening: Option<watch::Receiver<bool>>) {
    if let Some(mut opening) = opening
        && opening.wait_for(|given_up| *given_up).await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// A segment.
struct BucketFile {
    file: Arc<bucket::File>,
    /// Says true if it was opened for a newer state that nobody wants any more.
    opening: Option<watch::Receiver<bool>>,
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
        let read = self.runtime.block_on(async {
            let read = pin!(self.reader.read(&self.file, offset..end));
            match select(read, pin!(given_up(self.opening.clone()))).await {
                Either::Left((read, _)) => read,
                Either::Right(_) => Err(bucket::Error::Local {
                    what: "the newer state is not opened".into(),
                    source: io::Error::other("the mount ends"),
                }),
            }
        });
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

    fn forget(&self, range: Range<u64>) -> bool {
        self.reader.forget(&self.file, range)
    }

    fn stat(&self) -> io::Result<Stat> {
        Ok(stat(&self.file))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::sync::mpsc;
    use std::time::Duration;

    use lmfs_object::bucket::{Bucket, Piece};
    use rustix::fs::{CWD, FileType, Mode};
    use uuid::Uuid;

    use super::*;

    fn head(files: Vec<bucket::File>) -> Head {
        Head {
            lineage: Uuid::nil(),
            store_id: Uuid::nil(),
            epoch: 1,
            writer: Uuid::nil(),
            writer_name: String::new(),
            commit: Uuid::nil(),
            time: 0,
            probed: 0,
            grace_seconds: 0,
            seq: Some(1),
            files,
            staged: Vec::new(),
            dead: Vec::new(),
        }
    }

    /// Regression: the end of a mount waited for the requests of a newer log that was being read.
    #[test]
    fn who_opens_a_newer_state_gives_up_when_the_mount_ends() {
        const SEGMENT: &str = "segments/00000001.seg";
        let dir = tempfile::tempdir().unwrap();
        let bucket = Bucket::in_folder(dir.path(), true).unwrap();
        std::fs::create_dir(dir.path().join("segments")).unwrap();
        // Whoever opens it waits for a writer.
        let slow = dir.path().join("segments/slow");
        rustix::fs::mknodat(CWD, &slow, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let piece = Piece {
            object: "segments/slow".into(),
            length: 100,
            sha256: String::new(),
        };
        let file = bucket::File {
            path: SEGMENT.into(),
            start: String::new(),
            pieces: vec![piece],
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let reader = Arc::new(Reader::new(bucket, None).unwrap());
        let io = BucketIo::new(reader, runtime.handle().clone(), &head(Vec::new()));
        io.begin(&head(vec![file]));
        let file = io.open(SEGMENT, false).unwrap();
        let (tell, told) = mpsc::channel();
        let read = std::thread::spawn(move || tell.send(file.read_at(&mut [0; 8], 0)).unwrap());
        assert!(told.recv_timeout(Duration::from_millis(300)).is_err(), "it waits");
        io.stop();
        assert!(told.recv_timeout(Duration::from_secs(60)).unwrap().is_err());
        read.join().unwrap();
        drop(std::fs::File::options().write(true).open(&slow).unwrap());
    }
}
