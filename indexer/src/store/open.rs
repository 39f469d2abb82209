//! Making, opening and closing a store.

use super::parity_files::ParityFiles;
use super::recover::{self, Found};
use super::shutdown_marker::{self, ShutdownMarker};
use super::{CreateOptions, MAX_INDEX_MEMORY, MAX_SEGMENT, MIN_SEGMENT, OpenOptions, OpenReport, State, Store};
use crate::index::{INDEX_FOLDER, Index, MemPages, SpillPages, saved};
use crate::io::Io;
use crate::log::{self, FOLDER, Log, LogOptions};
use crate::parity::MAX_PARITY;
use crate::types::{Inode, Kind, ROOT_INO, Time};
use crate::{Change, Error, Result};
use parking_lot::{Mutex, RwLock};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

impl Store {
    /// Makes a store in an empty folder: an empty tree with its root directory, durable when this returns.
    pub fn create(io: Arc<dyn Io>, options: CreateOptions) -> Result<Self> {
        let there = io.list(FOLDER).map_err(|e| Error::io("list", FOLDER, e))?;
        if let Some(file) = there.iter().find(|e| log::segment_number(&e.name).is_some()) {
            return Err(Error::AlreadyAStore(format!("{FOLDER}/{} exists", file.name)));
        }
        for dir in [FOLDER, INDEX_FOLDER] {
            io.make_dir(dir).map_err(|e| Error::io("make", dir, e))?;
        }
        io.sync_dir("")
            .map_err(|e| Error::io("sync", "the store's folder", e))?;
        let open = OpenOptions {
            store_id: Some(options.store_id),
            segment_size: options.segment_size,
            ..OpenOptions::default()
        };
        let found = Found::empty(&io, options.store_id, &open)?;
        let store = Self::assemble(io, &open, found)?;
        let root = Inode {
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            ..Inode::new(ROOT_INO, Kind::Directory, 0o755, now())
        };
        let _root = store.commit(vec![Change::PutInode(root)])?;
        store.sync()?;
        Ok(store)
    }

    /// Opens a store, after a clean close or a crash, and says what it found.
    pub fn open(io: Arc<dyn Io>, options: OpenOptions) -> Result<(Self, OpenReport)> {
        let found = recover::recover(&io, &options)?;
        let report = found.report.clone();
        for warning in &report.warnings {
            tracing::warn!("{warning}");
        }
        Ok((Self::assemble(io, &options, found)?, report))
    }

    fn assemble(io: Arc<dyn Io>, options: &OpenOptions, found: Found) -> Result<Self> {
        if !(MIN_SEGMENT..=MAX_SEGMENT).contains(&options.segment_size) {
            return Err(Error::InvalidOption(format!(
                "a segment size of {}, it must be {MIN_SEGMENT} to {MAX_SEGMENT}",
                options.segment_size
            )));
        }
        if options.parity > MAX_PARITY {
            return Err(Error::InvalidOption(format!(
                "a parity of {} percent, at most {MAX_PARITY} are possible",
                options.parity
            )));
        }
        if options.index_memory > MAX_INDEX_MEMORY {
            return Err(Error::InvalidOption(format!(
                "{} bytes of the index in memory, at most {MAX_INDEX_MEMORY} are possible",
                options.index_memory
            )));
        }
        let next_id = AtomicU64::new(found.counters.max_id.saturating_add(1));
        let parity_files = ParityFiles::find(io.as_ref(), options.parity)?;
        let newest = found.resume.segments.keys().next_back().copied().unwrap_or(0);
        let log_options = LogOptions {
            store_id: found.store_id,
            segment_size: options.segment_size,
        };
        Ok(Self {
            store_id: found.store_id,
            read_only: !options.writes(),
            opened_seq: found.resume.seq,
            opened_segment: newest,
            noted_segment: Mutex::new(newest),
            log: Log::new(Arc::clone(&io), log_options, found.resume),
            io,
            state: RwLock::new(State {
                index: found.index,
                counters: found.counters,
                snapshot: None,
            }),
            committing: Mutex::new(()),
            checkpointing: Mutex::new(()),
            collecting: Mutex::new(()),
            pending: Mutex::default(),
            held: Mutex::default(),
            next_id,
            contents: Mutex::default(),
            segment_size: options.segment_size,
            index_memory: options.index_memory,
            parity_files,
            on_moved: OnceLock::new(),
        })
    }

    /// Makes everything durable and puts the index away, so that the next opening need not read the log.
    pub fn close(self) -> Result<()> {
        if self.read_only {
            return Ok(());
        }
        self.sync()?;
        if self.log.seq() > self.opened_seq {
            // Every transaction says how far the log was durable before it; an empty one says so for all of it. Else a
            // bit that flips near the end would look like what a crash leaves, and what follows it would be cut off,
            // should the index and its marker be gone.
            // All is durable without it, so a full disk is no reason to fail here. A failed sync is: the marker may not
            // vouch for what the disk may not have.
            match self.commit(Vec::new()).and_then(|_empty| self.sync()) {
                Err(e @ Error::NoSpace { .. }) => tracing::warn!("{e}"),
                noted => noted?,
            }
        }
        // Parity is for the years to come; that it could not be made today is no failure of what was stored.
        match self.make_own_parity() {
            Ok(done) => done.refused.iter().for_each(|why| tracing::warn!("{why}")),
            Err(e) => tracing::warn!("no parity for what was written last: {e}"),
        }
        let mut state = self.state.into_inner();
        // An index that cannot be put away is made again from the log: that loses time and nothing else.
        if let Err(e) = put_away(&self.io, &self.log, self.store_id, self.index_memory, &mut state) {
            tracing::warn!("{e}");
        }
        Ok(())
    }
}

/// An index that takes four times its rows and this many bytes is copied when it is put away.
const LOOSE: u64 = 4 << 20;

/// Writes the index out, reads it back and vouches for it.
fn put_away(io: &Arc<dyn Io>, log: &Log, store_id: [u8; 16], index_memory: usize, state: &mut State) -> Result<()> {
    state.index.flush()?;
    let mut held = 0u64;
    let rows = state.index.read_all(|k, v| {
        held += (k.len() + v.len()) as u64;
        Some(())
    })?;
    if !state.index.in_memory() {
        // Files come and go while sled works. Without a list the index is put away as it is.
        let files = io.list(INDEX_FOLDER).unwrap_or_default();
        let taken: u64 = files.iter().map(|f| f.allocated).sum();
        if held < index_memory as u64 / 2 || taken > held.saturating_mul(4).saturating_add(LOOSE) {
            // sled keeps the space of what was deleted. The marker is dirty, so a crash here costs a rebuild at most.
            let copy = state.index.copy_to(Box::new(MemPages::default()))?;
            // sled lets go of its files before they are removed.
            state.index = Index::new(Box::new(MemPages::default()));
            state.index = copy.copy_to(Box::new(SpillPages::create(io, shutdown_marker::FILE, index_memory)?))?;
            state.index.flush()?;
            if state.index.read_all(|_, _| Some(()))? != rows {
                return Err(Error::Index("a copy with other rows".into()));
            }
        }
    }
    if state.index.in_memory() {
        // Who opens it compares what was read with the marker, as nobody does here.
        saved::write(io.as_ref(), &state.index)?;
    }
    let segments = log.segments();
    let marker = ShutdownMarker {
        store_id,
        clean: true,
        rows,
        seq: log.seq(),
        checkpoint: log.checkpoint(),
        since: log.since_checkpoint(),
        max_ino: state.counters.max_ino,
        max_id: state.counters.max_id,
        segments: segments.iter().map(|s| (s.id, s.len())).collect(),
    };
    marker.write(io.as_ref())
}

fn now() -> Time {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(d) => Time {
            secs: i64::try_from(d.as_secs()).unwrap_or(i64::MAX),
            nanos: d.subsec_nanos(),
        },
        Err(_) => Time::default(),
    }
}
