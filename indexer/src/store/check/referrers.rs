//! Which stored blocks refer to which: asked for only when a damaged one is referred to.

use crate::index::rows::{self, Row};
use crate::store::Store;
use crate::types::MAX_CHAIN;
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// Pairs of a stored block and one that refers to it.
pub(super) struct Referrers(BTreeSet<(u64, u64)>);

impl Referrers {
    /// All that the index knows.
    pub(super) fn of_all(store: &Store) -> Result<Self> {
        let mut all = BTreeSet::new();
        let prefix = [rows::BLOCKS];
        let failed = store.state().index.scan_prefix(&prefix, &prefix, |key, value| {
            let Some(Row::Blocks { first, blocks }) = rows::parse(key, value) else {
                return ControlFlow::Break(Error::Index("a row of stored blocks".into()));
            };
            let found = (first..).zip(blocks);
            let found = found.filter_map(|(id, stored)| Some((stored?.reference, id)));
            all.extend(found.filter(|(reference, _)| *reference != 0));
            ControlFlow::Continue(())
        })?;
        failed.map_or(Ok(Self(all)), Err)
    }

    /// A stored block and all that cannot be decoded without it.
    pub(super) fn needing(&self, id: u64) -> BTreeSet<u64> {
        let mut all = BTreeSet::from([id]);
        let mut newest = all.clone();
        for _ in 0..MAX_CHAIN {
            let referring = newest.iter().flat_map(|id| self.0.range((*id, 0)..=(*id, u64::MAX)));
            newest = referring.map(|(_, id)| *id).filter(|id| !all.contains(id)).collect();
            all.extend(&newest);
        }
        all
    }
}
