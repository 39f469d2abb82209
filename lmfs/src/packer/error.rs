//! Why packing may end early.

/// Why packing ended early. Nothing is lost in any case, and the next run goes on where this one ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It was asked to stop.
    #[error("packing was interrupted; what is packed stays packed")]
    Interrupted,
    /// The store's disk is full.
    #[error("packing stopped, because the store's disk is full: {0}. Nothing is lost; it goes on when there is space")]
    DiskFull(lmfs_indexer::Error),
    /// The log or the index failed.
    #[error("packing stopped: {0}")]
    Store(lmfs_indexer::Error),
    /// No dictionary can be tried.
    #[error("packing stopped while it made a dictionary: {0}")]
    Learning(lmfs_codec::Error),
    /// The system gives no threads.
    #[error("packing did not begin, because the system gives no threads: {0}")]
    Threads(std::io::Error),
    /// The store cannot be written.
    #[error("the store is open for reading only, so nothing can be packed")]
    ReadOnly,
}

impl From<lmfs_indexer::Error> for Error {
    fn from(error: lmfs_indexer::Error) -> Error {
        match error {
            lmfs_indexer::Error::NoSpace { .. } => Error::DiskFull(error),
            lmfs_indexer::Error::Interrupted => Error::Interrupted,
            lmfs_indexer::Error::ReadOnly => Error::ReadOnly,
            other => Error::Store(other),
        }
    }
}
