//! Fills the cache: reads a block from the log and decodes it.

use std::collections::HashSet;
use std::sync::Arc;

use lmfs_codec::{Codec, Error as CodecError, Stop};
use lmfs_indexer::Error as StoreError;
use parking_lot::Mutex;

use super::address::Address;
use crate::cache::{LoadError, LoadErrorKind, Loaded, Source};
use crate::fs::journal::Journal;
use crate::store::contents::{Contents, Unreadable};

/// Most bad blocks remembered by name; beyond it they may be logged again.
const REMEMBERED: usize = 100_000;

/// The cache's way to the log.
pub struct Loader {
    journal: Arc<Journal>,
    codec: Codec,
    contents: Contents,
    stop: Stop,
    /// Blocks that were reported, so that each is logged once.
    bad: Mutex<HashSet<Address>>,
}

impl Loader {
    /// A loader of blocks of the journal's store; `stop` ends decodes early.
    pub fn new(journal: Arc<Journal>, codec: Codec, stop: Stop) -> Loader {
        Loader {
            contents: Contents::new(Arc::clone(journal.store()), codec.clone()),
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
    fn reference(&self, key: &Address) -> Result<Option<Address>, LoadError> {
        let found = self.journal.store().reference(&key.extent).map_err(unread)?;
        Ok(found.map(|extent| Address::new(key.ino, key.block, &extent)))
    }

    fn load(&self, key: &Address, reference: Option<Loaded>) -> Result<Vec<u8>, LoadError> {
        let loaded = reference.transpose().and_then(|reference| {
            let store = self.journal.store();
            let block = store.read_block_of(key.ino, key.block, &key.extent).map_err(unread)?;
            let reference = reference.as_ref().map(|block| block.as_slice());
            let raw = match self.codec.decode_behind(&block, reference, &self.stop) {
                Err(CodecError::MissingSolid { .. }) => {
                    match self.contents.decode_with_head(&key.extent, &block, None, &self.stop) {
                        Err(Unreadable::Store(error)) => return Err(unread(error)),
                        Err(Unreadable::Codec(error)) => Err(error),
                        Ok(raw) => Ok(raw),
                    }
                }
                decoded => decoded,
            };
            if let Err(CodecError::Damaged { .. } | CodecError::NotABlock { .. }) = raw {
                store.distrust(key.extent.id);
            }
            raw.map_err(undecoded)
        });
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

fn unread(error: StoreError) -> LoadError {
    let kind = match error {
        StoreError::Moved { .. } => LoadErrorKind::Moved,
        StoreError::Damaged { .. } => LoadErrorKind::Damaged,
        _ => LoadErrorKind::Failed,
    };
    LoadError::caused(kind, error)
}

fn undecoded(error: CodecError) -> LoadError {
    match error {
        CodecError::Interrupted => LoadError::new(LoadErrorKind::Failed, "shutting down"),
        CodecError::Damaged { .. } | CodecError::NotABlock { .. } => LoadError::caused(LoadErrorKind::Damaged, error),
        error => LoadError::caused(LoadErrorKind::Failed, error),
    }
}
