//! What an operation answers when it cannot do what was asked: an errno for the caller, a message for the log.

use std::borrow::Cow;
use std::sync::Arc;

pub use rustix::io::Errno;

use crate::cache::{LoadError, LoadErrorKind};

/// The result of a filesystem operation.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed operation.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}: {errno}")]
pub struct Error {
    /// What the caller gets.
    pub errno: Errno,
    /// What was wrong, for the log.
    pub message: Cow<'static, str>,
    /// What caused it.
    #[source]
    source: Option<Source>,
}

/// Several readers may be told of the same failure.
type Source = Arc<dyn std::error::Error + Send + Sync>;

impl Error {
    /// An error with a fixed message. It costs no allocation.
    pub const fn new(errno: Errno, message: &'static str) -> Error {
        Error {
            errno,
            message: Cow::Borrowed(message),
            source: None,
        }
    }

    /// An error with a formatted message.
    pub fn with(errno: Errno, message: impl Into<String>) -> Error {
        Error {
            errno,
            message: Cow::Owned(message.into()),
            source: None,
        }
    }

    /// An error that another one caused.
    fn caused(errno: Errno, source: Source) -> Error {
        Error {
            errno,
            message: Cow::Owned(source.to_string()),
            source: Some(source),
        }
    }

    /// Whether it tells of trouble with the store, and not just of a request that could not be granted. Such errors
    /// are logged.
    pub fn is_fault(&self) -> bool {
        matches!(self.errno, Errno::IO | Errno::NOSPC | Errno::NOMEM)
    }

    pub(crate) const fn not_found() -> Error {
        Error::new(Errno::NOENT, "no such file or directory")
    }

    pub(crate) const fn stale() -> Error {
        Error::new(Errno::STALE, "the inode is gone")
    }
}

impl From<lmfs_indexer::Error> for Error {
    fn from(error: lmfs_indexer::Error) -> Error {
        use lmfs_indexer::Error as Store;
        let errno = match &error {
            Store::NoSpace { .. } => Errno::NOSPC,
            Store::ReadOnly => Errno::ROFS,
            Store::Interrupted => Errno::INTR,
            Store::InvalidChange(_) => Errno::INVAL,
            Store::Io { source, .. } => source.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error),
            _ => Errno::IO,
        };
        Error::caused(errno, Arc::new(error))
    }
}

impl From<lmfs_codec::Error> for Error {
    fn from(error: lmfs_codec::Error) -> Error {
        Error::caused(Errno::IO, Arc::new(error))
    }
}

impl From<LoadError> for Error {
    fn from(error: LoadError) -> Error {
        match error.kind {
            LoadErrorKind::Moved => Error::new(Errno::IO, "the block keeps moving"),
            LoadErrorKind::Damaged | LoadErrorKind::Failed => Error::caused(Errno::IO, Arc::new(error)),
        }
    }
}
