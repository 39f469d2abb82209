//! What can be wrong with a store folder, in words for its owner.

use std::io;
use std::path::{Path, PathBuf};

/// Why a store could not be made, opened or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing is there.
    #[error("{path} does not exist; make a store there with `lmfs init {path}`")]
    Missing {
        /// Where a store was expected.
        path: PathBuf,
    },
    /// A URL where only a folder will do.
    #[error("{path} is a URL, and this command works on a store in a folder; `lmfs clone` fetches one from a bucket")]
    Url {
        /// What was named.
        path: PathBuf,
    },
    /// What `lmfs push` made of a store.
    #[error(
        "{path} holds a store that `lmfs push` keeps there; mount it by its URL, `file://` and the absolute path, or fetch it with `lmfs clone`"
    )]
    Pushed {
        /// The folder.
        path: PathBuf,
    },
    /// A folder, but not a store.
    #[error("{path} is not an lmfs store: it has no config.toml; make a store with `lmfs init`")]
    NotAStore {
        /// The folder.
        path: PathBuf,
    },
    /// A store is already there.
    #[error(
        "{path} already holds a store; mount it with `lmfs mount {path} MOUNTPOINT`, or remove the folder first to start anew (its data would be lost)"
    )]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// The folder is in use for something else.
    #[error("{path} is not empty and not a store (it holds '{entry}'); choose a new or an empty folder")]
    NotEmpty {
        /// The folder.
        path: PathBuf,
        /// One of the names found in it.
        entry: String,
    },
    /// Made by a newer lmfs.
    #[error(
        "{path} has store format {found}; this lmfs ({version}) reads formats 1 to {supported}; use a newer lmfs", version = env!("CARGO_PKG_VERSION")
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
    #[error("{path} is damaged: {reason}; `lmfs rebuild` restores it from the log")]
    BadConfig {
        /// The config file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// Another process uses the store.
    #[error("{path} is in use by {who}{what}", who = if *pid > 0 { format!("process {pid}") } else { "another process".to_owned() })]
    InUse {
        /// The store.
        path: PathBuf,
        /// The process that holds the lock; 0 if it did not say.
        pid: u32,
        /// ` (its purpose)`, or nothing.
        what: String,
    },
    /// It can only be read.
    #[error(
        "{path} cannot be written to (its filesystem is read-only, or you may not); what is in it can be read with `lmfs mount -o ro`"
    )]
    ReadOnly {
        /// The store.
        path: PathBuf,
    },
    /// Something in the store is a symbolic link.
    #[error("{path} is a symbolic link; lmfs follows none inside a store: replace it with what it points to")]
    Symlink {
        /// The link.
        path: PathBuf,
    },
    /// The model cannot be used.
    #[error(transparent)]
    Codec(#[from] lmfs_codec::Error),
    /// The log or the index cannot be used.
    #[error("{path}: {source}")]
    Indexer {
        /// The store.
        path: PathBuf,
        /// Why.
        source: lmfs_indexer::Error,
    },
    /// The log is damaged, but has parity.
    #[error("{path}: {source}. The store has parity: `lmfs check --repair {path}` repairs what it can")]
    Repairable {
        /// The store.
        path: PathBuf,
        /// The damage.
        source: lmfs_indexer::Error,
    },
    /// The system refused.
    #[error("cannot {action} {path}: {source}")]
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
    move |source| Error::Io { action, path, source }
}
