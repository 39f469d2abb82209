//! A store in a bucket as it is mounted: a folder on this machine with its config, its model and a cache, and the log
//! over there.

use std::io::Write;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::future::{Either, select};
use lmfs_indexer::io::Directory;
use lmfs_object::bucket::{Cache, File, Head, Reader, Version};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use uuid::Uuid;

use super::io::BucketIo;
use super::url;
use crate::store::{Access, Folder, Opened};

/// Where a store is, and how it is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What `lmfs push` was given.
    pub url: String,
    /// The folder for what is fetched.
    pub cache_dir: PathBuf,
    /// The most bytes of segments in it.
    pub cache_bytes: u64,
    /// How often HEAD is looked at.
    pub poll: Duration,
}

/// A store that lies in a bucket.
pub struct Replica {
    /// The folder that stands for the store on this machine.
    pub folder: Folder,
    reader: Arc<Reader>,
    head: Mutex<(Head, Version)>,
    io: Arc<BucketIo>,
    /// The HEAD for which the cache was forgotten last.
    forgotten: Mutex<Option<Uuid>>,
    runtime: Runtime,
    stopped: Notify,
}

impl Replica {
    /// Reads HEAD and fetches what is needed besides the log: the config and the model.
    ///
    /// # Errors
    /// A bucket without a store; a folder that cannot be used.
    pub fn find(source: &Source) -> anyhow::Result<Replica> {
        Replica::with_cache(source, false)
    }

    /// The same with the cache, which one process uses at a time.
    ///
    /// # Errors
    /// As there; another process that uses it.
    pub fn open(source: &Source) -> anyhow::Result<Replica> {
        Replica::with_cache(source, true)
    }

    fn with_cache(source: &Source, cached: bool) -> anyhow::Result<Replica> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("lmfs-bucket")
            .enable_all()
            .build()
            .context("cannot start threads for requests")?;
        let bucket = url::bucket(&source.url, false)?;
        let plain = Reader::new(bucket, None)?;
        let (head, version) = runtime.block_on(plain.head_and_version())?;
        let place = source.cache_dir.join(head.store_id.to_string());
        std::fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
        let dir = Directory::open(&place).with_context(|| format!("cannot open {}", place.display()))?;
        let fetched = runtime.block_on(fetch_files(&plain, &head, &dir));
        fetched.with_context(|| format!("cannot prepare {}", place.display()))?;
        let folder = Folder::find(&place)?;
        if folder.config().store_id != head.store_id {
            bail!("{} holds the config of another store than its HEAD says", source.url);
        }
        let cache = cached.then(|| Cache {
            folder: place.join("cache"),
            bytes: source.cache_bytes,
        });
        let reader = Arc::new(Reader::new(url::bucket_of_mount(&source.url)?, cache)?);
        let io = Arc::new(BucketIo::new(Arc::clone(&reader), runtime.handle().clone(), &head));
        Ok(Replica {
            folder,
            reader,
            head: Mutex::new((head, version)),
            io,
            forgotten: Mutex::default(),
            runtime,
            stopped: Notify::new(),
        })
    }

    /// Opens the store for reading.
    ///
    /// # Errors
    /// Another mount that uses the folder; a log that is damaged; requests that fail.
    pub fn open_store(&self, access: &Access) -> anyhow::Result<Opened> {
        let open = || Opened::open_elsewhere(self.folder.clone(), access, self.io.clone());
        match open() {
            Err(error) if is_damage(&error) && self.forget(&self.head.lock().0) => Ok(open()?),
            opened => Ok(opened?),
        }
    }

    /// Forgets what the cache has of a log that cannot be read, which may be other bytes than those that were pushed:
    /// once for each HEAD. Says whether there was anything.
    fn forget(&self, head: &Head) -> bool {
        if self.forgotten.lock().replace(head.commit) == Some(head.commit) {
            return false;
        }
        let forget = |file: &&File| self.reader.forget(file, 0..file.len());
        // Every one of them, also behind the first.
        head.files.iter().filter(forget).count() > 0
    }

    /// Looks whether HEAD is another one by now, and has `reload` read the log again if so; says whether it did.
    ///
    /// # Errors
    /// Requests that fail; a bucket that was emptied and filled again.
    pub fn follow(&self, reload: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<bool> {
        let mut known = self.head.lock();
        let newer = self.runtime.block_on(async {
            let newer = pin!(self.reader.newer(&known.1));
            match select(newer, pin!(self.stopped.notified())).await {
                Either::Left((newer, _)) => newer,
                Either::Right(_) => Ok(None),
            }
        })?;
        let Some((head, version)) = newer else { return Ok(false) };
        if head.lineage != known.0.lineage || head.store_id != known.0.store_id {
            bail!("{} was emptied and filled again: mount it again", self.reader.place());
        }
        if head.files != known.0.files {
            self.io.begin(&head);
            let mut reloaded = reload();
            let is_damaged = reloaded.as_ref().is_err_and(|error| is_damage(error.as_ref()));
            if is_damaged && !self.io.is_stopped() && self.forget(&head) {
                reloaded = reload();
            }
            self.io.end(reloaded.is_ok());
            reloaded?;
        }
        *known = (head, version);
        Ok(true)
    }

    /// Whoever asks for HEAD at this moment, or else does next, gives up, and so does who reads a newer log: requests
    /// may take long.
    pub fn stop(&self) {
        self.stopped.notify_one();
        self.io.stop();
    }

    /// Whether something could not be read because HEAD was older than the grace period.
    pub fn was_behind(&self) -> bool {
        self.io.was_behind()
    }
}

/// Whether it was read and makes no sense. Of a request that failed, or one that was given up, the cache knows nothing.
fn is_damage(error: &(dyn std::error::Error + 'static)) -> bool {
    use lmfs_indexer::Error::{Damaged, LogDamaged};
    type Shared = Arc<dyn std::error::Error + Send + Sync>;
    let is_one = |error: &(dyn std::error::Error + 'static)| {
        matches!(error.downcast_ref(), Some(Damaged { .. } | LogDamaged { .. }))
    };
    let mut errors = std::iter::successors(Some(error), |error| error.source());
    errors.any(|error| match error.downcast_ref::<Shared>() {
        Some(shared) => is_one(&**shared),
        None => is_one(error),
    })
}

/// Fetches the config, and the model unless it is there.
async fn fetch_files(reader: &Reader, head: &Head, dir: &Directory) -> anyhow::Result<()> {
    dir.make_directory("models")?;
    for file in &head.files {
        let (folder, name) = match file.path.split_once('/') {
            None => (dir.clone(), file.path.as_str()),
            Some(("models", name)) => (dir.directory("models")?, name),
            Some(_) => continue,
        };
        if let Ok(there) = folder.open_file(name, false)
            && there.metadata()?.len() == file.len()
            && is_whole(&there, file)?
        {
            continue;
        }
        fetch_file(reader, file, &folder, name).await?;
    }
    Ok(())
}

/// Fetches a file piece by piece: a model may be larger than memory.
async fn fetch_file(reader: &Reader, file: &File, folder: &Directory, name: &str) -> anyhow::Result<()> {
    let at = || format!("cannot write {}", file.path);
    let temporary = format!(".new-{}", Uuid::new_v4().simple());
    let mut new = folder.create_file(&temporary).with_context(at)?;
    let write = async {
        for piece in &file.pieces {
            new.write_all(&reader.piece(piece).await?).with_context(at)?;
        }
        new.sync_all().with_context(at)?;
        folder.rename(&temporary, name).with_context(at)
    };
    let written = write.await;
    if written.is_err() {
        // Its space may be what is missing.
        let _ = folder.remove(&temporary);
    }
    written
}

fn is_whole(there: &std::fs::File, file: &File) -> std::io::Result<bool> {
    use std::io::Read;
    let mut there = there;
    for piece in &file.pieces {
        let mut digest = Sha256::new();
        std::io::copy(
            &mut Read::by_ref(&mut there).take(piece.length),
            &mut Hashing(&mut digest),
        )?;
        if hex::encode(digest.finalize()) != piece.sha256 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Takes bytes into a digest.
struct Hashing<'a>(&'a mut Sha256);

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// Regression: a request that failed while a newer log was read had everything fetched again that was cached.
    #[test]
    fn only_damage_makes_the_cache_doubtful() {
        let damaged = || lmfs_indexer::Error::LogDamaged {
            segment: 1,
            offset: 2,
            why: "a test".into(),
        };
        let failed = || lmfs_indexer::Error::Io {
            what: "read",
            path: "segments/00000001.seg".into(),
            source: io::Error::other("503"),
        };
        let reloaded = |error: lmfs_indexer::Error| anyhow::Error::from(crate::fs::Error::from(error));
        let opened = |source| crate::store::Error::Indexer {
            path: "there".into(),
            source,
        };
        assert!(is_damage(reloaded(damaged()).as_ref()) && is_damage(&opened(damaged())));
        assert!(!is_damage(reloaded(failed()).as_ref()) && !is_damage(&opened(failed())));
    }
}
