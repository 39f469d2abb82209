//! A page: rows in key order, each key without what it shares with the one before. docs/FORMAT.md, "Page".

use crate::wire::{Reader, put_bytes, put_varint};

/// Rows are put into pages of about this many bytes.
pub(crate) const TARGET: usize = 4096;

/// A row: key and value.
pub(crate) type Row = (Vec<u8>, Vec<u8>);

/// A row as it lies in a page: the key is put together by the reader.
type RowRef<'k, 'a> = (&'k [u8], &'a [u8]);

/// Appends one row after another to a page.
#[derive(Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    last: Vec<u8>,
}

impl Writer {
    /// Appends a row; keys must rise.
    pub(crate) fn push(&mut self, key: &[u8], value: &[u8]) {
        let shared = self.last.iter().zip(key).take_while(|(a, b)| a == b).count();
        let (_, rest) = key.split_at(shared);
        put_varint(&mut self.bytes, shared as u64);
        put_bytes(&mut self.bytes, rest);
        put_bytes(&mut self.bytes, value);
        self.last.truncate(shared);
        self.last.extend_from_slice(rest);
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The rows pushed since the last call.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.last.clear();
        std::mem::take(&mut self.bytes)
    }
}

/// Reads rows one after another; None from [`Rows::next`] is the end, Err means the bytes are no page.
pub(crate) struct Rows<'a> {
    r: Reader<'a>,
    key: Vec<u8>,
}

/// The bytes are no page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadPage;

impl<'a> Rows<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            r: Reader::new(bytes),
            key: Vec::new(),
        }
    }

    /// The next row; its key is lent until the call after.
    pub(crate) fn next(&mut self) -> Result<Option<RowRef<'_, 'a>>, BadPage> {
        if self.r.is_empty() {
            return Ok(None);
        }
        let value = self.step().ok_or(BadPage)?;
        Ok(Some((&self.key, value)))
    }

    fn step(&mut self) -> Option<&'a [u8]> {
        let shared = usize::try_from(self.r.varint()?)
            .ok()
            .filter(|&n| n <= self.key.len())?;
        let suffix = self.r.bytes()?;
        // Keys rise: what follows the shared part must be greater than what it replaces.
        let rises = match self.key.get(shared..) {
            Some([]) => !suffix.is_empty() || self.key.is_empty(),
            Some(old) => suffix > old,
            None => false,
        };
        if !rises {
            return None;
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(suffix);
        self.r.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn rows_come_back(rows: BTreeMap<Vec<u8>, Vec<u8>>) {
            let mut w = Writer::default();
            rows.iter().for_each(|(k, v)| w.push(k, v));
            let bytes = w.take();
            let mut r = Rows::new(&bytes);
            for (k, v) in &rows {
                prop_assert_eq!(r.next(), Ok(Some((&k[..], &v[..]))));
            }
            prop_assert_eq!(r.next(), Ok(None));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let mut r = Rows::new(&bytes);
            while let Ok(Some(_)) = r.next() {}
        }
    }
}
