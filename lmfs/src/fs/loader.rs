//! Fills the cache: reads a block from the log and decodes it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use lmfs_codec::{Codec, Error as CodecError, Stop};
use lmfs_indexer::{Error as StoreError, Extent, Store};
use parking_lot::Mutex;

use super::reader::Address;
use super::stats::Counters;
use crate::cache::{Cost, LoadError, LoadErrorKind, Source};
use crate::packer::Tag;

/// Most bad blocks remembered by name; beyond it they may be logged again.
const REMEMBERED: usize = 100_000;

/// The cache's way to the log.
pub struct Loader {
    store: Arc<Store>,
    codec: Codec,
    stop: Stop,
    counters: Arc<Counters>,
    /// Blocks that were reported, so that each is logged once.
    bad: Mutex<HashSet<Address>>,
}

impl Loader {
    /// A loader of `store`'s blocks; `stop` ends decodes early.
    pub fn new(store: Arc<Store>, codec: Codec, stop: Stop, counters: Arc<Counters>) -> Loader {
        Loader {
            store,
            codec,
            stop,
            counters,
            bad: Mutex::default(),
        }
    }

    fn report(&self, key: &Address, error: &LoadError) {
        let mut bad = self.bad.lock();
        if bad.len() < REMEMBERED && bad.insert(*key) {
            self.counters.bad_blocks.fetch_add(1, Ordering::Relaxed);
            let Address { ino, block, location } = *key;
            let (segment, offset) = (location.segment, location.offset);
            tracing::error!(ino, block, segment, offset, "unreadable block: {error}");
        }
    }
}

impl Source<Address> for Loader {
    fn load(&self, key: &Address) -> Result<Vec<u8>, LoadError> {
        let loaded = match self.store.read_block_of(key.ino, key.block, key.location) {
            Ok(block) => self.codec.decode(&block, &self.stop).map_err(|error| match error {
                CodecError::Interrupted => LoadError::new(LoadErrorKind::Failed, "shutting down"),
                CodecError::Damaged { .. } | CodecError::NotABlock { .. } => {
                    LoadError::new(LoadErrorKind::Damaged, error)
                }
                error => LoadError::new(LoadErrorKind::Failed, error),
            }),
            Err(error) => Err(match error {
                StoreError::Moved { .. } => LoadError::new(LoadErrorKind::Moved, error),
                StoreError::Damaged { .. } => LoadError::new(LoadErrorKind::Damaged, error),
                error => LoadError::new(LoadErrorKind::Failed, error),
            }),
        };
        if let Err(error) = &loaded
            && error.kind != LoadErrorKind::Moved
            && !self.stop.is_set()
        {
            self.report(key, error);
        }
        loaded
    }
}

/// How long an extent's block takes to decode, by its method. What this version does not know may take long.
pub fn cost(extent: &Extent) -> Cost {
    match Tag(extent.tag).method() {
        Some(lmfs_codec::Method::Raw | lmfs_codec::Method::Zstd) => Cost::Cheap,
        _ => Cost::Dear,
    }
}
