//! What keeps the pages: an ordered map of byte strings.

use crate::Result;
use std::collections::BTreeMap;
use std::ops::Bound;

/// A page's key (the least row key it may hold) and its bytes.
pub(crate) type Entry = (Vec<u8>, Vec<u8>);

/// An ordered map from page keys to pages.
pub(crate) trait Pages: Send + Sync {
    /// The page with the greatest key not above `key`.
    fn floor(&self, key: &[u8]) -> Result<Option<Entry>>;
    /// Replaces (Some) and removes (None) pages, all or none of them.
    fn write(&mut self, changes: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<()>;
    /// Hands all to the disk.
    fn flush(&mut self) -> Result<()>;
}

/// Pages in memory.
#[derive(Default)]
pub(crate) struct MemPages(BTreeMap<Vec<u8>, Vec<u8>>);

#[cfg(test)]
impl MemPages {
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

impl Pages for MemPages {
    fn floor(&self, key: &[u8]) -> Result<Option<Entry>> {
        let below = self.0.range::<[u8], _>((Bound::Unbounded, Bound::Included(key)));
        Ok(below.last().map(|(k, v)| (k.clone(), v.clone())))
    }

    fn write(&mut self, changes: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<()> {
        for (key, page) in changes {
            match page {
                Some(page) => self.0.insert(key, page),
                None => self.0.remove(&key),
            };
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}
