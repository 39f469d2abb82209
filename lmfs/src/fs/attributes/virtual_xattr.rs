//! `user.lmfs.*`: what the command line tools ask a mounted filesystem. Answered by getxattr alone, never listed.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;

use lmfs_indexer::Kind;
use serde::{Deserialize, Serialize};

use super::Attributes;
use crate::fs::error::{Errno, Error, Result};
use crate::fs::types::ROOT;
use crate::store::{Tag, dictionaries};
use crate::task::yield_now;

/// Extents looked at at a time.
const PAGE: u64 = 1024;

/// Names that the filesystem answers itself.
const RESERVED: &[u8] = b"user.lmfs.";

/// How a file is stored, as JSON: [`FileStat`].
pub const STAT: &str = "user.lmfs.stat";
/// Of the root: the store's folder.
pub const STORE: &str = "user.lmfs.store";
/// Of the root: where it is mounted.
pub const MOUNTPOINT: &str = "user.lmfs.mountpoint";
/// Of the root: the daemon's process.
pub const PID: &str = "user.lmfs.pid";

/// The answer to [`STAT`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStat {
    /// Inode number.
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    /// Bytes that the blocks take in the store.
    pub stored: u64,
    /// Of these, bytes of blocks that other places have, too, in this file or in others: they are stored once.
    #[serde(default)]
    pub shared: u64,
    /// Written bytes in memory.
    pub dirty: u64,
    /// Blocks by method; what is not counted is holes.
    pub blocks: BTreeMap<String, u64>,
    /// Blocks that wait for the packer.
    pub waiting: u64,
    /// Blocks behind a dictionary that the store learned, by its id.
    #[serde(default)]
    pub dictionaries: BTreeMap<String, u64>,
    /// Blocks that are coded behind others, similar ones or a solid head.
    #[serde(default)]
    pub references: u64,
}

/// Whether an extended attribute is one that is made on the spot, which may take a while.
pub fn is_virtual(name: &[u8]) -> bool {
    name.starts_with(RESERVED)
}

impl Attributes {
    /// The value of an attribute that is made on the spot.
    ///
    /// # Errors
    /// ENODATA; as for [`Attributes::file_stat`].
    pub async fn virtual_xattr(&self, ino: u64, name: &[u8]) -> Result<Vec<u8>> {
        // A name that is no text is none of these.
        let Ok(name) = std::str::from_utf8(name) else {
            return Err(Error::new(Errno::NODATA, "no such attribute"));
        };
        match name {
            STAT => {
                let stat = self.file_stat(ino).await?;
                serde_json::to_vec(&stat).map_err(|error| Error::with(Errno::IO, error.to_string()))
            }
            STORE if ino == ROOT => Ok(self.store_path.as_os_str().as_bytes().to_vec()),
            MOUNTPOINT if ino == ROOT => Ok(self.mountpoint.as_os_str().as_bytes().to_vec()),
            PID if ino == ROOT => Ok(std::process::id().to_string().into_bytes()),
            _ => Err(Error::new(Errno::NODATA, "no such attribute")),
        }
    }

    /// How a file is stored. Looks at every extent, and gives way to others between.
    ///
    /// # Errors
    /// ESTALE; what the store reports.
    pub async fn file_stat(&self, ino: u64) -> Result<FileStat> {
        let attr = self.getattr(ino)?;
        let mut stat = FileStat {
            ino,
            size: attr.size,
            ..FileStat::default()
        };
        if attr.kind != Kind::File {
            return Ok(stat);
        }
        stat.stored = self.store().stored_bytes(ino)?;
        stat.dirty = self.inodes.held(ino).map_or(0, |node| node.lock().dirty.bytes());
        let known = dictionaries::shown(self.store())?;
        let end = attr.size.div_ceil(u64::from(self.block_size));
        let mut from = 0;
        while let Some(first) = self.store().next_extent(ino, from)?.filter(|first| *first < end) {
            from = end.min(first + PAGE);
            for extent in self.store().extents(ino, first..from)?.into_iter().flatten() {
                let stored = self.store().stored_block(extent.id)?;
                if stored.is_some_and(|stored| stored.users > 1) {
                    stat.shared += u64::from(extent.location.len);
                }
                stat.references += u64::from(stored.is_some_and(|stored| stored.reference != 0));
                let tag = Tag(extent.tag);
                let method = tag.method().map_or("unknown", lmfs_codec::Method::name);
                *stat.blocks.entry(method.to_owned()).or_default() += 1;
                stat.waiting += u64::from(tag.needs_packing());
                if let Some(slot) = tag.slot() {
                    let named = known.iter().find(|(found, _)| *found == Some(slot));
                    let id = named.map_or("unknown", |(_, shown)| &shown.id);
                    *stat.dictionaries.entry(id.to_owned()).or_default() += 1;
                }
            }
            yield_now().await;
        }
        Ok(stat)
    }
}
