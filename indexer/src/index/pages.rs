//! What keeps the pages: an ordered map of byte strings.

use crate::Result;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// A page's key (the least row key it may hold) and its bytes.
pub(crate) type Entry = (Arc<[u8]>, Arc<[u8]>);

/// Pages to be replaced (Some) and removed (None), by key.
pub(crate) type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// An ordered map from page keys to pages.
pub(crate) trait Pages: Send + Sync {
    /// The page with the greatest key not above `key`.
    fn floor(&self, key: &[u8]) -> Result<Option<Entry>>;
    /// Makes all the changes, or none of them.
    fn write(&mut self, changes: Changes) -> Result<()>;
    /// Hands all to the disk, if they lie there.
    fn flush(&mut self) -> Result<()>;
    /// Whether they are in memory alone.
    fn in_memory(&self) -> bool;
}

/// Pages in memory.
#[derive(Default)]
pub(crate) struct MemPages {
    pages: BTreeMap<Arc<[u8]>, Arc<[u8]>>,
    bytes: usize,
}

impl MemPages {
    /// Bytes of all pages and keys.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// All pages in the order of their keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.pages.iter().map(|(key, page)| (&key[..], &page[..]))
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.pages.len()
    }
}

impl Pages for MemPages {
    fn floor(&self, key: &[u8]) -> Result<Option<Entry>> {
        let below = self.pages.range::<[u8], _>((Bound::Unbounded, Bound::Included(key)));
        Ok(below.last().map(|(k, v)| (k.clone(), v.clone())))
    }

    fn write(&mut self, changes: Changes) -> Result<()> {
        for (key, page) in changes {
            let len = key.len();
            self.bytes += page.as_ref().map_or(0, |page| len + page.len());
            let old = match page {
                Some(page) => self.pages.insert(key.into(), page.into()),
                None => self.pages.remove(key.as_slice()),
            };
            self.bytes -= old.map_or(0, |old| len + old.len());
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    fn in_memory(&self) -> bool {
        true
    }
}
