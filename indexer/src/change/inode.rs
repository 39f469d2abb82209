//! An inode in bytes: about 20 for an ordinary file. docs/FORMAT.md, "Inode".

use crate::types::{Inode, Kind, Time};
use crate::wire::{Reader, put_bytes, put_signed, put_varint};

const SAME_ATIME: u8 = 1 << 3;
const SAME_MTIME: u8 = 1 << 4;
const SAME_CRTIME: u8 = 1 << 5;
const HAS_RDEV: u8 = 1 << 6;
const ONE_LINK: u8 = 1 << 7;

/// Appends everything but the number. Times that equal ctime cost nothing, others their distance from it.
pub(crate) fn encode_inode(out: &mut Vec<u8>, inode: &Inode) {
    let mut flags = inode.kind as u8;
    let mut set = |on: bool, flag: u8| flags |= if on { flag } else { 0 };
    set(inode.atime == inode.ctime, SAME_ATIME);
    set(inode.mtime == inode.ctime, SAME_MTIME);
    set(inode.crtime == inode.ctime, SAME_CRTIME);
    set(inode.rdev != 0, HAS_RDEV);
    set(inode.nlink == 1, ONE_LINK);
    out.push(flags);
    put_varint(out, u64::from(inode.perm));
    put_varint(out, u64::from(inode.uid));
    put_varint(out, u64::from(inode.gid));
    put_varint(out, inode.size);
    put_time(out, inode.ctime, 0);
    for time in [inode.atime, inode.mtime, inode.crtime] {
        if time != inode.ctime {
            put_time(out, time, inode.ctime.secs);
        }
    }
    if inode.rdev != 0 {
        put_varint(out, inode.rdev);
    }
    if inode.nlink != 1 {
        put_varint(out, u64::from(inode.nlink));
    }
    match inode.kind {
        Kind::Directory => put_varint(out, inode.parent),
        Kind::Symlink => put_bytes(out, &inode.target),
        _ => {}
    }
}

/// Reads what [`encode_inode`] wrote.
pub(crate) fn decode_inode(r: &mut Reader<'_>, ino: u64) -> Option<Inode> {
    let flags = r.u8()?;
    let kind = Kind::from_u8(flags & 7)?;
    let perm = r.varint32()?;
    let uid = r.varint32()?;
    let gid = r.varint32()?;
    let size = r.varint()?;
    let ctime = get_time(r, 0)?;
    let mut time = |same: u8| {
        if flags & same != 0 {
            Some(ctime)
        } else {
            get_time(r, ctime.secs)
        }
    };
    let (atime, mtime, crtime) = (time(SAME_ATIME)?, time(SAME_MTIME)?, time(SAME_CRTIME)?);
    let rdev = if flags & HAS_RDEV != 0 { r.varint()? } else { 0 };
    let nlink = if flags & ONE_LINK != 0 { 1 } else { r.varint32()? };
    let parent = if kind == Kind::Directory { r.varint()? } else { 0 };
    let target = if kind == Kind::Symlink {
        r.bytes()?.to_vec()
    } else {
        Vec::new()
    };
    Some(Inode {
        ino,
        kind,
        perm,
        uid,
        gid,
        rdev,
        nlink,
        size,
        atime,
        mtime,
        ctime,
        crtime,
        parent,
        target,
    })
}

fn put_time(out: &mut Vec<u8>, time: Time, base: i64) {
    put_signed(out, time.secs.wrapping_sub(base));
    put_varint(out, u64::from(time.nanos));
}

fn get_time(r: &mut Reader<'_>, base: i64) -> Option<Time> {
    let secs = r.signed()?.wrapping_add(base);
    Some(Time {
        secs,
        nanos: r.varint32()?,
    })
}
