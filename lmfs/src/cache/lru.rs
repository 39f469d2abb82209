//! An LRU of byte blocks whose bound is in bytes.

use std::hash::Hash;
use std::sync::Arc;

use lru::LruCache;

/// What an entry costs beside its bytes: hash table slot, list links, reference counts.
const OVERHEAD: usize = 128;

/// A least-recently-used map from keys to blocks of bytes, bounded in bytes (entries and their overhead).
pub struct ByteLru<K: Hash + Eq> {
    map: LruCache<K, Arc<Vec<u8>>>,
    bytes: usize,
    capacity: usize,
}

impl<K: Hash + Eq + Copy> ByteLru<K> {
    /// An empty cache that holds at most `capacity` bytes.
    pub fn new(capacity: usize) -> ByteLru<K> {
        ByteLru {
            map: LruCache::unbounded(),
            bytes: 0,
            capacity,
        }
    }

    /// The block under `key`, which becomes the most recently used.
    pub fn get(&mut self, key: &K) -> Option<Arc<Vec<u8>>> {
        self.map.get(key).cloned()
    }

    /// Whether there is a block under `key`; its age does not change.
    pub fn contains(&self, key: &K) -> bool {
        self.map.contains(key)
    }

    /// Puts a block in as the most recently used and drops the oldest ones that no longer fit. A block larger than
    /// the whole cache is not kept.
    pub fn insert(&mut self, key: K, block: Arc<Vec<u8>>) {
        self.insert_beside(0, key, block);
    }

    /// As [`insert`](ByteLru::insert), with so many bytes of the cache taken by something else.
    pub fn insert_beside(&mut self, reserved: usize, key: K, block: Arc<Vec<u8>>) {
        let capacity = self.capacity.saturating_sub(reserved);
        self.remove(&key);
        let cost = cost_of(&block);
        if cost > capacity {
            return;
        }
        self.bytes += cost;
        self.map.put(key, block);
        while self.bytes > capacity {
            let Some((_, oldest)) = self.map.pop_lru() else {
                break;
            };
            self.bytes -= cost_of(&oldest);
        }
    }

    /// Drops the block under `key`.
    pub fn remove(&mut self, key: &K) -> Option<Arc<Vec<u8>>> {
        let block = self.map.pop(key)?;
        self.bytes -= cost_of(&block);
        Some(block)
    }

    /// Lets the block under `old` be found under `new` instead: the same contents in another place.
    pub fn rekey(&mut self, old: &K, new: K) {
        if let Some(block) = self.remove(old) {
            self.insert(new, block);
        }
    }

    /// Bytes held, with overhead.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of blocks held.
    pub fn len(&self) -> usize {
        self.map.len()
    }
}

fn cost_of(block: &Arc<Vec<u8>>) -> usize {
    // What it takes, which may be more than what it has.
    block.capacity() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(len: usize) -> Arc<Vec<u8>> {
        Arc::new(vec![7; len])
    }

    #[test]
    fn stays_within_its_bytes_and_drops_the_oldest() {
        let mut lru = ByteLru::new(3 * (1000 + OVERHEAD));
        for key in 0..3 {
            lru.insert(key, block(1000));
        }
        assert!(lru.get(&0).is_some());
        lru.insert(3, block(1000));
        assert!(!lru.contains(&1), "1 was the least recently used");
        assert!(lru.contains(&0) && lru.contains(&2) && lru.contains(&3));
        assert_eq!(lru.bytes(), 3 * (1000 + OVERHEAD));
        lru.insert(4, block(2000));
        assert!(lru.bytes() <= 3 * (1000 + OVERHEAD));
        assert_eq!(lru.len(), 2);
    }

    #[test]
    fn a_block_larger_than_the_cache_is_not_kept() {
        let mut lru = ByteLru::new(1000);
        lru.insert(1, block(1000));
        assert_eq!(lru.len(), 0);
        assert_eq!(lru.bytes(), 0);
    }

    /// Regression: a block with the capacity of two was counted as one.
    #[test]
    fn memory_that_a_block_holds_in_vain_counts() {
        let mut lru = ByteLru::new(10_000);
        let mut block = Vec::with_capacity(3000);
        block.push(1);
        lru.insert(1, Arc::new(block));
        assert!(lru.bytes() >= 3000 + OVERHEAD, "{}", lru.bytes());
        lru.remove(&1);
        assert_eq!(lru.bytes(), 0);
    }

    #[test]
    fn replacing_and_rekeying_keep_the_count_right() {
        let mut lru = ByteLru::new(10_000);
        lru.insert(1, block(100));
        lru.insert(1, block(300));
        assert_eq!(lru.bytes(), 300 + OVERHEAD);
        lru.rekey(&1, 2);
        assert!(!lru.contains(&1));
        assert_eq!(lru.get(&2).map(|block| block.len()), Some(300));
        assert_eq!(lru.bytes(), 300 + OVERHEAD);
        lru.remove(&2);
        assert_eq!(lru.bytes(), 0);
    }
}
