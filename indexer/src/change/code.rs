//! Changes in bytes: a code, then the fields. docs/FORMAT.md, "Transaction".

use super::malformed::Malformed;
use super::{Change, MAX_EXTENTS, decode_extents, decode_inode, encode_extents, encode_inode};
use crate::dictionary::DictionaryChange;
use crate::types::{BlockRef, Dirent, Kind};
use crate::wire::{Reader, put_bytes, put_varint};

const PUT_INODE: u8 = 1;
const DEL_INODE: u8 = 2;
const PUT_DIRENT: u8 = 3;
const DEL_DIRENT: u8 = 4;
const PUT_EXTENTS: u8 = 5;
const SWAP_BLOCK: u8 = 6;
const TRUNCATE_EXTENTS: u8 = 7;
const PUT_XATTR: u8 = 8;
const DEL_XATTR: u8 = 9;
const PUT_ORPHAN: u8 = 10;
const DEL_ORPHAN: u8 = 11;
const PUT_META: u8 = 12;
const PUNCH_EXTENTS: u8 = 13;
const COPY_EXTENTS: u8 = 14;
const MERGE_BLOCK: u8 = 15;

/// Appends the changes, one after the other.
pub(crate) fn encode_changes(out: &mut Vec<u8>, changes: &[Change]) {
    for change in changes {
        encode(out, change);
    }
}

fn encode(out: &mut Vec<u8>, change: &Change) {
    let mut head = |code: u8, number: u64| {
        out.push(code);
        put_varint(out, number);
    };
    match change {
        Change::PutInode(inode) => {
            head(PUT_INODE, inode.ino);
            encode_inode(out, inode);
        }
        Change::DelInode(ino) => head(DEL_INODE, *ino),
        Change::PutDirent { parent, name, entry } => {
            head(PUT_DIRENT, *parent);
            put_bytes(out, name);
            put_varint(out, entry.ino);
            out.push(entry.kind as u8);
        }
        Change::DelDirent { parent, name } => {
            head(DEL_DIRENT, *parent);
            put_bytes(out, name);
        }
        Change::PutExtents { ino, first, extents } => {
            head(PUT_EXTENTS, *ino);
            put_varint(out, *first);
            encode_extents(out, extents);
        }
        Change::CopyExtents {
            ino,
            first,
            from,
            from_first,
            count,
        } => {
            head(COPY_EXTENTS, *ino);
            for v in [first, from, from_first, count] {
                put_varint(out, *v);
            }
        }
        Change::SwapBlock {
            id,
            old,
            new,
            tag,
            reference,
            hint,
        } => {
            head(SWAP_BLOCK, *id);
            put_varint(out, *hint);
            out.push(*tag);
            put_varint(out, *reference);
            for v in [old.segment, old.offset, old.len, new.segment, new.offset, new.len] {
                put_varint(out, u64::from(v));
            }
        }
        Change::MergeBlock { id, into, hint } => {
            head(MERGE_BLOCK, *id);
            put_varint(out, *into);
            put_varint(out, *hint);
        }
        Change::TruncateExtents { ino, from } => {
            head(TRUNCATE_EXTENTS, *ino);
            put_varint(out, *from);
        }
        Change::PunchExtents { ino, from, end } => {
            head(PUNCH_EXTENTS, *ino);
            put_varint(out, *from);
            put_varint(out, *end);
        }
        Change::PutXattr { ino, name, value } => {
            head(PUT_XATTR, *ino);
            put_bytes(out, name);
            put_bytes(out, value);
        }
        Change::DelXattr { ino, name } => {
            head(DEL_XATTR, *ino);
            put_bytes(out, name);
        }
        Change::PutOrphan(ino) => head(PUT_ORPHAN, *ino),
        Change::DelOrphan(ino) => head(DEL_ORPHAN, *ino),
        Change::Dictionary(change) => change.encode(out),
        Change::PutMeta { key, value } => {
            out.push(PUT_META);
            put_bytes(out, key);
            put_bytes(out, value);
        }
    }
}

/// Reads changes up to the end of `bytes`, each of them valid.
pub(crate) fn decode_transaction(bytes: &[u8]) -> Result<Vec<Change>, Malformed> {
    let mut r = Reader::new(bytes);
    let mut out = Vec::new();
    let mut copied = 0;
    while !r.is_empty() {
        let at = bytes.len() - r.rest().len();
        let change = decode(&mut r).ok_or(Malformed::Nonsense { nth: out.len(), at })?;
        change.validate().and_then(|()| change.count_copied(&mut copied))?;
        out.push(change);
    }
    Ok(out)
}

fn decode(r: &mut Reader<'_>) -> Option<Change> {
    let code = r.u8()?;
    if code == PUT_META {
        let (key, value) = (r.bytes()?.to_vec(), r.bytes()?.to_vec());
        return Some(Change::PutMeta { key, value });
    }
    if DictionaryChange::has_code(code) {
        return DictionaryChange::decode(code, r).map(Change::Dictionary);
    }
    let ino = r.varint()?;
    Some(match code {
        PUT_INODE => Change::PutInode(decode_inode(r, ino)?),
        DEL_INODE => Change::DelInode(ino),
        PUT_DIRENT => {
            let name = r.bytes()?.to_vec();
            let entry = Dirent {
                ino: r.varint()?,
                kind: Kind::from_u8(r.u8()?)?,
            };
            Change::PutDirent {
                parent: ino,
                name,
                entry,
            }
        }
        DEL_DIRENT => Change::DelDirent {
            parent: ino,
            name: r.bytes()?.to_vec(),
        },
        PUT_EXTENTS => {
            let first = r.varint()?;
            let extents = decode_extents(r, MAX_EXTENTS)?;
            Change::PutExtents { ino, first, extents }
        }
        COPY_EXTENTS => Change::CopyExtents {
            ino,
            first: r.varint()?,
            from: r.varint()?,
            from_first: r.varint()?,
            count: r.varint()?,
        },
        SWAP_BLOCK => {
            let (hint, tag, reference) = (r.varint()?, r.u8()?, r.varint()?);
            let (old, new) = (decode_place(r)?, decode_place(r)?);
            Change::SwapBlock {
                id: ino,
                old,
                new,
                tag,
                reference,
                hint,
            }
        }
        MERGE_BLOCK => Change::MergeBlock {
            id: ino,
            into: r.varint()?,
            hint: r.varint()?,
        },
        TRUNCATE_EXTENTS => Change::TruncateExtents { ino, from: r.varint()? },
        PUNCH_EXTENTS => Change::PunchExtents {
            ino,
            from: r.varint()?,
            end: r.varint()?,
        },
        PUT_XATTR => Change::PutXattr {
            ino,
            name: r.bytes()?.to_vec(),
            value: r.bytes()?.to_vec(),
        },
        DEL_XATTR => Change::DelXattr {
            ino,
            name: r.bytes()?.to_vec(),
        },
        PUT_ORPHAN => Change::PutOrphan(ino),
        DEL_ORPHAN => Change::DelOrphan(ino),
        _ => return None,
    })
}

fn decode_place(r: &mut Reader<'_>) -> Option<BlockRef> {
    Some(BlockRef {
        segment: r.varint32()?,
        offset: r.varint32()?,
        len: r.varint32()?,
    })
}
