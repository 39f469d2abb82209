//! The ordered map of rows: an overlay of new rows over pages.

use super::page::{BadPage, Row, Rows, TARGET, Writer};
use super::pages::{Changes, Pages};
use crate::wire::{Reader, put_bytes};
use crate::{Error, Result};
use std::collections::{BTreeMap, btree_map};
use std::iter::Peekable;
use std::ops::{Bound, ControlFlow, Range};
use std::sync::Arc;

/// New rows by key; None marks a row of the pages as deleted.
pub(crate) type Delta = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Overlay rows beyond which commits begin to merge them into pages.
const OVERLAY_BYTES: usize = 8 << 20;

/// A page with fewer bytes than this is joined with the next one, ...
const SMALL: usize = TARGET / 3;

/// ... and with so many at most at a time, since a commit waits for it.
const MOST_JOINED: usize = 16;

/// Rows of a delta shown over others that come in key order.
pub(super) struct Over<'a>(Peekable<btree_map::Range<'a, Vec<u8>, Option<Vec<u8>>>>);

impl<'a> Over<'a> {
    pub(super) fn new(delta: &'a Delta, keys: (Bound<&[u8]>, Bound<&[u8]>)) -> Self {
        Self(delta.range::<[u8], _>(keys).peekable())
    }

    /// Shows the delta's rows before `key`, and the row of `key`: the delta's, if it has or deletes one, or else
    /// `value`.
    pub(super) fn row<B>(
        &mut self,
        key: &[u8],
        value: &[u8],
        each: &mut impl FnMut(&[u8], &[u8]) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let mut shadowed = false;
        while let Some((k, v)) = self.0.next_if(|(k, _)| k.as_slice() <= key) {
            shadowed = k == key;
            if let Some(v) = v {
                each(k, v)?;
            }
        }
        if shadowed {
            ControlFlow::Continue(())
        } else {
            each(key, value)
        }
    }

    /// Shows the delta's rows after the last one.
    pub(super) fn rest<B>(self, each: &mut impl FnMut(&[u8], &[u8]) -> ControlFlow<B>) -> ControlFlow<B> {
        for (k, v) in self.0 {
            if let Some(v) = v {
                each(k, v)?;
            }
        }
        ControlFlow::Continue(())
    }
}

/// All rows. Every page names the key of the page after it, so a page that went missing is noticed.
pub(crate) struct Index {
    overlay: Delta,
    overlay_bytes: usize,
    pages: Box<dyn Pages>,
    /// Where the merging of the overlay goes on.
    cursor: Vec<u8>,
}

/// What tells one set of rows from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowSum {
    pub(crate) rows: u64,
    /// CRC-32 over each row's key and value, each after its length (u32).
    pub(crate) crc: u32,
}

/// A page taken apart.
struct Page {
    key: Arc<[u8]>,
    bytes: Arc<[u8]>,
    /// Where in the bytes the key of the page after it is. Empty: this is the last one.
    next: Range<usize>,
}

impl Page {
    /// Key of the page after it.
    fn next(&self) -> Option<&[u8]> {
        self.bytes.get(self.next.clone()).filter(|next| !next.is_empty())
    }

    fn rows(&self) -> Rows<'_> {
        Rows::new(self.bytes.get(self.next.end..).unwrap_or_default())
    }
}

fn bad(why: &str) -> Error {
    Error::Index(why.to_owned())
}

impl From<BadPage> for Error {
    fn from(_: BadPage) -> Self {
        bad("a page does not decode")
    }
}

impl Index {
    /// An index over the pages, which may be empty.
    pub(crate) fn new(pages: Box<dyn Pages>) -> Self {
        Self {
            overlay: Delta::new(),
            overlay_bytes: 0,
            pages,
            cursor: Vec::new(),
        }
    }

    /// The page that holds `key`.
    fn page(&self, key: &[u8]) -> Result<Page> {
        let Some((page_key, bytes)) = self.pages.floor(key)? else {
            return Ok(Page {
                key: Arc::default(),
                bytes: Arc::default(),
                next: 0..0,
            });
        };
        let mut r = Reader::new(&bytes);
        let crc = r.u32().ok_or(BadPage)?;
        if crc != checksum(&page_key, r.rest()) {
            return Err(bad("a page has the wrong checksum"));
        }
        let next = r.bytes().ok_or(BadPage)?;
        if !next.is_empty() && next <= key {
            return Err(bad("a page is missing"));
        }
        let end = bytes.len() - r.rest().len();
        let next = end - next.len()..end;
        Ok(Page {
            key: page_key,
            bytes,
            next,
        })
    }

    /// Whether the rows are in memory alone.
    pub(crate) fn in_memory(&self) -> bool {
        self.pages.in_memory()
    }

    /// The value of a row.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        if let Some(value) = self.overlay.get(key) {
            return Ok(value.clone());
        }
        let page = self.page(key)?;
        let mut rows = page.rows();
        while let Some((k, v)) = rows.next()? {
            match k.cmp(key) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return Ok(Some(v.to_vec())),
                std::cmp::Ordering::Greater => break,
            }
        }
        Ok(None)
    }

    /// Shows rows from `from` on, in key order, until `each` breaks.
    pub(crate) fn scan<B>(
        &self,
        from: &[u8],
        mut each: impl FnMut(&[u8], &[u8]) -> ControlFlow<B>,
    ) -> Result<Option<B>> {
        let mut at = from.to_vec();
        loop {
            let page = self.page(&at)?;
            let end = page.next().map_or(Bound::Unbounded, Bound::Excluded);
            let mut new = Over::new(&self.overlay, (Bound::Included(&at[..]), end));
            let mut rows = page.rows();
            while let Some((key, value)) = rows.next()? {
                if key >= &at[..]
                    && let ControlFlow::Break(b) = new.row(key, value, &mut each)
                {
                    return Ok(Some(b));
                }
            }
            if let ControlFlow::Break(b) = new.rest(&mut each) {
                return Ok(Some(b));
            }
            match page.next() {
                Some(next) => at = next.to_vec(),
                None => return Ok(None),
            }
        }
    }

    /// Shows rows whose key begins with `prefix`, from `from` on.
    pub(crate) fn scan_prefix<B>(
        &self,
        prefix: &[u8],
        from: &[u8],
        mut each: impl FnMut(&[u8], &[u8]) -> ControlFlow<B>,
    ) -> Result<Option<B>> {
        let found = self.scan(from.max(prefix), |k, v| {
            if !k.starts_with(prefix) {
                return ControlFlow::Break(None);
            }
            each(k, v).map_break(Some)
        })?;
        Ok(found.flatten())
    }

    /// Puts new rows over the old ones. Cannot fail: pages are merged by [`Index::settle`].
    pub(crate) fn apply(&mut self, delta: Delta) {
        for (key, value) in delta {
            let size = |v: &Option<Vec<u8>>| v.as_ref().map_or(0, Vec::len) + 64;
            self.overlay_bytes += key.len() + size(&value);
            let len = key.len();
            if let Some(old) = self.overlay.insert(key, value) {
                self.overlay_bytes = self.overlay_bytes.saturating_sub(len + size(&old));
            }
        }
    }

    /// Merges the new rows of so many pages at most, if there are more than memory should hold; says whether there
    /// still are.
    pub(crate) fn settle(&mut self, pages: usize) -> Result<bool> {
        for _ in 0..pages {
            if self.overlay_bytes <= OVERLAY_BYTES {
                break;
            }
            self.merge_next()?;
        }
        Ok(self.overlay_bytes > OVERLAY_BYTES)
    }

    /// Merges all new rows and hands the pages to the disk.
    pub(crate) fn flush(&mut self) -> Result<()> {
        while !self.overlay.is_empty() {
            self.merge_next()?;
        }
        self.pages.flush()
    }

    /// Reads all rows, every page with its checksum and its place in the chain, and gives the sum over them.
    pub(crate) fn read_all(&self, mut each: impl FnMut(&[u8], &[u8]) -> Option<()>) -> Result<RowSum> {
        let (mut rows, mut crc) = (0, crc32fast::Hasher::new());
        let bad_row = self.scan(b"", |k, v| {
            rows += 1;
            for part in [k, v] {
                crc.update(&(part.len() as u32).to_le_bytes());
                crc.update(part);
            }
            match each(k, v) {
                Some(()) => ControlFlow::Continue(()),
                None => ControlFlow::Break(()),
            }
        })?;
        match bad_row {
            Some(()) => Err(bad("a row that no transaction can have made")),
            None => Ok(RowSum {
                rows,
                crc: crc.finalize(),
            }),
        }
    }

    /// Merges the new rows of one page into it.
    fn merge_next(&mut self) -> Result<()> {
        let from = (Bound::Included(&self.cursor[..]), Bound::Unbounded);
        let Some(first) = self.overlay.range::<[u8], _>(from).next().map(|(k, _)| k.clone()) else {
            self.cursor.clear();
            return Ok(());
        };
        let page = self.page(&first)?;
        let (mut rows, mut merged) = (BTreeMap::new(), Vec::new());
        let (mut changes, mut next) = (Changes::new(), page.next().map(<[u8]>::to_vec));
        self.gather(&page, &mut rows, &mut merged)?;
        // What deletes left of a page goes into the next one.
        while changes.len() < MOST_JOINED
            && rows.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>() < SMALL
            && let Some(key) = next.take()
        {
            let later = self.page(&key)?;
            if later.key[..] != key[..] {
                return Err(bad("a page is missing"));
            }
            self.gather(&later, &mut rows, &mut merged)?;
            next = later.next().map(<[u8]>::to_vec);
            changes.push((key, None));
        }
        self.cursor = next.clone().unwrap_or_default();
        // A row's key may be that of a page that goes: of two changes the later one holds.
        changes.append(&mut cut(page.key.to_vec(), next.as_deref(), rows.into_iter()));
        self.pages.write(changes)?;
        for k in &merged {
            if let Some(v) = self.overlay.remove(k) {
                let bytes = k.len() + v.as_ref().map_or(0, Vec::len) + 64;
                self.overlay_bytes = self.overlay_bytes.saturating_sub(bytes);
            }
        }
        Ok(())
    }

    /// Adds the rows of a page as they are now, and the keys of those that are new.
    fn gather(&self, page: &Page, rows: &mut BTreeMap<Vec<u8>, Vec<u8>>, merged: &mut Vec<Vec<u8>>) -> Result<()> {
        let mut old = page.rows();
        while let Some((k, v)) = old.next()? {
            rows.insert(k.to_vec(), v.to_vec());
        }
        let end = page.next().map_or(Bound::Unbounded, Bound::Excluded);
        let new = self.overlay.range::<[u8], _>((Bound::Included(&page.key[..]), end));
        for (k, v) in new {
            match v {
                Some(v) => rows.insert(k.clone(), v.clone()),
                None => rows.remove(k),
            };
            merged.push(k.clone());
        }
        Ok(())
    }

    /// The same rows in new pages.
    pub(crate) fn copy_to(&self, pages: Box<dyn Pages>) -> Result<Self> {
        let mut loader = Loader::new(pages);
        let failed = self.scan(b"", |k, v| match loader.push(k, v) {
            Ok(()) => ControlFlow::Continue(()),
            Err(e) => ControlFlow::Break(e),
        })?;
        failed.map_or_else(|| loader.finish(), Err)
    }
}

fn checksum(key: &[u8], bytes: &[u8]) -> u32 {
    let mut h = crc32fast::Hasher::new();
    h.update(key);
    h.update(bytes);
    h.finalize()
}

/// Cuts rows into pages; the first gets the key `first`, the last names `next`.
fn cut(first: Vec<u8>, next: Option<&[u8]>, rows: impl Iterator<Item = Row>) -> Changes {
    let mut out = Vec::new();
    let mut key = first;
    let mut page = Writer::default();
    for (k, v) in rows {
        if page.len() > 0 && page.len() + v.len() > TARGET {
            out.push((key.clone(), Some(seal(&key, Some(&k), page.take()))));
            key = k.clone();
        }
        page.push(&k, &v);
    }
    let last = seal(&key, next, page.take());
    out.push((key, Some(last)));
    out
}

fn seal(key: &[u8], next: Option<&[u8]>, rows: Vec<u8>) -> Vec<u8> {
    let mut body = Vec::with_capacity(rows.len() + 32);
    put_bytes(&mut body, next.unwrap_or_default());
    body.extend_from_slice(&rows);
    let mut out = checksum(key, &body).to_le_bytes().to_vec();
    out.extend_from_slice(&body);
    out
}

/// Fills an empty index with rows in key order.
pub(crate) struct Loader {
    pages: Box<dyn Pages>,
    key: Vec<u8>,
    last: Option<Vec<u8>>,
    page: Writer,
    ready: Changes,
}

impl Loader {
    pub(crate) fn new(pages: Box<dyn Pages>) -> Self {
        Self {
            pages,
            key: Vec::new(),
            last: None,
            page: Writer::default(),
            ready: Vec::new(),
        }
    }

    /// Whether a key is above all before.
    pub(crate) fn takes(&self, key: &[u8]) -> bool {
        self.last.as_deref().is_none_or(|last| last < key)
    }

    /// Adds a row; its key must be above all before.
    pub(crate) fn push(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if !self.takes(key) {
            return Err(bad("rows out of order"));
        }
        if self.page.len() > 0 && self.page.len() + value.len() > TARGET {
            let page = seal(&self.key, Some(key), self.page.take());
            self.ready
                .push((std::mem::replace(&mut self.key, key.to_vec()), Some(page)));
            if self.ready.len() >= 64 {
                self.pages.write(std::mem::take(&mut self.ready))?;
            }
        }
        self.page.push(key, value);
        let last = self.last.get_or_insert_default();
        last.clear();
        last.extend_from_slice(key);
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<Index> {
        let page = seal(&self.key, None, self.page.take());
        self.ready.push((self.key, Some(page)));
        self.pages.write(self.ready)?;
        Ok(Index::new(self.pages))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::pages::{Changes, Entry, MemPages};
    use super::*;
    use proptest::prelude::*;
    use std::sync::Mutex;

    /// Pages that can be counted from outside.
    #[derive(Clone, Default)]
    struct Counted(Arc<Mutex<(MemPages, usize)>>);

    impl Pages for Counted {
        fn floor(&self, key: &[u8]) -> Result<Option<Entry>> {
            self.0.lock().unwrap().0.floor(key)
        }

        fn write(&mut self, changes: Changes) -> Result<()> {
            let mut pages = self.0.lock().unwrap();
            pages.0.write(changes)?;
            pages.1 = pages.0.count();
            Ok(())
        }

        fn flush(&mut self) -> Result<()> {
            Ok(())
        }

        fn in_memory(&self) -> bool {
            true
        }
    }

    fn row(n: u32) -> (Vec<u8>, Vec<u8>) {
        (format!("row {n:08}").into_bytes(), vec![n as u8; 40])
    }

    /// They stayed, one after the other, and were read for every listing.
    #[test]
    fn pages_emptied_by_deletes_are_joined() {
        let pages = Counted::default();
        let mut index = Index::new(Box::new(pages.clone()));
        index.apply((0..20_000).map(row).map(|(k, v)| (k, Some(v))).collect());
        index.flush().unwrap();
        let full = pages.0.lock().unwrap().1;
        let deleted = (0..20_000).filter(|n| n % 100 != 0);
        index.apply(deleted.map(|n| (row(n).0, None)).collect());
        index.flush().unwrap();
        let left = pages.0.lock().unwrap().1;
        println!("{full} pages, {left} after deleting 99 %");
        assert!(full > 200 && left * 10 < full, "{left} of {full}");
        let sum = index.read_all(|_, _| Some(())).unwrap();
        assert_eq!(sum.rows, 200);
    }

    /// All pages were merged while nobody else could read a row.
    #[test]
    fn settling_takes_no_more_pages_than_it_may() {
        let mut index = Index::new(Box::new(MemPages::default()));
        let count = OVERLAY_BYTES as u32 / 50;
        index.apply((0..count).map(row).map(|(k, v)| (k, Some(v))).collect());
        index.flush().unwrap();
        index.apply((0..count).map(|n| (row(n).0, None)).collect());
        let before = index.overlay.len();
        assert!(index.settle(3).unwrap());
        let merged = before - index.overlay.len();
        assert!((1..count as usize / 10).contains(&merged), "{merged}");
        while index.settle(10).unwrap() {}
        assert!(index.overlay_bytes <= OVERLAY_BYTES && !index.overlay.is_empty());
    }

    proptest! {
        #[test]
        fn rows_written_and_deleted_are_those_of_a_map(
            rounds in proptest::collection::vec(
                proptest::collection::btree_map(0u32..3000, any::<bool>(), 1..800), 1..8,
            ),
        ) {
            let mut index = Index::new(Box::new(MemPages::default()));
            let mut map = BTreeMap::new();
            for round in rounds {
                index.apply(round.iter().map(|(n, put)| (row(*n).0, put.then(|| row(*n).1))).collect());
                for (n, put) in round {
                    let (k, v) = row(n);
                    if put { map.insert(k, v); } else { map.remove(&k); }
                }
                index.flush().unwrap();
                let mut found = BTreeMap::new();
                index.read_all(|k, v| { found.insert(k.to_vec(), v.to_vec()); Some(()) }).unwrap();
                prop_assert_eq!(&found, &map);
            }
            let copy = index.copy_to(Box::new(MemPages::default())).unwrap();
            let sums = [&index, &copy].map(|i| i.read_all(|_, _| Some(())).unwrap());
            prop_assert_eq!(sums[0], sums[1]);
        }
    }
}
