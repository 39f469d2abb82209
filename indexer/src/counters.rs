//! Sums over the rows, kept while transactions are applied, so that asking for them costs nothing.

use crate::dictionary::Dictionary;
use crate::index::rows;
use crate::log::{block_record_len, dictionary_record_len};
use crate::types::{Inode, Kind, StoredBlock};
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// What a store holds and takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Sum of the sizes of regular files, in bytes.
    pub logical_bytes: u64,
    /// Bytes of all blocks in use, as stored.
    pub stored_bytes: u64,
    /// Bytes of all segment files.
    pub log_bytes: u64,
    /// Bytes of segment files that garbage collection can win back, estimated.
    pub dead_bytes: u64,
    /// Bytes of all parity files.
    pub parity_bytes: u64,
    /// Bytes that the index takes on disk, holes not counted.
    pub index_bytes: u64,
    /// Inodes of all kinds.
    pub inodes: u64,
    /// Stored blocks in use.
    pub blocks: u64,
    /// Dictionaries.
    pub dictionaries: u64,
    /// Bytes of all copies of them, as stored.
    pub dictionary_bytes: u64,
    /// Stored blocks in use by the caller's tag.
    pub by_tag: BTreeMap<u8, TagTotals>,
    /// Blocks of files that need no stored block of their own, because another block of a file has the same: all blocks
    /// of files less the stored blocks that files have. With the bytes that they would take, and decode to.
    pub shared: TagTotals,
    /// Stored blocks that refer to another one.
    pub referring: TagTotals,
    /// Stored blocks that no file has any more and that are there only because others refer to them.
    pub kept: TagTotals,
}

impl Totals {
    /// Bytes that the store takes on disk.
    pub fn disk_bytes(&self) -> u64 {
        let own = [self.log_bytes, self.parity_bytes, self.index_bytes];
        own.into_iter().fold(0, u64::saturating_add)
    }
}

/// A kind of blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TagTotals {
    /// How many.
    pub blocks: u64,
    /// Their bytes, as stored.
    pub bytes: u64,
    /// The bytes they decode to.
    pub raw_bytes: u64,
}

/// The sums, as signed numbers, so that a transaction's share is a value of the same type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) inodes: i64,
    /// Sparse files are as large as one likes, so their sum may pass 64 bits.
    pub(crate) logical: i128,
    /// By tag: stored blocks, bytes, raw bytes.
    pub(crate) tags: BTreeMap<u8, [i64; 3]>,
    /// Users beyond the first of each stored block: their number, the bytes, the raw bytes.
    pub(crate) shared: [i128; 3],
    /// Of stored blocks that refer to another one, and of those without users: as of [`tags`](Self::tags).
    pub(crate) referring: [i64; 3],
    pub(crate) kept: [i64; 3],
    /// Dictionaries, and the bytes of their copies.
    pub(crate) dictionaries: [i64; 2],
    /// By segment: bytes of the records of blocks and dictionaries in use.
    pub(crate) live: BTreeMap<u32, i64>,
    /// Greatest inode number ever used.
    pub(crate) max_ino: u64,
    /// Greatest number of a stored block ever used.
    pub(crate) max_id: u64,
}

impl Counters {
    /// Counts an inode in (`sign` 1) or out (-1).
    pub(crate) fn inode(&mut self, inode: &Inode, sign: i64) {
        self.inodes += sign;
        if inode.kind == Kind::File {
            self.logical += i128::from(sign) * i128::from(inode.size);
        }
        self.max_ino = self.max_ino.max(inode.ino);
    }

    /// Counts a stored block in or out.
    pub(crate) fn block(&mut self, id: u64, s: &StoredBlock, sign: i64) {
        let sums = [1, i64::from(s.location.len), i64::from(s.raw_len)];
        let tag = self.tags.entry(s.tag).or_default();
        let add = |to: &mut [i64; 3]| to.iter_mut().zip(sums).for_each(|(sum, more)| *sum += sign * more);
        add(tag);
        if s.reference != 0 {
            add(&mut self.referring);
        }
        if s.users == 0 {
            add(&mut self.kept);
        }
        let more = i128::from(sign) * i128::from(s.users.saturating_sub(1));
        let shared = self.shared.iter_mut().zip(sums);
        shared.for_each(|(sum, one)| *sum += more * i128::from(one));
        *self.live.entry(s.location.segment).or_default() += sign * block_record_len(id, s.location.len) as i64;
        self.max_id = self.max_id.max(id);
    }

    /// Counts a dictionary in or out.
    pub(crate) fn dictionary(&mut self, dictionary: &Dictionary, sign: i64) {
        let [count, bytes] = &mut self.dictionaries;
        *count += sign;
        for copy in &dictionary.copies {
            *bytes += sign * i64::from(copy.len);
            *self.live.entry(copy.segment).or_default() += sign * dictionary_record_len(copy.len) as i64;
        }
    }

    /// Counts a row in; None if it is none that may be.
    pub(crate) fn row(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match rows::parse(key, value)? {
            rows::Row::Inode { inode, .. } => self.inode(&inode, 1),
            rows::Row::Blocks { first, blocks } => {
                for (id, stored) in (first..).zip(&blocks) {
                    stored.iter().for_each(|stored| self.block(id, stored, 1));
                }
            }
            rows::Row::Dictionary(dictionary) => self.dictionary(&dictionary, 1),
            _ => {}
        }
        Some(())
    }

    /// Adds a transaction's share.
    pub(crate) fn add(&mut self, other: &Self) {
        self.inodes += other.inodes;
        self.logical += other.logical;
        let mine = self.dictionaries.iter_mut();
        mine.zip(other.dictionaries).for_each(|(a, b)| *a += b);
        for (tag, more) in &other.tags {
            let mine = self.tags.entry(*tag).or_default();
            mine.iter_mut().zip(more).for_each(|(a, b)| *a += b);
        }
        self.shared.iter_mut().zip(other.shared).for_each(|(a, b)| *a += b);
        let mine = self.referring.iter_mut().chain(&mut self.kept);
        let others = other.referring.iter().chain(&other.kept);
        mine.zip(others).for_each(|(a, b)| *a += b);
        for (segment, more) in &other.live {
            *self.live.entry(*segment).or_default() += more;
        }
        self.tags.retain(|_, v| *v != [0; 3]);
        self.live.retain(|_, v| *v != 0);
        self.max_ino = self.max_ino.max(other.max_ino);
        self.max_id = self.max_id.max(other.max_id);
    }

    /// Bytes of the records of all blocks and dictionaries in use. A sum below zero is an error of the index, which
    /// [`live_in`](Self::live_in) tells to whoever is about to delete something.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.live.values().map(|v| u64::try_from(*v).unwrap_or(0)).sum()
    }

    /// Bytes of the records of blocks and dictionaries in use in a segment.
    pub(crate) fn live_in(&self, segment: u32) -> Result<u64> {
        let Some(live) = self.live.get(&segment) else {
            return Ok(0);
        };
        u64::try_from(*live).map_err(|_| Error::Index(format!("{live} bytes of segment {segment:08x} are in use")))
    }

    /// Tags of the blocks in use.
    pub(crate) fn tags(&self) -> BTreeSet<u8> {
        self.tags.keys().copied().collect()
    }

    /// The part of [`Totals`] that the rows decide.
    pub(crate) fn totals(&self) -> Totals {
        // These are only shown. The check compares them with the rows.
        let positive = |v: i64| u64::try_from(v).unwrap_or(0);
        let kind = |[blocks, bytes, raw]: [i64; 3]| TagTotals {
            blocks: positive(blocks),
            bytes: positive(bytes),
            raw_bytes: positive(raw),
        };
        let by_tag: BTreeMap<u8, TagTotals> = self.tags.iter().map(|(tag, sums)| (*tag, kind(*sums))).collect();
        let [dictionaries, dictionary_bytes] = self.dictionaries;
        let [blocks, bytes, raw_bytes] = self.shared.map(|sum| u64::try_from(sum.max(0)).unwrap_or(u64::MAX));
        Totals {
            shared: TagTotals {
                blocks,
                bytes,
                raw_bytes,
            },
            referring: kind(self.referring),
            kept: kind(self.kept),
            logical_bytes: u64::try_from(self.logical.max(0)).unwrap_or(u64::MAX),
            stored_bytes: by_tag.values().map(|t| t.bytes).sum(),
            inodes: positive(self.inodes),
            blocks: by_tag.values().map(|t| t.blocks).sum(),
            dictionaries: positive(dictionaries),
            dictionary_bytes: positive(dictionary_bytes),
            by_tag,
            ..Totals::default()
        }
    }
}
