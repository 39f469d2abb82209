//! What stored blocks decode to, with the blocks that they refer to: for all that does not read through the cache.

use std::sync::Arc;

use lmfs_codec::{Codec, Error as CodecError, Stop};
use lmfs_indexer::{Error as StoreError, Extent, Store};
use parking_lot::Mutex;

use crate::cache::ByteLru;

/// Bytes of memory for blocks that others were found to refer to.
const REMEMBERED: usize = 32 << 20;
/// How often a block is looked up again that garbage collection moved before it was read.
const TRIES: usize = 16;

/// Why there is nothing to be had.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It was not read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It does not decode.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl Unreadable {
    /// Whether the block itself, as it is stored, is wrong.
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Unreadable::Codec(CodecError::Damaged { .. } | CodecError::NotABlock { .. })
        )
    }

    /// Whether nothing should depend on the block: it is wrong, or the disk does not give it. One that moved or that an
    /// interruption kept from being decoded is as good as before.
    pub fn casts_doubt(&self) -> bool {
        let lost = matches!(
            self,
            Unreadable::Store(StoreError::Damaged { .. } | StoreError::Io { .. })
        );
        lost || self.is_damage()
    }
}

/// Decodes the blocks of a store. May be used by many threads at once.
pub struct Contents {
    store: Arc<Store>,
    codec: Codec,
    /// By number of the stored block, whose contents never change.
    referred: Mutex<ByteLru<u64>>,
}

impl Contents {
    /// Decodes with this codec.
    pub fn new(store: Arc<Store>, codec: Codec) -> Contents {
        Contents {
            store,
            codec,
            referred: Mutex::new(ByteLru::new(REMEMBERED)),
        }
    }

    /// What the block at `extent` decodes to. `bytes` are what the log has there. Computing is done by `computing`,
    /// if there is one. The store is asked on this thread.
    ///
    /// # Errors
    /// See [`Unreadable`].
    pub fn decode(
        &self,
        extent: &Extent,
        bytes: &[u8],
        computing: Option<&rayon::ThreadPool>,
        stop: &Stop,
    ) -> Result<Vec<u8>, Unreadable> {
        let needs = Codec::needs(bytes)?;
        let reference = match needs.refers() {
            true => self.store.reference(extent)?,
            false => None,
        };
        let reference = reference.map(|it| self.referred(it, computing, stop)).transpose()?;
        let reference = reference.as_ref().map(|raw| raw.as_slice());
        let decoded = match compute(computing, || self.codec.decode_behind(bytes, reference, stop)) {
            Err(CodecError::MissingSolid { .. }) => self.decode_with_head(extent, bytes, computing, stop),
            decoded => Ok(decoded?),
        };
        // The next block of the head is wanted soon, and what was known before this one is known no more.
        if let Ok(raw) = &decoded
            && needs.solid.is_some_and(|solid| solid.is_part)
        {
            self.referred.lock().insert(extent.id, Arc::new(raw.clone()));
        }
        decoded
    }

    /// The same, of a block behind a solid head that the codec does not know any more: all of the head is decoded.
    ///
    /// # Errors
    /// See [`Unreadable`].
    pub fn decode_with_head(
        &self,
        extent: &Extent,
        bytes: &[u8],
        computing: Option<&rayon::ThreadPool>,
        stop: &Stop,
    ) -> Result<Vec<u8>, Unreadable> {
        // The store gives no chain that is too long, so this ends.
        let (mut blocks, mut at) = (vec![bytes.to_vec()], *extent);
        let first = loop {
            let Some(before) = self.store.reference(&at)? else {
                let reason = "the first block of its solid head is missing".to_owned();
                return Err(CodecError::Damaged { what: "block", reason }.into());
            };
            let bytes = self.store.read_block(&before)?;
            if Codec::needs(&bytes)?.solid.is_none() {
                break self.decode(&before, &bytes, computing, stop)?;
            }
            blocks.push(bytes);
            at = before;
        };
        blocks.reverse();
        Ok(compute(computing, || self.codec.decode_solid(&first, &blocks, stop))?)
    }

    /// What a stored block decodes to that others refer to, or may refer to. The store has no chains of which it would
    /// not give the first part, so this ends.
    pub fn referred(
        &self,
        mut extent: Extent,
        computing: Option<&rayon::ThreadPool>,
        stop: &Stop,
    ) -> Result<Arc<Vec<u8>>, Unreadable> {
        let id = extent.id;
        if let Some(raw) = self.referred.lock().get(&id) {
            return Ok(raw);
        }
        for _ in 1..TRIES {
            match self.read(&extent, computing, stop) {
                Err(Unreadable::Store(error @ StoreError::Moved { .. })) => match self.store.stored_block(id)? {
                    Some(now) => extent = now.extent(id),
                    None => return Err(error.into()),
                },
                read => return read,
            }
        }
        self.read(&extent, computing, stop)
    }

    fn read(
        &self,
        extent: &Extent,
        computing: Option<&rayon::ThreadPool>,
        stop: &Stop,
    ) -> Result<Arc<Vec<u8>>, Unreadable> {
        let bytes = self.store.read_block(extent)?;
        let decoded = self.decode(extent, &bytes, computing, stop).inspect_err(|error| {
            // Not only what is coded behind it: it is the one that is damaged.
            if error.casts_doubt() {
                self.store.distrust(extent.id);
            }
        });
        let raw = Arc::new(decoded?);
        self.referred.lock().insert(extent.id, raw.clone());
        Ok(raw)
    }
}

fn compute<T: Send>(computing: Option<&rayon::ThreadPool>, work: impl FnOnce() -> T + Send) -> T {
    match computing {
        Some(pool) => pool.install(work),
        None => work(),
    }
}
