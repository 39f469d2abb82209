//! What an operation answers when it cannot do what was asked: an errno for the caller, a story for the log.

use std::borrow::Cow;

pub use rustix::io::Errno;

use crate::cache::{LoadError, LoadErrorKind};

/// The result of a filesystem operation.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}: {errno}")]
pub struct Error {
    /// What the caller gets.
    pub errno: Errno,
    /// What was wrong, for the log.
    pub message: Cow<'static, str>,
}

impl Error {
    /// An error with a fixed story; costs no allocation.
    pub const fn new(errno: Errno, message: &'static str) -> Error {
        Error {
            errno,
            message: Cow::Borrowed(message),
        }
    }

    /// An error with a story made for the occasion.
    pub fn with(errno: Errno, message: impl Into<String>) -> Error {
        Error {
            errno,
            message: Cow::Owned(message.into()),
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
        Error::with(errno, error.to_string())
    }
}

impl From<lmfs_codec::Error> for Error {
    fn from(error: lmfs_codec::Error) -> Error {
        Error::with(Errno::IO, error.to_string())
    }
}

impl From<LoadError> for Error {
    fn from(error: LoadError) -> Error {
        let message = match error.kind {
            LoadErrorKind::Moved => "the block keeps moving".to_owned(),
            LoadErrorKind::Damaged | LoadErrorKind::Failed => error.message.to_string(),
        };
        Error::with(Errno::IO, message)
    }
}
