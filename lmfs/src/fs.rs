//! The filesystem without FUSE: every operation as a method, with request and reply types of its own.
//!
//! It is made of parts. Each owns its state, and knows only those above it in this list:
//!
//! | part | owns |
//! |---|---|
//! | [`journal`] | the store, transactions, syncs, counters |
//! | [`reader`] | the cache of decoded blocks, readahead |
//! | [`inode`] | inodes in memory with their dirty blocks, open files |
//! | [`write_back`] | which files are dirty, flushes, backpressure |
//! | [`attributes`] | stat, extended attributes, access control lists |
//! | [`contents`] | reading, cutting, holes, copies |
//! | [`namespace`] | the tree of names, open directories |
//!
//! Metadata changes are committed to the store's log one transaction each, at once. Written bytes wait in memory (see
//! [`inode::buffer`]) until a flush appends them as blocks and commits extents, size and times in one transaction.
//! Reads look at the dirty bytes first, then at the cache, then have the block decoded in a pool. The answer comes from
//! there.
//!
//! All methods may be called from many threads. Those that may wait for a decode, a flush or the disk say so.

mod attributes;
mod contents;
mod error;
mod inode;
mod journal;
mod namespace;
mod operations;
mod options;
mod reader;
mod types;
mod write_back;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use lmfs_codec::{Codec, Stop};
use lmfs_indexer::{Moved, Store};

pub use attributes::virtual_xattr::{self, FileStat};
pub use error::{Errno, Error, Result};
pub use options::Options;
pub(crate) use types::from_system_time;
pub use types::{
    Allocate, Attr, Caller, Create, FilePosition, Kind, ROOT, RenameMode, Seek, SetAttr, SetTime, StatFs, Stats, Time,
    XattrMode,
};

use crate::cache::Blocks;
use crate::task::{Asker, Executor, wait};
use attributes::Attributes;
use contents::Contents;
use inode::Inodes;
use inode::open_files::OpenFiles;
use journal::Journal;
use namespace::Namespace;
use reader::Reader;
use reader::address::Address;
use reader::loader::Loader;
use write_back::{Background, Cold, WriteBack};

/// A filesystem over an open store.
pub struct Filesystem {
    options: Options,
    journal: Arc<Journal>,
    reader: Arc<Reader>,
    inodes: Arc<Inodes>,
    open_files: OpenFiles,
    write_back: Arc<WriteBack>,
    attributes: Arc<Attributes>,
    contents: Contents,
    namespace: Namespace,
    /// Runs requests that wait.
    executor: Arc<Executor>,
    /// Ends decodes early.
    stop: Stop,
    background: Background,
}

impl Filesystem {
    /// The filesystem in `store`, with a background thread that flushes and syncs. Files that had no name left when the
    /// store was last used are deleted.
    ///
    /// # Errors
    /// What the store reports, or a system that gives no threads.
    pub fn new(store: Arc<Store>, codec: Codec, options: Options) -> Result<Arc<Filesystem>> {
        let threads = |error: std::io::Error| Error::with(Errno::AGAIN, format!("no threads: {error}"));
        let stop = Stop::new();
        let journal = Arc::new(Journal::new(store, options.read_only));
        let loader = Loader::new(journal.clone(), codec.clone(), stop.clone());
        let blocks = Blocks::new(Box::new(loader), options.cache_bytes, options.decode_threads).map_err(threads)?;
        let executor = Arc::new(Executor::new("lmfs-job", options.job_threads).map_err(threads)?);
        let reader = Arc::new(Reader::new(journal.clone(), blocks, &options));
        tell_moves(&journal, &reader);
        let inodes = Arc::new(Inodes::new(journal.clone()));
        let write_back = Arc::new(WriteBack::new(
            journal.clone(),
            reader.clone(),
            codec,
            executor.clone(),
            inodes.totals().clone(),
            &options,
        ));
        let attributes = Arc::new(Attributes::new(journal.clone(), inodes.clone(), &options));
        let contents = Contents::new(
            journal.clone(),
            inodes.clone(),
            reader.clone(),
            write_back.clone(),
            &options,
        );
        let namespace = Namespace::new(
            journal.clone(),
            inodes.clone(),
            attributes.clone(),
            reader.clone(),
            write_back.clone(),
        );
        namespace.delete_orphans()?;
        let background = Background::default();
        if !options.read_only {
            background.start(&write_back, &journal).map_err(threads)?;
        }
        Ok(Arc::new(Filesystem {
            options,
            journal,
            reader,
            inodes,
            open_files: OpenFiles::default(),
            write_back,
            attributes,
            contents,
            namespace,
            executor,
            stop,
            background,
        }))
    }

    /// The store's options.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The store beneath.
    pub fn store(&self) -> &Arc<Store> {
        self.journal.store()
    }

    /// Runs a request that waits. It holds no thread while it does. Requests that have not ended at
    /// [`Filesystem::shutdown`] are finished there.
    pub fn spawn(&self, asker: Asker, request: impl Future<Output = ()> + Send + 'static) {
        self.executor.spawn(asker, request);
    }

    /// From now on `told` is called with the inodes whose use of space changes without a request that says so. The
    /// first call of this counts.
    pub fn on_stored(&self, told: impl Fn(u64) + Send + Sync + 'static) {
        self.journal.events().on_stored(told);
    }

    /// Makes everything written so far durable. Waits for the disk.
    ///
    /// # Errors
    /// What the first failing flush, or the store, reports; what could not be stored stays in memory.
    pub fn sync(&self) -> Result<()> {
        if self.options.read_only {
            return Ok(());
        }
        let flushed = wait(self.write_back.flush_all());
        self.journal.sync()?;
        flushed
    }

    /// Reads the log of a store again that somebody else writes. Open files show what they have become. Waits for the
    /// disk.
    ///
    /// # Errors
    /// What the store reports: then it stays as it was.
    pub fn reload(&self) -> Result<()> {
        let _report = self.journal.store().reload()?;
        self.inodes.refresh();
        Ok(())
    }

    /// Stores everything, makes it durable and ends all threads. From its start every change is refused (ENOTCONN): the
    /// users of a mount that was detached while they worked in it can still ask for some.
    ///
    /// # Errors
    /// As for [`Filesystem::sync`].
    pub fn shutdown(&self) -> Result<()> {
        self.journal.close();
        self.background.stop();
        if !self.options.read_only {
            // What has to be decoded is asked for together. Failures are told by the sync below.
            let _ = wait(self.write_back.round(Duration::ZERO, Cold::Decode));
        }
        self.executor.shutdown();
        let synced = self.sync();
        if synced.is_err() {
            for node in self.write_back.files() {
                let bytes = node.lock().dirty.bytes();
                tracing::error!(ino = node.ino, bytes, "gave up written data that could not be stored");
            }
        }
        self.stop.set();
        self.reader.blocks().shutdown();
        synced
    }

    /// The cache of decoded blocks, and who waits for it.
    pub(crate) fn blocks(&self) -> &Blocks<Address> {
        self.reader.blocks()
    }

    /// What the filesystem did and holds now.
    pub fn stats(&self) -> Stats {
        let dirty = self.write_back.files();
        let counted = self.journal.counters().stats();
        Stats {
            cache: self.reader.blocks().stats(),
            dirty_bytes: dirty.iter().map(|node| node.lock().dirty.bytes()).sum(),
            dirty_files: dirty.len() as u64,
            open_files: self.open_files.len() as u64,
            panics: counted.panics + self.reader.blocks().panics() + self.executor.panics(),
            ..counted
        }
    }

    /// Counts an operation that panicked.
    pub fn count_panic(&self) {
        self.journal.counters().panicked();
    }
}

/// Blocks that were packed, or moved by garbage collection, lie elsewhere with the same contents: the cache keeps them,
/// and the kernel learns that their files take another amount of space.
fn tell_moves(journal: &Arc<Journal>, reader: &Arc<Reader>) {
    // Both hold the store, so the store must hold neither.
    let parts = (Arc::downgrade(journal), Arc::downgrade(reader));
    journal.store().on_moved(move |moves: &[Moved], files: &BTreeSet<u64>| {
        if let (Some(journal), Some(reader)) = (parts.0.upgrade(), parts.1.upgrade()) {
            reader.moved(moves);
            files.iter().for_each(|ino| journal.events().stored(*ino));
        }
    });
}

#[cfg(test)]
mod tests;
