//! Why a bucket cannot be read or written.

/// Why a bucket cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A request failed.
    #[error(transparent)]
    Request(#[from] object_store::Error),
    /// There is no HEAD.
    #[error("{0} holds no store: `lmfs push STORE URL` puts one there")]
    NoHead(String),
    /// The first push has not come to its end.
    #[error("{0} holds no complete store yet: the first `lmfs push` to it has not ended; run it again")]
    Unfinished(String),
    /// HEAD is not what was written.
    #[error("{place}/HEAD is damaged ({why}): `lmfs push` to an empty prefix puts the store there anew")]
    Damaged {
        /// Where.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// A newer version wrote it.
    #[error("{place}/HEAD has format {found}, and this version reads format {known}: use a newer lmfs")]
    NewerFormat {
        /// Where.
        place: String,
        /// The format it has.
        found: u32,
        /// The newest that is known here.
        known: u32,
    },
    /// Another store is there.
    #[error("{place} holds another store ({found}): push to another prefix")]
    OtherStore {
        /// Where.
        place: String,
        /// Its identity.
        found: String,
    },
    /// Somebody else writes to it now.
    #[error(
        "{place} has another writer now ({writer}, epoch {epoch}), so this one has stopped; let one machine at a time push"
    )]
    Fenced {
        /// Where.
        place: String,
        /// Who.
        writer: String,
        /// Its epoch.
        epoch: u64,
    },
    /// What is there is no earlier state of what is to be written.
    #[error(
        "{place} holds something that this store never was ({why}): it may have been restored from a backup, or a copy of \
         it was pushed; push to another prefix"
    )]
    Diverged {
        /// Where.
        place: String,
        /// What differs.
        why: String,
    },
    /// An object that HEAD names is gone.
    #[error("{object} is gone from the bucket: the HEAD that names it is older than the grace period; read HEAD again")]
    Gone {
        /// Which.
        object: String,
    },
    /// An object is not what HEAD says.
    #[error("{object} is damaged: {why}")]
    BadPiece {
        /// Which.
        object: String,
        /// What is wrong.
        why: String,
    },
    /// Too much for one HEAD.
    #[error("HEAD would take {len} bytes, at most {max} are possible: the store has too many files for a bucket")]
    TooLarge {
        /// Bytes it would take.
        len: u64,
        /// The most.
        max: u64,
    },
    /// The folder or the cache on this machine.
    #[error("{what}: {source}")]
    Local {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// A result of a bucket.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of this machine.
pub fn local(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
    let what = what.into();
    move |source| Error::Local { what, source }
}
