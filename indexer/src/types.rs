//! The rows of a filesystem: inodes, directory entries, extents, and where a block lies.

/// Number of the root directory.
pub const ROOT_INO: u64 = 1;

/// Longest name of a directory entry or extended attribute, in bytes (NAME_MAX, XATTR_NAME_MAX).
pub const MAX_NAME: usize = 255;

/// Longest target of a symbolic link, in bytes (PATH_MAX without its NUL).
pub const MAX_TARGET: usize = 4095;

/// Longest value of an extended attribute, in bytes (XATTR_SIZE_MAX).
pub const MAX_XATTR: usize = 65536;

/// Most stored blocks that are needed to decode another one: it refers to one, which refers to the next, and so on.
pub const MAX_CHAIN: usize = 24;

/// Most bytes that these decode to, if they are more than one: a reader waits for all of them.
pub const MAX_CHAIN_BYTES: u64 = 512 << 10;

/// Whether another stored block may need so many of them, which decode to `bytes`.
pub const fn chain_fits(blocks: usize, bytes: u64) -> bool {
    blocks <= MAX_CHAIN && (blocks <= 1 || bytes <= MAX_CHAIN_BYTES)
}

/// Where a block's bytes lie in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockRef {
    /// Number of the segment file.
    pub segment: u32,
    /// Offset of the block's record in the segment, in bytes.
    pub offset: u32,
    /// Length of the block's bytes, without the record around them.
    pub len: u32,
}

/// One block of a file: which stored block it is, and what the index knows of that. A block without an extent is a
/// hole. Any number of extents, of one file or of many, may name one stored block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Extent {
    /// Number of the stored block, never 0. What a stored block decodes to never changes, wherever and however it is
    /// stored.
    pub id: u64,
    /// Where it lies.
    pub location: BlockRef,
    /// Meaning left to the caller; [`crate::Totals`] counts by it.
    pub tag: u8,
    /// Bytes that count: all that the block decodes to, or fewer after a truncate.
    pub raw_len: u32,
    /// The caller's digest of what the block decodes to, by which equal blocks are found; 0: not known.
    pub digest: u32,
}

impl Extent {
    /// The extent of a stored block that was just appended, of which all `raw_len` bytes count.
    pub fn new((id, location): (u64, BlockRef), tag: u8, raw_len: u32) -> Self {
        Self {
            id,
            location,
            tag,
            raw_len,
            digest: 0,
        }
    }

    /// The same with a digest of what it decodes to.
    #[must_use]
    pub fn with_digest(self, digest: u32) -> Self {
        Self { digest, ..self }
    }
}

/// A stored block, which one or more blocks of files name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredBlock {
    /// Where its bytes lie.
    pub location: BlockRef,
    /// Meaning left to the caller.
    pub tag: u8,
    /// Bytes that it decodes to.
    pub raw_len: u32,
    /// The caller's digest of what it decodes to; 0: not known.
    pub digest: u32,
    /// Blocks of files that name it; none only if other stored blocks refer to it.
    pub users: u64,
    /// Number of the stored block that it refers to, whose contents are needed to decode it; 0: none.
    pub reference: u64,
    /// Stored blocks that refer to it. It is in use for as long as there are any.
    pub referrers: u64,
}

impl StoredBlock {
    /// The extent that names it as number `id`, with all that it decodes to.
    pub fn extent(&self, id: u64) -> Extent {
        Extent {
            id,
            location: self.location,
            tag: self.tag,
            raw_len: self.raw_len,
            digest: self.digest,
        }
    }
}

/// What an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// Regular file.
    File = 1,
    /// Directory.
    Directory = 2,
    /// Symbolic link.
    Symlink = 3,
    /// Named pipe.
    Fifo = 4,
    /// Unix domain socket.
    Socket = 5,
    /// Character device.
    CharDevice = 6,
    /// Block device.
    BlockDevice = 7,
}

impl Kind {
    /// The kind with this number, as it stands in the log.
    pub(crate) fn from_u8(v: u8) -> Option<Self> {
        Some(match v {
            1 => Self::File,
            2 => Self::Directory,
            3 => Self::Symlink,
            4 => Self::Fifo,
            5 => Self::Socket,
            6 => Self::CharDevice,
            7 => Self::BlockDevice,
            _ => return None,
        })
    }
}

/// A point in time, before or after 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Time {
    /// Seconds since 1970-01-01 UTC, rounded down.
    pub secs: i64,
    /// Nanoseconds after `secs`, below 1,000,000,000.
    pub nanos: u32,
}

/// A file of any kind, without its name and contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inode {
    /// Number, never 0; [`ROOT_INO`] is the root directory.
    pub ino: u64,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, 07777.
    pub perm: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device file, else 0.
    pub rdev: u64,
    /// Hard links; a directory counts its "." and its children's "..".
    pub nlink: u32,
    /// Bytes of a file, or length of a symbolic link's target.
    pub size: u64,
    /// Last access.
    pub atime: Time,
    /// Last change of the contents.
    pub mtime: Time,
    /// Last change of the inode.
    pub ctime: Time,
    /// Birth.
    pub crtime: Time,
    /// Parent of a directory (what ".." means), else 0.
    pub parent: u64,
    /// Target of a symbolic link, else empty.
    pub target: Vec<u8>,
}

impl Inode {
    /// A new and empty one that belongs to root, with one name. A directory lies in the root directory until its
    /// [`parent`](Inode::parent) is set.
    #[must_use]
    pub fn new(ino: u64, kind: Kind, perm: u32, time: Time) -> Inode {
        let directory = kind == Kind::Directory;
        Inode {
            ino,
            kind,
            perm,
            uid: 0,
            gid: 0,
            rdev: 0,
            nlink: if directory { 2 } else { 1 },
            size: 0,
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            parent: if directory { ROOT_INO } else { 0 },
            target: Vec::new(),
        }
    }
}

/// A name in a directory points to this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dirent {
    /// The inode.
    pub ino: u64,
    /// Its kind, so that listing a directory needs no inode.
    pub kind: Kind,
}

/// Where an entry stands in the listings of its directory. Listings are in the order of cookies, which is the order in
/// which names were made. An entry keeps its cookie for as long as its name exists, whatever it points to, and no other
/// entry of the store ever gets it.
///
/// It is the number of the transaction that made the name, and of the name within the transaction. So it needs no bytes
/// in the log, and an index made anew has the same ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cookie(pub u64);

impl Cookie {
    /// Before all entries.
    pub const START: Cookie = Cookie(0);

    /// Bits of the name's number within its transaction.
    const NUMBER_BITS: u32 = 16;

    /// The cookie of a name; None if its numbers are too large. A cookie is below 2^63, as lseek(2) wants.
    pub(crate) fn new(seq: u64, number: u64) -> Option<Cookie> {
        let fits = number >> Self::NUMBER_BITS == 0 && seq >> (63 - Self::NUMBER_BITS) == 0;
        let cookie = Cookie(seq << Self::NUMBER_BITS | number);
        (fits && cookie.is_possible()).then_some(cookie)
    }

    /// The greatest cookie that the transactions up to `seq` can have given.
    pub(crate) fn last_of(seq: u64) -> Cookie {
        let end = seq.saturating_add(1).saturating_mul(1 << Self::NUMBER_BITS);
        Cookie(end.min(1 << 63) - 1)
    }

    /// The numbers of the transaction and of the name within it.
    pub(crate) fn parts(self) -> (u64, u64) {
        let number = self.0 & ((1 << Self::NUMBER_BITS) - 1);
        (self.0 >> Self::NUMBER_BITS, number)
    }

    /// Whether an entry can have it: transactions are numbered from 1.
    pub(crate) fn is_possible(self) -> bool {
        self.0 >> Self::NUMBER_BITS > 0 && self.0 >> 63 == 0
    }
}

/// One entry of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Where it stands; listing goes on after it.
    pub cookie: Cookie,
    /// Its name.
    pub name: Vec<u8>,
    /// What the name points to.
    pub entry: Dirent,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_ordered_by_transaction_and_name_and_fit_lseek() {
        let cookie = |seq, number| Cookie::new(seq, number);
        assert_eq!(cookie(0, 7), None, "there is no transaction 0");
        assert_eq!(cookie(1, 1 << 16), None);
        assert_eq!(cookie(1 << 47, 0), None);
        let last = cookie((1 << 47) - 1, 65_535);
        assert_eq!(last, Some(Cookie(i64::MAX as u64)));
        assert!(cookie(1, 65_535) < cookie(2, 0) && cookie(2, 0) < cookie(2, 1));
        assert_eq!(cookie(5, 9).map(Cookie::parts), Some((5, 9)));
        assert_eq!(Some(Cookie::last_of(1)), cookie(1, 65_535));
        assert_eq!(Some(Cookie::last_of(u64::MAX)), last);
    }
}
