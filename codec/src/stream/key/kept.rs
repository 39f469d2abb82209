//! The keys that are kept for reads at random: those of all layouts together, bounded in memory.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use lru::LruCache;
use parking_lot::Mutex;

use super::Key;
use crate::{Result, Stop};

/// The most bytes that the keys of all layouts take: about five of the longest.
const MOST_BYTES: usize = 128 << 20;

static KEPT: LazyLock<Arc<Kept>> = LazyLock::new(|| Arc::new(Kept::new(MOST_BYTES)));
static LAYOUTS: AtomicU64 = AtomicU64::new(0);

/// Bytes of memory of the keys of containers that this process keeps for reads at random, at most 128 MiB. Reads that
/// are under way hold theirs besides.
pub fn kept_key_bytes() -> usize {
    KEPT.bytes()
}

/// By number of the layout, and of the container in it.
type Name = (u64, usize);

struct Kept {
    lru: Mutex<Lru>,
    most: usize,
}

struct Lru {
    keys: LruCache<Name, (Arc<Key>, usize)>,
    bytes: usize,
}

impl Kept {
    fn new(most: usize) -> Kept {
        let lru = Lru {
            keys: LruCache::unbounded(),
            bytes: 0,
        };
        Kept {
            lru: Mutex::new(lru),
            most,
        }
    }

    fn bytes(&self) -> usize {
        self.lru.lock().bytes
    }

    fn get(&self, name: Name) -> Option<Arc<Key>> {
        self.lru.lock().keys.get(&name).map(|(key, _)| Arc::clone(key))
    }

    fn insert(&self, name: Name, key: &Arc<Key>) {
        let mut lru = self.lru.lock();
        let bytes = key.bytes();
        lru.remove(name);
        lru.bytes += bytes;
        lru.keys.put(name, (Arc::clone(key), bytes));
        while lru.bytes > self.most {
            let Some((_, (_, bytes))) = lru.keys.pop_lru() else {
                break;
            };
            lru.bytes -= bytes;
        }
    }
}

impl Lru {
    fn remove(&mut self, name: Name) {
        if let Some((_, bytes)) = self.keys.pop(&name) {
            self.bytes -= bytes;
        }
    }
}

/// The keys of a layout, by number of the container. They are held where those of all others are, so that a layout
/// that is kept for long holds none.
pub(in crate::stream) struct Keys {
    kept: Arc<Kept>,
    layout: u64,
    /// Containers whose keys may be kept.
    learned: Mutex<BTreeSet<usize>>,
    /// Held while one is learned, so that several readers do not do the same work.
    learning: Mutex<()>,
}

impl Default for Keys {
    fn default() -> Keys {
        Keys::new(Arc::clone(&KEPT))
    }
}

impl Keys {
    fn new(kept: Arc<Kept>) -> Keys {
        Keys {
            kept,
            layout: LAYOUTS.fetch_add(1, Ordering::Relaxed),
            learned: Mutex::default(),
            learning: Mutex::default(),
        }
    }

    /// A key that is kept, or what `learn` makes.
    pub(in crate::stream) fn get_or(
        &self,
        container: usize,
        stop: &Stop,
        learn: impl FnOnce() -> Result<Key>,
    ) -> Result<Arc<Key>> {
        let _alone = loop {
            if let Some(alone) = self.learning.try_lock_for(Stop::TICK) {
                break alone;
            }
            stop.check()?;
        };
        if let Some(key) = self.get(container) {
            return Ok(key);
        }
        let key = Arc::new(learn()?);
        self.learned.lock().insert(container);
        self.kept.insert((self.layout, container), &key);
        Ok(key)
    }

    pub(in crate::stream) fn get(&self, container: usize) -> Option<Arc<Key>> {
        self.kept.get((self.layout, container))
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let mut lru = self.kept.lru.lock();
        for &container in self.learned.get_mut().iter() {
            lru.remove((self.layout, container));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use crate::stream::key::learned::Learned;

    fn key(bytes: usize) -> Key {
        Key {
            text: vec![0; bytes],
            learned: Learned::Damaged(String::new()),
            first: Vec::new(),
            intact: std::sync::OnceLock::new(),
        }
    }

    /// Regression: each layout held its keys, 25 MiB for each small object that was ever read.
    #[test]
    fn keys_of_all_layouts_are_bounded_and_the_ones_unused_for_longest_go() {
        let kept = Arc::new(Kept::new(100_000));
        let layouts: Vec<Keys> = (0..50).map(|_| Keys::new(Arc::clone(&kept))).collect();
        for layout in &layouts {
            for container in 0..3 {
                let learned = layout.get_or(container, &Stop::new(), || Ok(key(10_000))).unwrap();
                assert_eq!(learned.text.len(), 10_000);
                assert!(kept.bytes() <= 100_000);
                // In use all the time.
                layouts[0].get_or(0, &Stop::new(), || Ok(key(10_000))).unwrap();
            }
        }
        let kept_of = |layout: &Keys| (0..3).filter(|&number| layout.get(number).is_some()).count();
        assert_eq!(layouts.iter().map(kept_of).sum::<usize>(), 100_000 / 11_024);
        assert!(layouts[0].get(0).is_some() && layouts[1].get(0).is_none());
        // What is longer than all that may be kept can be used, and is not kept.
        let long = layouts[0].get_or(7, &Stop::new(), || Ok(key(200_000))).unwrap();
        assert_eq!((long.text.len(), kept.bytes()), (200_000, 0));
    }

    #[test]
    fn a_layout_that_goes_takes_its_keys_along() {
        let kept = Arc::new(Kept::new(100_000));
        let layouts: Vec<Keys> = (0..2).map(|_| Keys::new(Arc::clone(&kept))).collect();
        let learned = layouts.iter().map(|keys| keys.get_or(1, &Stop::new(), || Ok(key(10))));
        let learned: Vec<_> = learned.map(Result::unwrap).collect();
        let both = kept.bytes();
        drop(layouts);
        assert_eq!((both, kept.bytes()), (2 * learned[0].bytes(), 0));
    }
}
