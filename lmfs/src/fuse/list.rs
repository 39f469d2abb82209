//! Directory listings: names alone, or names with attributes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use fuser::{INodeNo, ReplyDirectory, ReplyDirectoryPlus};

use super::answer::{guarded, refuse};
use super::convert::{file_attr, file_type, generation};
use super::reply::ttl;
use crate::fs::{Errno, Filesystem};

/// Lists names from `offset` on, as many as fit into the reply.
pub fn names(fs: &Filesystem, fh: u64, offset: u64, mut reply: ReplyDirectory) {
    let list = || {
        fs.readdir(fh, offset, |entry| {
            let name = OsStr::from_bytes(&entry.name);
            !reply.add(INodeNo(entry.ino), entry.offset, file_type(entry.kind), name)
        })
    };
    match guarded(fs, "readdir", list) {
        Ok(()) => reply.ok(),
        Err(error) => refuse("readdir", reply, &error),
    }
}

/// Lists names with attributes from `offset` on, as many as fit into the reply.
pub fn names_with_attributes(fs: &Filesystem, fh: u64, offset: u64, mut reply: ReplyDirectoryPlus) {
    let list = || {
        let mut failed = None;
        let listed = fs.readdir(fh, offset, |entry| match fs.getattr(entry.ino) {
            Ok(attr) => {
                let name = OsStr::from_bytes(&entry.name);
                !reply.add(
                    INodeNo(entry.ino),
                    entry.offset,
                    name,
                    ttl(),
                    &file_attr(&attr),
                    generation(&attr),
                )
            }
            // It was removed in the moment.
            Err(error) if error.errno == Errno::STALE => true,
            Err(error) => {
                failed = Some(error);
                false
            }
        });
        listed.and(failed.map_or(Ok(()), Err))
    };
    match guarded(fs, "readdirplus", list) {
        Ok(()) => reply.ok(),
        Err(error) => refuse("readdirplus", reply, &error),
    }
}
