//! Reading rows and blocks.

use super::{State, Store};
use crate::index::rows::{self, RUN, RowReader};
use crate::log::damaged;
use crate::types::{BlockRef, Cookie, Dirent, Extent, Inode, Listed, MAX_CHAIN, StoredBlock, chain_fits};
use crate::{Error, Result};
use std::ops::{ControlFlow, Range};

fn bad_row(what: &str, ino: u64) -> Error {
    Error::Index(format!("{what} of inode {ino} does not decode"))
}

/// Collects what `read` makes of rows, at most `limit`.
fn collect<T>(
    store: &Store,
    prefix: &[u8],
    from: &[u8],
    limit: usize,
    mut read: impl FnMut(&[u8], &[u8]) -> Result<T>,
) -> Result<Vec<T>> {
    let mut out = Vec::new();
    if limit == 0 {
        return Ok(out);
    }
    let failed = store.state().index.scan_prefix(prefix, from, |k, v| match read(k, v) {
        Ok(item) => {
            out.push(item);
            if out.len() < limit {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(None)
            }
        }
        Err(e) => ControlFlow::Break(Some(e)),
    })?;
    failed.flatten().map_or(Ok(out), Err)
}

/// What a key has beside the prefix that was asked for.
fn rest<'a>(key: &'a [u8], prefix: &[u8]) -> Result<&'a [u8]> {
    key.strip_prefix(prefix)
        .ok_or_else(|| Error::Index("a row that was not asked for".into()))
}

/// The least key above `key`.
fn after(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

impl Store {
    /// An inode.
    pub fn inode(&self, ino: u64) -> Result<Option<Inode>> {
        Ok(self.inode_row(ino)?.map(|(_, inode)| inode))
    }

    /// Bytes that the blocks of a file take in the log.
    pub fn stored_bytes(&self, ino: u64) -> Result<u64> {
        Ok(self.inode_row(ino)?.map_or(0, |(stored, _)| stored))
    }

    /// An inode and the bytes that its blocks take in the log.
    pub fn inode_row(&self, ino: u64) -> Result<Option<(u64, Inode)>> {
        let Some(row) = self.state().index.get(&rows::key(rows::INODE, ino))? else {
            return Ok(None);
        };
        rows::decode_inode_row(ino, &row)
            .map(Some)
            .ok_or_else(|| bad_row("row", ino))
    }

    /// What a name in a directory points to.
    pub fn dirent(&self, parent: u64, name: &[u8]) -> Result<Option<Dirent>> {
        let Some(row) = self.state().index.get(&rows::named(rows::DIRENT, parent, name))? else {
            return Ok(None);
        };
        rows::decode_dirent(&row)
            .map(|(entry, _)| Some(entry))
            .ok_or_else(|| bad_row("an entry", parent))
    }

    /// Entries of a directory in byte order of their names, at most `limit`, after the name `after_name`.
    pub fn dirents(&self, parent: u64, after_name: Option<&[u8]>, limit: usize) -> Result<Vec<(Vec<u8>, Dirent)>> {
        let prefix = rows::key(rows::DIRENT, parent);
        let from = after_name.map_or_else(|| prefix.clone(), |name| after(rows::named(rows::DIRENT, parent, name)));
        collect(self, &prefix, &from, limit, |k, v| {
            let name = rest(k, &prefix)?;
            let (entry, _) = rows::decode_dirent(v).ok_or_else(|| bad_row("an entry", parent))?;
            Ok((name.to_vec(), entry))
        })
    }

    /// Entries of a directory in the order of their cookies, at most `limit`, after the cookie `after`. Any cookie that
    /// an entry ever had is a place to go on from, whether or not the entry still exists.
    pub fn listed(&self, parent: u64, after: Cookie, limit: usize) -> Result<Vec<Listed>> {
        let prefix = rows::key(rows::COOKIE, parent);
        // The entry with the cookie itself was listed already, or is gone.
        let from = rows::cookie_key(parent, Cookie(after.0.saturating_add(1)));
        collect(self, &prefix, &from, limit, |k, v| {
            let cookie = k.get(prefix.len()..).and_then(rows::cookie_of);
            match (cookie, rows::decode_listed(v)) {
                (Some(cookie), Some((entry, name))) => Ok(Listed {
                    cookie,
                    name: name.to_vec(),
                    entry,
                }),
                _ => Err(bad_row("a listed entry", parent)),
            }
        })
    }

    /// A cookie that no entry made so far is above.
    pub fn last_cookie(&self) -> Cookie {
        Cookie::last_of(self.log.seq())
    }

    /// Whether a directory has no entries.
    pub fn dir_is_empty(&self, ino: u64) -> Result<bool> {
        Ok(self.dirents(ino, None, 1)?.is_empty())
    }

    /// Extents of blocks of a file, one for each; None is a hole.
    pub fn extents(&self, ino: u64, blocks: Range<u64>) -> Result<Vec<Option<Extent>>> {
        let mut out = Vec::new();
        let state = self.state();
        let mut block = blocks.start;
        while block < blocks.end {
            // A row has a run of blocks, so neighbours cost one look-up.
            let (run, at) = (block / RUN, block % RUN);
            let n = (RUN - at).min(blocks.end - block) as usize;
            match state.index.get(&rows::run_key(ino, run))? {
                None => out.resize(out.len() + n, None),
                Some(row) => {
                    let row = rows::decode_run(&row).ok_or_else(|| bad_row("extents", ino))?;
                    out.append(&mut resolve(&state, row.iter().skip(at as usize).take(n))?);
                }
            }
            block += n as u64;
        }
        Ok(out)
    }

    /// A stored block by its number; None if it is not in use.
    pub fn stored_block(&self, id: u64) -> Result<Option<StoredBlock>> {
        BlockRows::new(&self.state()).block(id)
    }

    /// As [`Store::stored_block`], for each of some numbers: neighbours cost one look-up.
    pub(super) fn stored_blocks(&self, ids: &[u64]) -> Result<Vec<Option<StoredBlock>>> {
        let state = self.state();
        let mut rows = BlockRows::new(&state);
        ids.iter().map(|id| rows.block(*id)).collect()
    }

    /// The stored block whose contents are needed to decode another one, if any. [`Error::Moved`] if that one does not
    /// lie where `extent` says any more.
    pub fn reference(&self, extent: &Extent) -> Result<Option<Extent>> {
        let at = extent.location;
        // All of one state: what the block refers to can go as soon as it refers to something else.
        let state = self.state();
        let mut rows = BlockRows::new(&state);
        let now = rows.block(extent.id)?.filter(|now| now.location == at);
        let Some(now) = now else {
            return Err(Error::Moved { segment: at.segment });
        };
        let (mut next, mut first, mut bytes) = (now.reference, None, 0);
        for needed in 1..=MAX_CHAIN {
            if next == 0 {
                break;
            }
            let Some(stored) = rows.block(next)? else {
                return Err(damaged(
                    at,
                    format!("it refers to the stored block {next}, which does not exist"),
                ));
            };
            bytes += u64::from(stored.raw_len);
            if !chain_fits(needed, bytes) {
                return Err(damaged(at, "it needs more bytes of other blocks than may be"));
            }
            first.get_or_insert_with(|| stored.extent(next));
            next = stored.reference;
        }
        if next != 0 {
            return Err(damaged(at, "it refers to others in too long a chain, or in a circle"));
        }
        Ok(first)
    }

    /// The blocks of files that name a stored block: inode and number, in order.
    pub fn users(&self, id: u64) -> Result<Vec<(u64, u64)>> {
        let state = self.state();
        let prefix = rows::users_prefix(id / RUN);
        let mut runs = Vec::new();
        state.index.scan_prefix(&prefix, &prefix, |key, _| {
            runs.extend(rows::split_key(key).and_then(|(_, _, rest)| rows::user_of(rest)));
            ControlFlow::<()>::Continue(())
        })?;
        let mut out = Vec::new();
        for (ino, run) in runs {
            let row = state.index.get(&rows::run_key(ino, run))?;
            let row = row.and_then(|row| rows::decode_run(&row));
            let row = row.ok_or_else(|| bad_row("extents", ino))?;
            let named = (run * RUN..).zip(row).filter(|(_, u)| u.is_some_and(|u| u.id == id));
            out.extend(named.map(|(block, _)| (ino, block)));
        }
        Ok(out)
    }

    /// The extent of one block.
    pub fn extent(&self, ino: u64, block: u64) -> Result<Option<Extent>> {
        Ok(self
            .extents(ino, block..block.saturating_add(1))?
            .first()
            .copied()
            .flatten())
    }

    /// The first block at or after `from` that is no hole.
    pub fn next_extent(&self, ino: u64, from: u64) -> Result<Option<u64>> {
        let prefix = rows::key(rows::EXTENTS, ino);
        let start = rows::run_key(ino, from / RUN);
        let found = self.state().index.scan_prefix(&prefix, &start, |k, v| {
            let extents = rows::split_key(k)
                .and_then(|(_, _, rest)| rows::run_of(rest))
                .and_then(|run| {
                    let row = rows::decode_run(v)?;
                    Some(
                        (run * RUN..)
                            .zip(row)
                            .find(|(b, e)| *b >= from && e.is_some())
                            .map(|(b, _)| b),
                    )
                });
            match extents {
                None => ControlFlow::Break(Err(bad_row("extents", ino))),
                Some(Some(block)) => ControlFlow::Break(Ok(block)),
                Some(None) => ControlFlow::Continue(()),
            }
        })?;
        found.transpose()
    }

    /// The value of an extended attribute.
    pub fn xattr(&self, ino: u64, name: &[u8]) -> Result<Option<Vec<u8>>> {
        self.state().index.get(&rows::named(rows::XATTR, ino, name))
    }

    /// Names of all extended attributes of an inode.
    pub fn xattrs(&self, ino: u64) -> Result<Vec<Vec<u8>>> {
        let prefix = rows::key(rows::XATTR, ino);
        collect(
            self,
            &prefix,
            &prefix,
            usize::MAX,
            |k, _| Ok(rest(k, &prefix)?.to_vec()),
        )
    }

    /// Inodes that had no name left but were open.
    pub fn orphans(&self) -> Result<Vec<u64>> {
        collect(self, &[rows::ORPHAN], &[rows::ORPHAN], usize::MAX, |k, _| {
            rows::split_key(k)
                .map(|(_, ino, _)| ino)
                .ok_or_else(|| bad_row("orphan", 0))
        })
    }

    /// Inodes by number, at most `limit`, after number `after_ino` (0: from the first).
    pub fn inodes(&self, after_ino: u64, limit: usize) -> Result<Vec<Inode>> {
        let from = after(rows::key(rows::INODE, after_ino));
        collect(self, &[rows::INODE], &from, limit, |k, v| {
            let inode = rows::split_key(k).and_then(|(_, ino, _)| rows::decode_inode_row(ino, v));
            let bad = || Error::Index(format!("an inode after {after_ino} does not decode"));
            inode.map(|(_, inode)| inode).ok_or_else(bad)
        })
    }

    /// Greatest inode number ever used in this store.
    pub fn max_ino(&self) -> u64 {
        self.state().counters.max_ino
    }

    /// Greatest number of a stored block ever used in this store.
    pub fn max_id(&self) -> u64 {
        self.state().counters.max_id
    }

    /// A value set by [`crate::Change::PutMeta`].
    pub fn meta(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.state().index.get(&rows::meta_key(key))
    }

    /// The bytes of a stored block, checked against the checksum they were stored with; their record must have its
    /// number. [`Error::Moved`]: look the extent up again and retry. One that cannot be read is
    /// [distrusted](Store::distrust).
    pub fn read_block(&self, extent: &Extent) -> Result<Vec<u8>> {
        let r = extent.location;
        let read = match self.log.read_block(r) {
            Ok((id, bytes)) if id == extent.id => Ok(bytes),
            Ok((id, _)) => {
                let wanted = extent.id;
                Err(damaged(r, format!("it is the stored block {id} and not {wanted}")))
            }
            Err(e) => Err(e),
        };
        if let Err(Error::Damaged { .. } | Error::Io { .. }) = &read {
            self.distrust(extent.id);
        }
        read
    }

    /// As [`Store::read_block`]; an error names the block of the file.
    pub fn read_block_of(&self, ino: u64, block: u64, extent: &Extent) -> Result<Vec<u8>> {
        self.read_block(extent).map_err(|e| match e {
            Error::Damaged {
                segment, offset, why, ..
            } => Error::Damaged {
                segment,
                offset,
                ino: Some(ino),
                block: Some(block),
                why,
            },
            e => e,
        })
    }
}

fn bad_blocks(id: u64) -> Error {
    Error::Index(format!("the row of the stored block {id} does not decode"))
}

/// Rows of stored blocks, of which the last one that was looked at is kept.
struct BlockRows<'a> {
    state: &'a State,
    /// Its number, and itself if there is such a row.
    row: Option<(u64, Option<RowReader<Vec<u8>>>)>,
}

impl<'a> BlockRows<'a> {
    fn new(state: &'a State) -> Self {
        Self { state, row: None }
    }

    /// A stored block by its number; None if it is not in use.
    fn block(&mut self, id: u64) -> Result<Option<StoredBlock>> {
        let run = id / RUN;
        let row = match &mut self.row {
            Some((at, row)) if *at == run => row,
            row => {
                let found = self.state.index.get(&rows::blocks_key(run))?;
                &mut row.insert((run, found.map(|bytes| RowReader::new(run * RUN, bytes)))).1
            }
        };
        match row {
            Some(row) => row.block(id).ok_or_else(|| bad_blocks(id)),
            None => Ok(None),
        }
    }
}

/// What no stored block has: no segment has this number.
const NOWHERE: BlockRef = BlockRef {
    segment: 0,
    offset: 0,
    len: 0,
};

/// Extents with what the index knows of the stored blocks that they name. One that names none, in an index made from a
/// checkpoint that is wrong, leads nowhere: reading it is an error, and all others are as good as ever.
pub(super) fn resolve<'a>(
    state: &State,
    uses: impl Iterator<Item = &'a Option<rows::Use>>,
) -> Result<Vec<Option<Extent>>> {
    let mut blocks = BlockRows::new(state);
    let mut out = Vec::new();
    for used in uses {
        let Some(rows::Use { id, raw_len }) = *used else {
            out.push(None);
            continue;
        };
        out.push(Some(match blocks.block(id)? {
            Some(stored) => Extent {
                raw_len,
                ..stored.extent(id)
            },
            None => Extent {
                id,
                location: NOWHERE,
                tag: 0,
                raw_len,
                digest: 0,
            },
        }));
    }
    Ok(out)
}
