//! Looking for stored blocks with the same contents, which saves space and must never cost more than space.

use std::sync::atomic::{AtomicBool, Ordering};

use lmfs_indexer::Result;

/// Turns a search that failed into one that found nothing. The first failure in a row is logged.
#[derive(Debug, Default)]
pub struct Equals {
    failing: AtomicBool,
}

impl Equals {
    /// What was found, or nothing.
    pub fn found<T: Default>(&self, found: Result<T>) -> T {
        let failed = found.is_err();
        let failing = self.failing.swap(failed, Ordering::Relaxed);
        found.unwrap_or_else(|error| {
            if !failing {
                tracing::warn!(
                    %error,
                    "equal blocks cannot be found, so they are stored again: unmount, then run lmfs rebuild"
                );
            }
            T::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use lmfs_indexer::Error;

    use super::*;

    /// Regression: a flush failed, and what was written was not stored, because a row about another block was damaged.
    #[test]
    fn a_search_that_fails_finds_nothing_and_is_told_once() {
        let equals = Equals::default();
        let fails = || Err::<Vec<u64>, _>(Error::Index("a row of stored blocks".into()));
        for _ in 0..2 {
            assert!(equals.found(fails()).is_empty());
            assert!(equals.failing.load(Ordering::Relaxed));
        }
        assert_eq!(equals.found(Ok(vec![7])), [7]);
        assert!(
            !equals.failing.load(Ordering::Relaxed),
            "the next failure is told again"
        );
    }
}
