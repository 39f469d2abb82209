//! Keys of the rows: a letter for the kind of row, the inode number big-endian so that numbers sort, then the rest.
//!
//! A directory entry has two rows: one by name, for lookups, and one by cookie, for listings. A block of a file has two
//! rows as well: that of its file, which says which stored block it is, and that of the stored block, which says where
//! it lies. A third one, by stored blocks and file, leads back.

use crate::change::{block_id, decode_inode, dirent_name, encode_inode, meta, validate_inode, xattr};
use crate::dictionary::{Dictionary, DictionaryId};
use crate::types::{Cookie, Dirent, Inode, Kind, StoredBlock};
use crate::wire::{Reader, put_varint};

mod blocks;
mod extents;

pub(crate) use blocks::{RowReader, decode_blocks, encode_blocks};
pub(crate) use extents::{Run, Use, decode_run, encode_run};

/// Blocks of a file whose extents share a row, and stored blocks that do.
pub(crate) const RUN: u64 = 64;

/// Stored blocks, by number.
pub(crate) const BLOCKS: u8 = b'b';
/// Which runs of files use which stored blocks.
pub(crate) const USERS: u8 = b'u';
pub(crate) const INODE: u8 = b'i';
pub(crate) const COOKIE: u8 = b'c';
pub(crate) const DIRENT: u8 = b'd';
pub(crate) const EXTENTS: u8 = b'e';
pub(crate) const XATTR: u8 = b'x';
pub(crate) const ORPHAN: u8 = b'o';
pub(crate) const META: u8 = b'm';
pub(crate) const DICTIONARY: u8 = b'k';

/// A row's key: the kind and an inode number.
pub(crate) fn key(kind: u8, ino: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(9);
    key.push(kind);
    key.extend_from_slice(&ino.to_be_bytes());
    key
}

/// A row's key: the kind, an inode number and a name.
pub(crate) fn named(kind: u8, ino: u64, name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(9 + name.len());
    key.push(kind);
    key.extend_from_slice(&ino.to_be_bytes());
    key.extend_from_slice(name);
    key
}

/// Key of the row that lists the entry with this cookie.
pub(crate) fn cookie_key(parent: u64, cookie: Cookie) -> Vec<u8> {
    named(COOKIE, parent, &cookie.0.to_be_bytes())
}

/// The cookie that the rest of a key names.
pub(crate) fn cookie_of(rest: &[u8]) -> Option<Cookie> {
    let cookie = Cookie(u64::from_be_bytes(rest.try_into().ok()?));
    cookie.is_possible().then_some(cookie)
}

/// Key of the row with the extents of run `run` (blocks `run * RUN ..`).
pub(crate) fn run_key(ino: u64, run: u64) -> Vec<u8> {
    named(EXTENTS, ino, &run.to_be_bytes())
}

/// Key of the row with the stored blocks from number `run * RUN` on.
pub(crate) fn blocks_key(run: u64) -> Vec<u8> {
    key(BLOCKS, run)
}

/// What the keys of the rows begin with that say where stored blocks from number `run * RUN` on are used.
pub(crate) fn users_prefix(run: u64) -> Vec<u8> {
    key(USERS, run)
}

/// As [`users_prefix`], for one file.
pub(crate) fn users_of_prefix(run: u64, ino: u64) -> Vec<u8> {
    named(USERS, run, &ino.to_be_bytes())
}

/// Key of the row that says that run `file_run` of a file uses some of the stored blocks from number `run * RUN` on.
/// The first run of a file, for many the only one, is left out.
pub(crate) fn users_key(run: u64, ino: u64, file_run: u64) -> Vec<u8> {
    let mut key = users_of_prefix(run, ino);
    if file_run > 0 {
        key.extend_from_slice(&file_run.to_be_bytes());
    }
    key
}

/// File and run that the rest of a row's key names.
pub(crate) fn user_of(rest: &[u8]) -> Option<(u64, u64)> {
    let (ino, run) = rest.split_first_chunk::<8>()?;
    let ino = Some(u64::from_be_bytes(*ino)).filter(|ino| *ino > 0)?;
    if run.is_empty() {
        return Some((ino, 0));
    }
    run_of(run).filter(|run| *run > 0).map(|run| (ino, run))
}

/// Key of a meta row.
pub(crate) fn meta_key(name: &[u8]) -> Vec<u8> {
    let mut key = vec![META];
    key.extend_from_slice(name);
    key
}

/// Key of a dictionary's row.
pub(crate) fn dictionary_key(id: DictionaryId) -> Vec<u8> {
    [&[DICTIONARY][..], &id].concat()
}

/// The dictionary that a key names.
pub(crate) fn dictionary_of(key: &[u8]) -> Option<DictionaryId> {
    let (&kind, id) = key.split_first()?;
    id.try_into().ok().filter(|_| kind == DICTIONARY)
}

/// Reads a dictionary's row.
pub(crate) fn decode_dictionary(id: DictionaryId, bytes: &[u8]) -> Option<Dictionary> {
    let mut r = Reader::new(bytes);
    let dictionary = Dictionary::decode(id, &mut r)?;
    r.is_empty().then_some(dictionary)
}

/// Kind, inode number and rest of a key.
pub(crate) fn split_key(key: &[u8]) -> Option<(u8, u64, &[u8])> {
    let (&kind, rest) = key.split_first()?;
    let (ino, name) = rest.split_first_chunk::<8>()?;
    Some((kind, u64::from_be_bytes(*ino), name))
}

/// Number of the run that a key names.
pub(crate) fn run_of(rest: &[u8]) -> Option<u64> {
    // Blocks are numbered up to 2^63 - 1.
    Some(u64::from_be_bytes(rest.try_into().ok()?)).filter(|run| *run <= i64::MAX as u64 / RUN)
}

/// An inode row: what the file's blocks take in the log, then the inode.
pub(crate) fn encode_inode_row(stored: u64, inode: &Inode) -> Vec<u8> {
    let mut out = Vec::with_capacity(40);
    put_varint(&mut out, stored);
    encode_inode(&mut out, inode);
    out
}

/// Reads an inode row.
pub(crate) fn decode_inode_row(ino: u64, bytes: &[u8]) -> Option<(u64, Inode)> {
    let mut r = Reader::new(bytes);
    let stored = r.varint()?;
    let inode = decode_inode(&mut r, ino)?;
    r.is_empty().then_some((stored, inode))
}

/// A row by name: what it points to, and its cookie.
pub(crate) fn encode_dirent(entry: &Dirent, cookie: Cookie) -> Vec<u8> {
    let mut out = vec![entry.kind as u8];
    put_varint(&mut out, entry.ino);
    let (seq, number) = cookie.parts();
    put_varint(&mut out, seq);
    put_varint(&mut out, number);
    out
}

/// Reads a row by name.
pub(crate) fn decode_dirent(bytes: &[u8]) -> Option<(Dirent, Cookie)> {
    let mut r = Reader::new(bytes);
    let entry = read_dirent(&mut r)?;
    let cookie = Cookie::new(r.varint()?, r.varint()?)?;
    r.is_empty().then_some((entry, cookie))
}

/// A row by cookie: what it points to, and its name.
pub(crate) fn encode_listed(entry: &Dirent, name: &[u8]) -> Vec<u8> {
    let mut out = vec![entry.kind as u8];
    put_varint(&mut out, entry.ino);
    out.extend_from_slice(name);
    out
}

/// Reads a row by cookie.
pub(crate) fn decode_listed(bytes: &[u8]) -> Option<(Dirent, &[u8])> {
    let mut r = Reader::new(bytes);
    let entry = read_dirent(&mut r)?;
    Some((entry, r.rest()))
}

fn read_dirent(r: &mut Reader<'_>) -> Option<Dirent> {
    let kind = Kind::from_u8(r.u8()?)?;
    let ino = r.varint()?;
    Some(Dirent { ino, kind })
}

/// A row taken apart.
pub(crate) enum Row<'a> {
    Inode {
        stored: u64,
        inode: Inode,
    },
    Dirent {
        parent: u64,
        name: &'a [u8],
        entry: Dirent,
        cookie: Cookie,
    },
    Listed {
        parent: u64,
        cookie: Cookie,
        name: &'a [u8],
        entry: Dirent,
    },
    Extents {
        ino: u64,
        first: u64,
        extents: Run,
    },
    Blocks {
        first: u64,
        blocks: Vec<Option<StoredBlock>>,
    },
    Users {
        /// The row of stored blocks.
        run: u64,
        ino: u64,
        file_run: u64,
    },
    Xattr {
        ino: u64,
    },
    Orphan {
        ino: u64,
    },
    Dictionary(Dictionary),
    Meta,
}

/// Takes a row apart; None if no transaction can have made it.
pub(crate) fn parse<'a>(key: &'a [u8], value: &'a [u8]) -> Option<Row<'a>> {
    if let Some((&META, name)) = key.split_first() {
        meta(name, value).ok()?;
        return Some(Row::Meta);
    }
    if let Some(id) = dictionary_of(key) {
        let dictionary = decode_dictionary(id, value)?;
        dictionary.validate().ok()?;
        return Some(Row::Dictionary(dictionary));
    }
    let (kind, ino, rest) = split_key(key)?;
    match kind {
        // Stored blocks are numbered from 1, their rows from 0.
        BLOCKS | USERS => block_id(ino.checked_mul(RUN)?.checked_add(RUN - 1)?).ok()?,
        _ if ino == 0 => return None,
        _ => {}
    }
    Some(match kind {
        BLOCKS if rest.is_empty() => Row::Blocks {
            first: ino * RUN,
            blocks: decode_blocks(ino * RUN, value)?,
        },
        USERS if value.is_empty() => {
            let (user, file_run) = user_of(rest)?;
            Row::Users {
                run: ino,
                ino: user,
                file_run,
            }
        }
        INODE if rest.is_empty() => {
            let (stored, inode) = decode_inode_row(ino, value)?;
            validate_inode(&inode).ok()?;
            Row::Inode { stored, inode }
        }
        DIRENT => {
            dirent_name(rest).ok()?;
            let (entry, cookie) = decode_dirent(value)?;
            Row::Dirent {
                parent: ino,
                name: rest,
                entry,
                cookie,
            }
        }
        COOKIE => {
            let (entry, name) = decode_listed(value)?;
            dirent_name(name).ok()?;
            Row::Listed {
                parent: ino,
                cookie: cookie_of(rest)?,
                name,
                entry,
            }
        }
        EXTENTS => {
            let run = run_of(rest)?;
            Row::Extents {
                ino,
                first: run * RUN,
                extents: decode_run(value)?,
            }
        }
        XATTR => {
            xattr(rest, value).ok()?;
            Row::Xattr { ino }
        }
        ORPHAN if rest.is_empty() => Row::Orphan { ino },
        _ => return None,
    })
}
