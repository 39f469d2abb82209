//! The rows as they were at one moment, read piece by piece while newer ones are applied.

use super::map::Over;
use super::{Delta, Index};
use crate::{Error, Result};
use std::ops::{Bound, ControlFlow};

/// What the rows were that changed since, as long as nobody took them.
#[derive(Default)]
pub(crate) struct Snapshot {
    /// Rows up to this key, itself included, are taken. The empty key is no row's.
    taken: Vec<u8>,
    /// Rows of the moment by key; None: there was none.
    old: Delta,
    /// Why a row that changed could not be kept.
    lost: Option<String>,
}

impl Snapshot {
    /// Call it before `delta` is applied to the index.
    pub(crate) fn keep(&mut self, index: &Index, delta: &Delta) {
        let rest = (Bound::Excluded(&self.taken[..]), Bound::Unbounded);
        for key in delta.range::<[u8], _>(rest).map(|(key, _)| key) {
            if self.lost.is_some() || self.old.contains_key(key) {
                continue;
            }
            match index.get(key) {
                Ok(value) => {
                    self.old.insert(key.clone(), value);
                }
                Err(e) => self.lost = Some(e.to_string()),
            }
        }
    }

    /// Shows the rows of the moment that were not taken yet, in key order, until `each` breaks.
    pub(crate) fn scan<B>(
        &self,
        index: &Index,
        mut each: impl FnMut(&[u8], &[u8]) -> ControlFlow<B>,
    ) -> Result<Option<B>> {
        if let Some(why) = &self.lost {
            return Err(Error::Index(format!(
                "a row that changed meanwhile was not read: {why}"
            )));
        }
        let rest = (Bound::Excluded(&self.taken[..]), Bound::Unbounded);
        let mut old = Over::new(&self.old, rest);
        let stopped = index.scan(&self.taken, |key, now| {
            if key <= &self.taken[..] {
                return ControlFlow::Continue(());
            }
            old.row(key, now, &mut each)
        })?;
        Ok(stopped.or_else(|| old.rest(&mut each).break_value()))
    }

    /// Notes that all rows up to `key` were taken.
    pub(crate) fn taken(&mut self, key: &[u8]) {
        self.taken = key.to_vec();
        self.old = self.old.split_off(key);
        self.old.remove(key);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::MemPages;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Changes = Vec<BTreeMap<u8, Option<u8>>>;

    fn changes() -> impl Strategy<Value = Changes> {
        proptest::collection::vec(
            proptest::collection::btree_map(any::<u8>(), any::<Option<u8>>(), 0..60),
            1..12,
        )
    }

    fn delta(change: &BTreeMap<u8, Option<u8>>) -> Delta {
        let row = |(k, v): (&u8, &Option<u8>)| (vec![b'r', *k], v.map(|v| vec![v; 30]));
        change.iter().map(row).collect()
    }

    proptest! {
        #[test]
        fn the_rows_of_the_moment_are_read_whatever_is_applied_meanwhile(
            before in changes(), meanwhile in changes(), piece in 1usize..40, flush: bool,
        ) {
            let mut index = Index::new(Box::new(MemPages::default()));
            before.iter().for_each(|c| index.apply(delta(c)));
            if flush {
                index.flush().unwrap();
            }
            let mut then = Vec::new();
            index.read_all(|k, v| { then.push((k.to_vec(), v.to_vec())); Some(()) }).unwrap();

            let (mut snapshot, mut found) = (Snapshot::default(), Vec::new());
            let mut meanwhile = meanwhile.iter();
            loop {
                if let Some(c) = meanwhile.next() {
                    let delta = delta(c);
                    snapshot.keep(&index, &delta);
                    index.apply(delta);
                    if flush {
                        index.flush().unwrap();
                    }
                }
                let full = found.len() + piece;
                let more = snapshot.scan(&index, |k, v| {
                    found.push((k.to_vec(), v.to_vec()));
                    if found.len() < full { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                }).unwrap();
                match (more, found.last()) {
                    (Some(()), Some((last, _))) => snapshot.taken(last),
                    _ => break,
                }
            }
            prop_assert_eq!(found, then);
        }
    }
}
