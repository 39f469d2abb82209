//! What can go wrong, in words that say where and what to do.

use std::io;

use crate::invalid_change::InvalidChange;

/// The result of everything that can fail in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of the log or its index.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operation on a file of the store failed.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was attempted: "read", "write", "sync" ...
        what: &'static str,
        /// The file, relative to the store.
        path: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The disk is full. Nothing was changed; the same call succeeds when there is room again.
    #[error("no space left for {what} ({path}): free some space and try again")]
    NoSpace {
        /// What could not be written.
        what: &'static str,
        /// The file, relative to the store.
        path: String,
    },
    /// The folder holds no store.
    #[error("not a store: {0}")]
    NotAStore(String),
    /// The folder holds a store already.
    #[error("there is a store here already: {0}")]
    AlreadyAStore(String),
    /// The store was written by a newer version.
    #[error("{path} has format version {found}, this program reads up to {known}: use a newer lmfs")]
    NewerFormat {
        /// The file with the unknown version.
        path: String,
        /// Its version.
        found: u16,
        /// The newest version known here.
        known: u16,
    },
    /// A block cannot be given back as it was stored. Only this block is affected.
    #[error("damaged block in segment {segment:08x} at offset {offset}{}: {why}", owner(.ino, .block))]
    Damaged {
        /// Segment the block lies in.
        segment: u32,
        /// Offset of the record in the segment.
        offset: u32,
        /// Inode the block belongs to, where known.
        ino: Option<u64>,
        /// Block number in that file, where known.
        block: Option<u64>,
        /// What is wrong.
        why: String,
    },
    /// The block was moved by garbage collection: look its extent up again and retry.
    #[error("segment {segment:08x} is gone: the block was moved, look its extent up again")]
    Moved {
        /// The segment that was deleted.
        segment: u32,
    },
    /// Transactions are missing or damaged, so the tree they made cannot be trusted.
    #[error(
        "the log is damaged at segment {segment:08x}, offset {offset}: {why}. Nothing was changed. Restore that segment from a backup, or open the store read-only to read what is left"
    )]
    LogDamaged {
        /// Segment of the damage.
        segment: u32,
        /// Offset of the damage.
        offset: u64,
        /// What is wrong.
        why: String,
    },
    /// A transaction asks for something no filesystem may hold.
    #[error("refused change: {0}")]
    InvalidChange(#[from] InvalidChange),
    /// No store can be opened or made with this option.
    #[error("not possible: {0}")]
    InvalidOption(String),
    /// The store is open for reading only.
    #[error("the store is open for reading only")]
    ReadOnly,
    /// An earlier sync failed: what the disk holds is unknown, so nothing more is written.
    #[error(
        "writing stopped after a failed sync ({0}): unmount, check the disk and open the store again; all that was synced before is safe"
    )]
    WritesFailed(String),
    /// The store's files were moved, replaced or changed by somebody else while it was open, so nothing more is
    /// written.
    #[error(
        "writing stopped, because the store was changed by somebody else ({0}): nothing more can be stored. Copy what you need out of the mount, unmount, and look what became of the store before you use it again"
    )]
    Replaced(String),
    /// Another process writes to the same files.
    #[error("{0} is being written to by another process: a copy of this store with hard links may be mounted")]
    InUse(String),
    /// The index gave an answer that cannot be right.
    #[error("the index is not usable ({0}): it will be rebuilt from the log when the store is opened again")]
    Index(String),
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}

fn owner(ino: &Option<u64>, block: &Option<u64>) -> String {
    match (ino, block) {
        (Some(ino), Some(block)) => format!(" (inode {ino}, block {block})"),
        _ => String::new(),
    }
}

impl Error {
    /// Wraps what the system said, telling a full disk, or a limit of room or file size, from everything else.
    pub(crate) fn io(what: &'static str, path: &str, source: io::Error) -> Self {
        let full = matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        );
        let path = path.to_owned();
        if full {
            Self::NoSpace { what, path }
        } else {
            Self::Io { what, path, source }
        }
    }
}
