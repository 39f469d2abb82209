//! What was used last, up to a weight.

use std::hash::Hash;

use lru::LruCache;

/// Values by key. The ones not used for the longest time go when all together weigh more than the limit.
pub struct Weighted<K, V> {
    entries: LruCache<K, (V, u64)>,
    weight: u64,
    limit: u64,
}

impl<K: Hash + Eq, V> Weighted<K, V> {
    pub fn new(limit: u64) -> Weighted<K, V> {
        Weighted {
            entries: LruCache::unbounded(),
            weight: 0,
            limit,
        }
    }

    pub fn get(&mut self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(value, _)| value)
    }

    /// Whether it is there, without counting as a use.
    pub fn contains(&self, key: &K) -> bool {
        self.entries.contains(key)
    }

    pub fn insert(&mut self, key: K, value: V, weight: u64) {
        self.remove(&key);
        if weight > self.limit {
            return;
        }
        self.weight += weight;
        self.entries.put(key, (value, weight));
        while self.weight > self.limit {
            let Some((_, (_, weight))) = self.entries.pop_lru() else {
                break;
            };
            self.weight -= weight;
        }
    }

    pub fn remove(&mut self, key: &K) {
        if let Some((_, weight)) = self.entries.pop(key) {
            self.weight -= weight;
        }
    }

    pub fn clear(&mut self) {
        self.entries.clear();
        self.weight = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ones_not_used_for_longest_go_first() {
        let mut kept = Weighted::new(10);
        for key in 0..3 {
            kept.insert(key, key * 10, 3);
        }
        assert_eq!(kept.get(&0), Some(&0));
        kept.insert(3, 30, 4);
        assert!(kept.contains(&0) && !kept.contains(&1) && kept.contains(&2) && kept.contains(&3));
        // Replaced, not added; and what weighs more than all is not kept.
        kept.insert(3, 31, 4);
        kept.insert(4, 40, 11);
        assert!(kept.contains(&0) && kept.contains(&2) && !kept.contains(&4));
        assert_eq!(kept.get(&3), Some(&31));
    }
}
