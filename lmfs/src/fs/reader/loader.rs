//! Fills the cache: reads a block from the log and decodes it.

use std::collections::HashSet;
use std::sync::Arc;

use lmfs_codec::{Codec, Error as CodecError, Stop};
use lmfs_indexer::Error as StoreError;
use parking_lot::Mutex;

use super::address::Address;
use crate::cache::{LoadError, LoadErrorKind, Source};
use crate::fs::journal::Journal;

/// Most bad blocks remembered by name; beyond it they may be logged again.
const REMEMBERED: usize = 100_000;

/// The cache's way to the log.
pub struct Loader {
    journal: Arc<Journal>,
    codec: Codec,
    stop: Stop,
    /// Blocks that were reported, so that each is logged once.
    bad: Mutex<HashSet<Address>>,
}

impl Loader {
    /// A loader of blocks of the journal's store; `stop` ends decodes early.
    pub fn new(journal: Arc<Journal>, codec: Codec, stop: Stop) -> Loader {
        Loader {
            journal,
            codec,
            stop,
            bad: Mutex::default(),
        }
    }

    fn report(&self, key: &Address, error: &LoadError) {
        let mut bad = self.bad.lock();
        if bad.len() < REMEMBERED && bad.insert(*key) {
            self.journal.counters().found_bad_block();
            let Address { ino, block, extent } = *key;
            let (segment, offset) = (extent.location.segment, extent.location.offset);
            tracing::error!(ino, block, segment, offset, "unreadable block: {error}");
        }
    }
}

impl Source<Address> for Loader {
    fn load(&self, key: &Address) -> Result<Vec<u8>, LoadError> {
        let store = self.journal.store();
        let loaded = match store.read_block_of(key.ino, key.block, &key.extent) {
            Ok(block) => self.codec.decode(&block, &self.stop).map_err(|error| match error {
                CodecError::Interrupted => LoadError::new(LoadErrorKind::Failed, "shutting down"),
                CodecError::Damaged { .. } | CodecError::NotABlock { .. } => {
                    store.distrust(key.extent.id);
                    LoadError::caused(LoadErrorKind::Damaged, error)
                }
                error => LoadError::caused(LoadErrorKind::Failed, error),
            }),
            Err(error) => Err(match error {
                StoreError::Moved { .. } => LoadError::caused(LoadErrorKind::Moved, error),
                StoreError::Damaged { .. } => LoadError::caused(LoadErrorKind::Damaged, error),
                error => LoadError::caused(LoadErrorKind::Failed, error),
            }),
        };
        // A block that moved is looked up again, and a shutdown is no damage.
        if let Err(error) = &loaded
            && error.kind != LoadErrorKind::Moved
            && !self.stop.is_set()
        {
            self.report(key, error);
        }
        loaded
    }

    fn held(&self) -> usize {
        self.codec.warm_bytes()
    }
}
