//! Changes of the tree, and transactions of them as they lie in the log.

use crate::dictionary::DictionaryChange;
use crate::invalid_change::InvalidChange;
use crate::limits::{MAX_COPIED, MAX_COPIED_TOGETHER, MAX_EXTENTS};
use crate::types::{BlockRef, Dirent, Extent, Inode, MAX_NAME, MAX_TARGET, MAX_XATTR};

mod code;
mod extents;
mod inode;
mod malformed;

pub(crate) use code::{decode_transaction, encode_changes};
pub(crate) use extents::{decode_extents, encode_extents};
pub(crate) use inode::{decode_inode, encode_inode};
pub(crate) use malformed::Malformed;

/// Longest key of a meta row.
const MAX_META_KEY: usize = 255;

/// One step of a transaction. The steps of a transaction are applied in order, all or none of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Makes or replaces an inode; its extents and attributes stay.
    PutInode(Inode),
    /// Deletes an inode with its extents, its extended attributes and its orphan mark.
    DelInode(u64),
    /// Makes or replaces a directory entry.
    PutDirent {
        /// The directory.
        parent: u64,
        /// 1 to 255 bytes, no NUL, no '/', not "." or "..".
        name: Vec<u8>,
        /// What the name points to.
        entry: Dirent,
    },
    /// Deletes a directory entry; an absent one is no error.
    DelDirent {
        /// The directory.
        parent: u64,
        /// The name.
        name: Vec<u8>,
    },
    /// Replaces the extents of blocks `first..first + extents.len()`; None makes a hole.
    PutExtents {
        /// The file, which must exist when the transaction is done.
        ino: u64,
        /// Number of the first block.
        first: u64,
        /// One per block. Of a stored block that is in use already, only the number and `raw_len` count.
        extents: Vec<Option<Extent>>,
    },
    /// Replaces the extents of blocks `first..first + count` by those of another file, or another part of it, as they
    /// are then: both share the stored blocks.
    CopyExtents {
        /// The file, which must exist when the transaction is done.
        ino: u64,
        /// Number of its first block.
        first: u64,
        /// The file to copy from.
        from: u64,
        /// Number of the first block there.
        from_first: u64,
        /// How many blocks, 1 to [`MAX_COPIED`].
        count: u64,
    },
    /// Says where the bytes of a stored block lie from now on, if they still lie at `old`, for all who use it;
    /// otherwise does nothing and reports it. They may be coded anew.
    SwapBlock {
        /// Number of the stored block.
        id: u64,
        /// Where its bytes must lie now.
        old: BlockRef,
        /// Where they lie then.
        new: BlockRef,
        /// The tag that it gets.
        tag: u8,
        /// The stored block whose contents are needed to decode the new bytes, or 0. It must be in use, and stays in
        /// use for as long as something refers to it. A stored block that others refer to gets no new reference, and
        /// none gets one that makes a chain of more than [`MAX_CHAIN`](crate::MAX_CHAIN) or of too many bytes
        /// ([`MAX_CHAIN_BYTES`](crate::MAX_CHAIN_BYTES)): then nothing is done.
        reference: u64,
        /// A file that is known to use it, or 0: it saves looking for all that do, if it is the only one.
        hint: u64,
    },
    /// All who use one stored block use another one instead, which has the same contents; does nothing and reports it
    /// if one of them is not in use any more.
    MergeBlock {
        /// Number of the stored block that goes.
        id: u64,
        /// Number of the one that stays.
        into: u64,
        /// As in [`Change::SwapBlock`].
        hint: u64,
    },
    /// Drops all extents from block `from` on.
    TruncateExtents {
        /// The file.
        ino: u64,
        /// First block dropped.
        from: u64,
    },
    /// Drops all extents from block `from` to before block `end`: however large, a hole is one change.
    PunchExtents {
        /// The file.
        ino: u64,
        /// First block dropped.
        from: u64,
        /// First block after it that stays.
        end: u64,
    },
    /// Sets an extended attribute.
    PutXattr {
        /// The inode.
        ino: u64,
        /// 1 to 255 bytes, no NUL.
        name: Vec<u8>,
        /// At most 64 KiB.
        value: Vec<u8>,
    },
    /// Removes an extended attribute; an absent one is no error.
    DelXattr {
        /// The inode.
        ino: u64,
        /// The name.
        name: Vec<u8>,
    },
    /// Marks an inode that has no name left but is still open: deleted when the store is next opened.
    PutOrphan(u64),
    /// Takes the mark away.
    DelOrphan(u64),
    /// Makes, moves or deletes a dictionary.
    Dictionary(DictionaryChange),
    /// Sets a small value of the caller's; an empty one deletes it.
    PutMeta {
        /// 1 to 255 bytes.
        key: Vec<u8>,
        /// At most 64 KiB.
        value: Vec<u8>,
    },
}

impl Change {
    /// Adds to the number of blocks that the changes of a transaction copy, and refuses too many.
    pub(crate) fn count_copied(&self, copied: &mut u64) -> Result<(), InvalidChange> {
        if let Self::CopyExtents { count, .. } = self {
            *copied = copied.saturating_add(*count);
        }
        if *copied > MAX_COPIED_TOGETHER {
            return Err(InvalidChange::CopiedTogether);
        }
        Ok(())
    }

    /// Refuses what no filesystem may hold; the same rules hold for what comes from the disk.
    pub(crate) fn validate(&self) -> Result<(), InvalidChange> {
        match self {
            Self::PutInode(inode) => validate_inode(inode),
            Self::DelInode(ino) | Self::PutOrphan(ino) | Self::DelOrphan(ino) => number(*ino),
            Self::PutDirent { parent, name, entry } => {
                number(*parent)?;
                number(entry.ino)?;
                dirent_name(name)
            }
            Self::DelDirent { parent, name } => number(*parent).and(dirent_name(name)),
            Self::PutExtents { ino, first, extents } => {
                number(*ino)?;
                if extents.len() > MAX_EXTENTS {
                    return Err(InvalidChange::Extents(extents.len()));
                }
                extents.iter().flatten().try_for_each(|e| block_id(e.id))?;
                range(*first, extents.len() as u64)
            }
            Self::CopyExtents {
                ino,
                first,
                from,
                from_first,
                count,
            } => {
                number(*ino)?;
                number(*from)?;
                if *count == 0 || *count > MAX_COPIED {
                    return Err(InvalidChange::Copied(*count));
                }
                range(*first, *count)?;
                range(*from_first, *count)
            }
            Self::SwapBlock { id, reference: 0, .. } => block_id(*id),
            Self::SwapBlock { id, reference, .. } => block_id(*id).and(block_id(*reference)),
            Self::MergeBlock { id, into, .. } => {
                block_id(*id)?;
                block_id(*into)
            }
            Self::TruncateExtents { ino, .. } => number(*ino),
            Self::PunchExtents { ino, from, end } if from < end => number(*ino).and(block_number(*end)),
            Self::PunchExtents { .. } => Err(InvalidChange::EmptyHole),
            Self::PutXattr { ino, name, value } => {
                number(*ino)?;
                xattr(name, value)
            }
            Self::DelXattr { ino, name } => number(*ino).and(xattr_name(name)),
            Self::Dictionary(change) => change.validate(),
            Self::PutMeta { key, value } => meta(key, value),
        }
    }
}

pub(crate) fn validate_inode(inode: &Inode) -> Result<(), InvalidChange> {
    number(inode.ino)?;
    length("the target of a symbolic link", inode.target.len(), MAX_TARGET)?;
    if inode.perm > 0o7777 {
        return Err(InvalidChange::Permissions {
            perm: inode.perm,
            ino: inode.ino,
        });
    }
    if [inode.atime, inode.mtime, inode.ctime, inode.crtime]
        .iter()
        .any(|t| t.nanos >= 1_000_000_000)
    {
        return Err(InvalidChange::Nanoseconds(inode.ino));
    }
    if inode.size > i64::MAX as u64 {
        return Err(InvalidChange::Size {
            size: inode.size,
            ino: inode.ino,
        });
    }
    Ok(())
}

/// Numbers are given out one after another: one beyond 2^63 was never reached, and there has to be a next one.
fn number(ino: u64) -> Result<(), InvalidChange> {
    if ino == 0 || ino > i64::MAX as u64 {
        Err(InvalidChange::InodeNumber(ino))
    } else {
        Ok(())
    }
}

/// Files end at 2^63 bytes and blocks have a byte at least.
fn block_number(block: u64) -> Result<(), InvalidChange> {
    if block > i64::MAX as u64 {
        Err(InvalidChange::BlockNumber(block))
    } else {
        Ok(())
    }
}

/// Blocks from `first` on, `count` of them.
fn range(first: u64, count: u64) -> Result<(), InvalidChange> {
    match first.checked_add(count) {
        Some(end) => block_number(end),
        None => Err(InvalidChange::BlockOverflow),
    }
}

/// As inodes, stored blocks are numbered one after another.
pub(crate) fn block_id(id: u64) -> Result<(), InvalidChange> {
    if id == 0 || id > i64::MAX as u64 {
        Err(InvalidChange::StoredBlock(id))
    } else {
        Ok(())
    }
}

fn length(what: &'static str, len: usize, max: usize) -> Result<(), InvalidChange> {
    if len > max {
        Err(InvalidChange::Length { what, len, max })
    } else {
        Ok(())
    }
}

/// A name that may stand in a directory.
pub(crate) fn dirent_name(name: &[u8]) -> Result<(), InvalidChange> {
    if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') || name.contains(&0) {
        return Err(InvalidChange::Name(String::from_utf8_lossy(name).into_owned()));
    }
    length("a name", name.len(), MAX_NAME)
}

/// An extended attribute.
pub(crate) fn xattr(name: &[u8], value: &[u8]) -> Result<(), InvalidChange> {
    xattr_name(name)?;
    length("an extended attribute", value.len(), MAX_XATTR)
}

/// Something that the caller keeps in the index.
pub(crate) fn meta(key: &[u8], value: &[u8]) -> Result<(), InvalidChange> {
    if key.is_empty() {
        return Err(InvalidChange::EmptyMetaKey);
    }
    length("a meta key", key.len(), MAX_META_KEY)?;
    length("a meta value", value.len(), MAX_XATTR)
}

fn xattr_name(name: &[u8]) -> Result<(), InvalidChange> {
    if name.is_empty() || name.contains(&0) {
        return Err(InvalidChange::XattrName(String::from_utf8_lossy(name).into_owned()));
    }
    length("a name", name.len(), MAX_NAME)
}
