//! Things that are expensive to make and used by one thread at a time: kept, but not too many.

use parking_lot::Mutex;

/// A bounded stock of values, each under a key. The one unused for longest goes first.
pub(super) struct Pool<K, V> {
    stock: Mutex<Vec<(K, V)>>,
    most: usize,
}

impl<K: PartialEq, V> Pool<K, V> {
    /// A pool that keeps at most `most` values.
    pub(super) fn new(most: usize) -> Pool<K, V> {
        Pool {
            stock: Mutex::new(Vec::new()),
            most,
        }
    }

    /// Runs `use_it` with a kept or new value. The value is kept only if that succeeds: after an error its state is
    /// unknown.
    pub(super) fn with<T, E>(
        &self,
        key: K,
        make: impl FnOnce() -> Result<V, E>,
        use_it: impl FnOnce(&mut V) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut value = match self.take(&key) {
            Some(value) => value,
            None => make()?,
        };
        // What failed may be in any state and is dropped.
        let result = use_it(&mut value)?;
        let mut stock = self.stock.lock();
        stock.push((key, value));
        let dropped = (stock.len() > self.most).then(|| stock.remove(0));
        // Freeing a large state takes time, and others wait for the lock.
        drop(stock);
        drop(dropped);
        Ok(result)
    }

    fn take(&self, key: &K) -> Option<V> {
        let mut stock = self.stock.lock();
        let at = stock.iter().rposition(|(at, _)| at == key)?;
        Some(stock.remove(at).1)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_most_recent_and_forgets_what_failed() {
        let pool: Pool<u8, u32> = Pool::new(2);
        let made = |key: u8, value: u32| pool.with(key, || Ok::<_, ()>(value), |value| Ok(*value)).unwrap();
        assert_eq!(made(1, 10), 10);
        assert_eq!(made(1, 11), 10);
        assert_eq!((made(2, 20), made(3, 30)), (20, 30));
        assert_eq!(made(1, 12), 12, "the oldest of three was dropped");
        assert!(pool.with(3, || Ok(0), |_| Err::<(), _>(())).is_err());
        assert_eq!(made(3, 31), 31, "what failed was dropped");
    }
}
