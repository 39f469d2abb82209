//! What can be wrong with a store folder, in words for its owner.

use std::io;
use std::path::{Path, PathBuf};

/// Why a store could not be made, opened or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing is there.
    #[error("{0} does not exist; make a store there with `lmfs init {0}`", .path.display())]
    Missing {
        /// Where a store was expected.
        path: PathBuf,
    },
    /// A folder, but not a store.
    #[error("{0} is not an lmfs store: it has no config.toml; make a store with `lmfs init`", .path.display())]
    NotAStore {
        /// The folder.
        path: PathBuf,
    },
    /// A store is already there.
    #[error(
        "{0} already holds a store; mount it with `lmfs mount {0} MOUNTPOINT`, or remove the folder first to start anew (its data would be lost)",
        .path.display()
    )]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// The folder is in use for something else.
    #[error("{0} is not empty and not a store (it holds '{entry}'); choose a new or an empty folder", .path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
        /// One of the names found in it.
        entry: String,
    },
    /// Made by a newer lmfs.
    #[error(
        "{0} has store format {found}; this lmfs ({version}) reads formats 1 to {supported}; use a newer lmfs",
        .path.display(), version = env!("CARGO_PKG_VERSION")
    )]
    NewerFormat {
        /// The config file.
        path: PathBuf,
        /// The format it names.
        found: u64,
        /// The newest format this program knows.
        supported: u32,
    },
    /// config.toml cannot be used.
    #[error("{0} is damaged: {reason}; `lmfs rebuild` restores it from the log", .path.display())]
    BadConfig {
        /// The config file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// Another process uses the store.
    #[error("{0} is in use by process {pid}{what}", .path.display())]
    InUse {
        /// The store.
        path: PathBuf,
        /// The process that holds the lock; 0 if it did not say.
        pid: u32,
        /// ` (its purpose)`, or nothing.
        what: String,
    },
    /// Something in the store is a symbolic link.
    #[error("{0} is a symbolic link; lmfs follows none inside a store: replace it with what it points to", .path.display())]
    Symlink {
        /// The link.
        path: PathBuf,
    },
    /// The model cannot be used.
    #[error(transparent)]
    Codec(#[from] lmfs_codec::Error),
    /// The system refused.
    #[error("cannot {action} {0}: {source}", .path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// The result of working with a store folder.
pub type Result<T> = std::result::Result<T, Error>;

/// Names an IO error's action and path: `.map_err(at("read", path))`.
pub(super) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io {
        action,
        path,
        source,
    }
}
