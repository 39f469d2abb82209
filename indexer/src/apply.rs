//! From a transaction to the rows it changes. Commit and rebuild take this one path, so both make the same tree.

use crate::change::Change;
use crate::counters::Counters;
use crate::index::rows;
use crate::index::{Delta, Index};
use crate::invalid_change::InvalidChange;
use crate::types::{BlockRef, Cookie, Dirent, Inode, StoredBlock};
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

mod blocks;
mod dictionary;
mod references;
mod users;

/// A swap or merge that found the stored block elsewhere, or not at all, and did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Number of the stored block.
    pub id: u64,
}

/// What a transaction does to the rows.
#[derive(Default)]
pub(crate) struct Effect {
    pub(crate) rows: Delta,
    pub(crate) counters: Counters,
    pub(crate) skipped: Vec<Skipped>,
    /// Places that stored blocks have from now on, in order of the changes.
    pub(crate) placed: Vec<BlockRef>,
    /// Stored blocks that lie elsewhere: number, old and new place.
    pub(crate) moved: Vec<(u64, BlockRef, BlockRef)>,
    /// Files whose use of space swaps and merges changed.
    pub(crate) resized: BTreeSet<u64>,
}

impl Effect {
    /// Bytes of the rows that it makes or replaces: the rows grow by no more than that.
    pub(crate) fn put_bytes(&self) -> u64 {
        let put = self
            .rows
            .iter()
            .filter_map(|(key, value)| Some(key.len() + value.as_ref()?.len()));
        put.map(|bytes| bytes as u64).sum()
    }
}

/// Works out what the changes of transaction number `seq` do to the rows of `index`.
pub(crate) fn effect(index: &Index, seq: u64, changes: &[Change]) -> Result<Effect> {
    let mut t = Transaction {
        index,
        seq,
        names: 0,
        out: Effect::default(),
        stored: BTreeMap::new(),
        blocks: BTreeMap::new(),
        users: BTreeMap::new(),
    };
    for change in changes {
        t.apply(change)?;
    }
    t.finish()
}

struct Transaction<'a> {
    index: &'a Index,
    /// Its number.
    seq: u64,
    /// Names made so far.
    names: u64,
    out: Effect,
    /// By inode: by how much the bytes of its blocks grow.
    stored: BTreeMap<u64, i64>,
    /// Rows of stored blocks that were looked at, as they are by now.
    blocks: BTreeMap<u64, Vec<Option<StoredBlock>>>,
    /// Who uses the stored blocks of the rows that swaps and merges asked for: by row and file, or all files.
    users: BTreeMap<(u64, u64), users::Users>,
}

fn refused<T>(why: String) -> Result<T> {
    Err(InvalidChange::Contents(why).into())
}

impl Transaction<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.out.rows.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.index.get(key),
        }
    }

    fn put(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.out.rows.insert(key, value);
    }

    fn inode(&self, ino: u64) -> Result<Option<(u64, Inode)>> {
        let Some(row) = self.get(&rows::key(rows::INODE, ino))? else {
            return Ok(None);
        };
        rows::decode_inode_row(ino, &row)
            .map(Some)
            .ok_or_else(|| Error::Index(format!("row of inode {ino}")))
    }

    fn apply(&mut self, change: &Change) -> Result<()> {
        match change {
            Change::PutInode(inode) => self.put_inode(inode),
            Change::DelInode(ino) => self.del_inode(*ino),
            Change::PutDirent { parent, name, entry } => self.put_dirent(*parent, name, entry),
            Change::DelDirent { parent, name } => self.del_dirent(*parent, name),
            Change::PutExtents { ino, first, extents } => self.put_extents(*ino, *first, extents),
            Change::CopyExtents {
                ino,
                first,
                from,
                from_first,
                count,
            } => self.copy_extents(*ino, *first, *from, *from_first, *count),
            Change::SwapBlock {
                id,
                old,
                new,
                tag,
                reference,
                hint,
            } => self.swap_block(*id, (*old, *new), *tag, *reference, *hint),
            Change::MergeBlock { id, into, hint } => self.merge_block(*id, *into, *hint),
            Change::TruncateExtents { ino, from } => self.drop_extents(*ino, *from, u64::MAX),
            Change::PunchExtents { ino, from, end } => self.drop_extents(*ino, *from, *end),
            Change::PutXattr { ino, name, value } => {
                self.put(rows::named(rows::XATTR, *ino, name), Some(value.clone()));
                Ok(())
            }
            Change::DelXattr { ino, name } => self.delete(rows::named(rows::XATTR, *ino, name)),
            Change::PutOrphan(ino) => {
                self.put(rows::key(rows::ORPHAN, *ino), Some(Vec::new()));
                Ok(())
            }
            Change::DelOrphan(ino) => self.delete(rows::key(rows::ORPHAN, *ino)),
            Change::Dictionary(change) => self.dictionary(change),
            Change::PutMeta { key, value } if value.is_empty() => self.delete(rows::meta_key(key)),
            Change::PutMeta { key, value } => {
                self.put(rows::meta_key(key), Some(value.clone()));
                Ok(())
            }
        }
    }

    fn delete(&mut self, key: Vec<u8>) -> Result<()> {
        if self.get(&key)?.is_some() {
            self.put(key, None);
        }
        Ok(())
    }

    /// The cookie of a name, if it exists.
    fn cookie(&self, parent: u64, dirent_key: &[u8]) -> Result<Option<Cookie>> {
        let Some(row) = self.get(dirent_key)? else {
            return Ok(None);
        };
        let (_, cookie) =
            rows::decode_dirent(&row).ok_or_else(|| Error::Index(format!("an entry of directory {parent}")))?;
        Ok(Some(cookie))
    }

    fn put_dirent(&mut self, parent: u64, name: &[u8], entry: &Dirent) -> Result<()> {
        let key = rows::named(rows::DIRENT, parent, name);
        // A name that points elsewhere now keeps its place, so that a listing under way shows it once.
        let cookie = match self.cookie(parent, &key)? {
            Some(cookie) => cookie,
            None => self.next_cookie()?,
        };
        self.put(rows::cookie_key(parent, cookie), Some(rows::encode_listed(entry, name)));
        self.put(key, Some(rows::encode_dirent(entry, cookie)));
        Ok(())
    }

    fn del_dirent(&mut self, parent: u64, name: &[u8]) -> Result<()> {
        let key = rows::named(rows::DIRENT, parent, name);
        if let Some(cookie) = self.cookie(parent, &key)? {
            self.put(rows::cookie_key(parent, cookie), None);
            self.put(key, None);
        }
        Ok(())
    }

    fn next_cookie(&mut self) -> Result<Cookie> {
        let Some(cookie) = Cookie::new(self.seq, self.names) else {
            return refused(format!("name {} of transaction {} has no cookie", self.names, self.seq));
        };
        self.names += 1;
        Ok(cookie)
    }

    fn put_inode(&mut self, inode: &Inode) -> Result<()> {
        let mut stored = 0;
        if let Some((bytes, old)) = self.inode(inode.ino)? {
            if old.kind != inode.kind {
                return refused(format!(
                    "inode {} is a {:?} and cannot become a {:?}",
                    inode.ino, old.kind, inode.kind
                ));
            }
            stored = bytes;
            self.out.counters.inode(&old, -1);
        }
        self.out.counters.inode(inode, 1);
        self.put(
            rows::key(rows::INODE, inode.ino),
            Some(rows::encode_inode_row(stored, inode)),
        );
        Ok(())
    }

    fn del_inode(&mut self, ino: u64) -> Result<()> {
        let Some((_, inode)) = self.inode(ino)? else {
            return refused(format!("inode {ino} does not exist and cannot be deleted"));
        };
        self.drop_extents(ino, 0, u64::MAX)?;
        self.stored.remove(&ino);
        let attributes = rows::key(rows::XATTR, ino);
        for key in self.keys_with(&attributes, &attributes, |_| true)? {
            self.put(key, None);
        }
        self.delete(rows::key(rows::ORPHAN, ino))?;
        self.out.counters.inode(&inode, -1);
        self.put(rows::key(rows::INODE, ino), None);
        Ok(())
    }

    /// Keys of the rows that begin with `prefix`, from `from` on, as they are at this point of the transaction, up to
    /// the first that is not `wanted`.
    fn keys_with(&self, prefix: &[u8], from: &[u8], wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<Vec<u8>>> {
        let mut keys = Vec::new();
        self.index.scan_prefix(prefix, from, |k, _| {
            if !wanted(k) {
                return ControlFlow::Break(());
            }
            if !self.out.rows.contains_key(k) {
                keys.push(k.to_vec());
            }
            ControlFlow::Continue(())
        })?;
        let own = self
            .out
            .rows
            .range(from.to_vec()..)
            .take_while(|(k, _)| k.starts_with(prefix) && wanted(k));
        keys.extend(own.filter(|(_, v)| v.is_some()).map(|(k, _)| k.clone()));
        Ok(keys)
    }

    /// Brings the inodes' sums up to date.
    fn finish(mut self) -> Result<Effect> {
        self.put_blocks();
        for (ino, grown) in std::mem::take(&mut self.stored) {
            if grown == 0 {
                continue;
            }
            let Some((stored, inode)) = self.inode(ino)? else {
                return refused(format!("extents of inode {ino}, which does not exist"));
            };
            let stored = stored
                .checked_add_signed(grown)
                .ok_or_else(|| Error::Index(format!("bytes of inode {ino}")))?;
            self.put(
                rows::key(rows::INODE, ino),
                Some(rows::encode_inode_row(stored, &inode)),
            );
        }
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::index::{Changes, Entry, MemPages, Pages};
    use crate::types::{BlockRef, Extent, Kind, Time};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Pages that count how often they are looked at.
    #[derive(Default)]
    struct Counted(MemPages, Arc<AtomicU64>);

    impl Pages for Counted {
        fn floor(&self, key: &[u8]) -> Result<Option<Entry>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.floor(key)
        }

        fn write(&mut self, changes: Changes) -> Result<()> {
            self.0.write(changes)
        }

        fn flush(&mut self) -> Result<()> {
            Ok(())
        }

        fn in_memory(&self) -> bool {
            true
        }
    }

    /// The rows of all extents were read, wherever the file was cut.
    #[test]
    fn cutting_the_end_of_a_large_file_reads_the_end() {
        let pages = Counted::default();
        let looked_at = Arc::clone(&pages.1);
        let mut index = Index::new(Box::new(pages));
        let inode = Inode::new(5, Kind::File, 0o644, Time::default());
        let r = BlockRef {
            segment: 1,
            offset: 100,
            len: 1000,
        };
        let extent = |id| Extent {
            id,
            location: r,
            tag: 0,
            raw_len: 1000,
            digest: 0,
        };
        let extents = (1..=100_000).map(|id| Some(extent(id))).collect();
        let put = Change::PutExtents {
            ino: 5,
            first: 0,
            extents,
        };
        let rows = effect(&index, 1, &[Change::PutInode(inode), put]).unwrap().rows;
        index.apply(rows);
        index.flush().unwrap();
        looked_at.store(0, Ordering::Relaxed);
        let cut = |from| effect(&index, 2, &[Change::TruncateExtents { ino: 5, from }]).unwrap();
        let rows = cut(99_990).rows.len();
        assert_eq!(rows, 3, "the last run of the file and of stored blocks, and the inode");
        assert!(looked_at.load(Ordering::Relaxed) < 10, "{looked_at:?} pages");
        assert_eq!(
            cut(0).counters.tags.get(&0),
            Some(&[-100_000, -100_000_000, -100_000_000])
        );
    }

    /// Regression: each swap or merge of a block with more than one user looked at all users of its 64 neighbours.
    #[test]
    fn the_users_of_neighbours_are_looked_for_once() {
        const FILES: u64 = 200;
        let pages = Counted::default();
        let looked_at = Arc::clone(&pages.1);
        let mut index = Index::new(Box::new(pages));
        let r = |id: u64, len| BlockRef {
            segment: 1,
            offset: id as u32 * 2000,
            len,
        };
        let extents = (64..128).map(|id| {
            Some(Extent {
                id,
                location: r(id, 1000),
                tag: 0,
                raw_len: 1000,
                digest: 0,
            })
        });
        let extents: Vec<_> = extents.collect();
        let mut changes = Vec::new();
        for ino in 5..5 + FILES {
            changes.push(Change::PutInode(Inode::new(ino, Kind::File, 0o644, Time::default())));
            let extents = extents.clone();
            changes.push(Change::PutExtents { ino, first: 0, extents });
        }
        let rows = effect(&index, 1, &changes).unwrap().rows;
        index.apply(rows);
        index.flush().unwrap();
        looked_at.store(0, Ordering::Relaxed);
        let swap = |id| Change::SwapBlock {
            id,
            old: r(id, 1000),
            new: r(id, 500),
            tag: 1,
            reference: 0,
            hint: 0,
        };
        let merge = |id| Change::MergeBlock {
            id,
            into: id + 1,
            hint: 0,
        };
        let mut changes: Vec<_> = (64..128).map(swap).collect();
        // Each has the users of all before it when its turn comes.
        changes.extend((64..72).map(merge));
        let done = effect(&index, 2, &changes).unwrap();
        assert_eq!((done.skipped.len(), done.resized.len() as u64), (0, FILES));
        let looked_at = looked_at.load(Ordering::Relaxed);
        assert!(looked_at < 10 * FILES, "{looked_at} pages");
        index.apply(done.rows);
        for ino in 5..5 + FILES {
            let row = index.get(&rows::key(rows::INODE, ino)).unwrap().unwrap();
            assert_eq!(rows::decode_inode_row(ino, &row).unwrap().0, 64 * 500);
        }
        let row = index.get(&rows::blocks_key(1)).unwrap().unwrap();
        let blocks = rows::decode_blocks(64, &row).unwrap();
        let users: Vec<_> = blocks.iter().map(|b| b.map_or(0, |b| b.users)).collect();
        assert_eq!(users.get(..10).unwrap(), [0, 0, 0, 0, 0, 0, 0, 0, 9 * FILES, FILES]);
    }
}
