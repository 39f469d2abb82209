//! Decoded blocks: one decode for all who wait, a cache in memory, another one on disk.

pub mod disk;

use std::collections::HashMap;
use std::future::Future;
use std::ops::Range;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use lmfs_codec::Stop;
use object_store::Result;
use parking_lot::Mutex;

use crate::coded::Coded;
use crate::keys::BlockKey;
use crate::options::LmfsOptions;
use crate::pool::Pool;
use crate::weighted::Weighted;
use disk::Disk;

type Decoded = Result<Bytes, Arc<dyn std::error::Error + Send + Sync>>;
type Flight = Shared<BoxFuture<'static, Decoded>>;

/// Part of a decode: dropped when it has ended, or when nobody waits for it any more.
struct Flying {
    stop: Stop,
    key: Option<BlockKey>,
    blocks: Weak<Blocks>,
}

impl Drop for Flying {
    fn drop(&mut self) {
        self.stop.set();
        if let (Some(key), Some(blocks)) = (self.key, self.blocks.upgrade()) {
            let mut flights = blocks.flights.lock();
            // Somebody else may have begun anew.
            let next = flights.get(&key).and_then(WeakShared::upgrade);
            if next.is_none() {
                flights.remove(&key);
            }
            drop(flights);
            // Not before: if it is the last of its kind, it takes the lock.
            drop(next);
        }
    }
}

/// All decoded blocks of a store, and those that are being decoded.
pub struct Blocks {
    pool: Arc<Pool>,
    memory: Mutex<Weighted<BlockKey, Bytes>>,
    disk: Option<Disk>,
    flights: Mutex<HashMap<BlockKey, WeakShared<BoxFuture<'static, Decoded>>>>,
}

impl Blocks {
    pub fn new(options: &LmfsOptions, pool: Arc<Pool>) -> Result<Blocks> {
        Ok(Blocks {
            pool,
            memory: Mutex::new(Weighted::new(options.cache_bytes)),
            disk: options.disk.as_ref().map(Disk::open).transpose()?,
            flights: Mutex::default(),
        })
    }

    /// Whether [`get`](Blocks::get) may have it.
    pub fn has(&self, key: &BlockKey) -> bool {
        self.memory.lock().contains(key) || self.disk.as_ref().is_some_and(|disk| disk.has(key))
    }

    /// A block that is in memory.
    pub fn in_memory(&self, key: &BlockKey) -> Option<Bytes> {
        self.memory.lock().get(key).cloned()
    }

    /// Parts of blocks, if all of them are in memory.
    pub fn held(&self, parts: impl Iterator<Item = Option<(BlockKey, Range<usize>)>>) -> Option<Vec<Bytes>> {
        let mut memory = self.memory.lock();
        parts
            .map(|part| part.and_then(|(key, part)| Some(memory.get(&key)?.slice(part))))
            .collect()
    }

    /// A block of `len` bytes that is in memory or on disk.
    pub async fn get(self: &Arc<Self>, key: BlockKey, len: u64) -> Result<Option<Bytes>> {
        if let Some(bytes) = self.in_memory(&key) {
            return Ok(Some(bytes));
        }
        if !self.disk.as_ref().is_some_and(|disk| disk.has(&key)) {
            return Ok(None);
        }
        let blocks = Arc::clone(self);
        let read = move || {
            let bytes = Bytes::from(blocks.disk.as_ref()?.get(&key, len)?);
            blocks.remember(key, &bytes);
            Some(bytes)
        };
        self.pool.run(read).await
    }

    fn remember(&self, key: BlockKey, bytes: &Bytes) {
        self.memory.lock().insert(key, bytes.clone(), bytes.len() as u64);
    }

    /// Decodes a block, unless somebody does already. The work ends when all who wait are gone.
    pub fn decode(
        self: &Arc<Self>,
        key: Option<BlockKey>,
        coded: Coded,
    ) -> impl Future<Output = Result<Bytes, Told>> + Send + use<> {
        let flight = match key {
            None => self.begin(None, coded),
            Some(key) => {
                let mut flights = self.flights.lock();
                match flights.get(&key).and_then(WeakShared::upgrade) {
                    Some(flight) => flight,
                    None => {
                        let flight = self.begin(Some(key), coded);
                        flights.extend(flight.downgrade().map(|weak| (key, weak)));
                        flight
                    }
                }
            }
        };
        flight.map(|decoded| decoded.map_err(Told))
    }

    fn begin(self: &Arc<Self>, key: Option<BlockKey>, coded: Coded) -> Flight {
        let stop = Stop::new();
        let guard = Flying {
            stop: stop.clone(),
            key,
            blocks: Arc::downgrade(self),
        };
        let blocks = Arc::clone(self);
        let work = self.pool.run(move || {
            let decoded = coded.decode(&stop);
            if let (Some(key), Ok(bytes)) = (key, &decoded) {
                blocks.remember(key, bytes);
                if let Some(disk) = &blocks.disk {
                    disk.put(&key, bytes);
                }
            }
            decoded
        });
        let blocks = Arc::downgrade(self);
        let ended = move || {
            if let (Some(key), Some(blocks)) = (key, blocks.upgrade()) {
                blocks.flights.lock().remove(&key);
            }
        };
        let flight = async move {
            let _guard = guard;
            let decoded = work.await;
            ended();
            match decoded {
                Ok(Ok(bytes)) => Ok(bytes),
                Ok(Err(error)) => Err(Arc::new(error) as Arc<_>),
                Err(error) => Err(Arc::new(error) as Arc<_>),
            }
        };
        flight.boxed().shared()
    }
}

/// An error that several readers get.
#[derive(Debug)]
pub struct Told(Arc<dyn std::error::Error + Send + Sync>);

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Told {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::keys::ObjectKey;

    /// Regression: a decode that was given up left an entry behind for good.
    #[test]
    fn what_was_given_up_leaves_nothing_behind() {
        let pool = Arc::new(Pool::new(1));
        let blocks = Arc::new(Blocks::new(&LmfsOptions::default(), pool).unwrap());
        let key = BlockKey {
            object: ObjectKey([1; 16]),
            start: 0,
        };
        let begin = || {
            let guard = Flying {
                stop: Stop::new(),
                key: Some(key),
                blocks: Arc::downgrade(&blocks),
            };
            let flight: Flight = async move {
                let _guard = guard;
                futures_util::future::pending().await
            }
            .boxed()
            .shared();
            blocks.flights.lock().insert(key, flight.downgrade().unwrap());
            flight
        };
        let first = begin();
        let second = begin();
        drop(first);
        assert!(blocks.flights.lock().contains_key(&key), "another one is under way");
        drop(second);
        assert!(blocks.flights.lock().is_empty());
    }
}
