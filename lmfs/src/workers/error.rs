//! Why a conversation between a packer and a worker ended.

use std::io;

/// Why a conversation ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This process was asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// Somebody connected and did not show who it is.
    #[error("the other side has not greeted within {0} seconds")]
    NoGreeting(u64),
    /// There is no room for another worker.
    #[error("there are too many workers")]
    TooMany,
    /// Nothing came for too long.
    #[error("the other side has said nothing for {0} seconds")]
    Silent(u64),
    /// A message took too long.
    #[error("a message was not sent or received within {0} seconds")]
    Slow(u64),
    /// The connection is closed.
    #[error("the other side closed the connection")]
    Closed,
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// Something else is at the other end.
    #[error("what answers there is not lmfs")]
    NotLmfs,
    /// The other end is another version.
    #[error("the other side speaks version {found} of the protocol, this program {known}: use the same lmfs on both")]
    OtherVersion {
        /// Its version.
        found: u16,
        /// This program's.
        known: u16,
    },
    /// A message that the protocol does not have, or not here.
    #[error("the other side sent what it should not ({0})")]
    Malformed(&'static str),
    /// A block is not what was sent.
    #[error("a block was altered on its way (its SHA-256 does not fit)")]
    Altered,
    /// The packing ended before this worker began.
    #[error("the packing is over")]
    Over,
    /// The other side wants no more of this one.
    #[error("the other side refuses: {0}")]
    Refused(String),
    /// The packer asks for a token.
    #[error("the packer asks for a token: give the file that it was started with by --token-file")]
    NoToken,
    /// The worker has another token or none.
    #[error("its token is not the packer's")]
    WrongToken,
    /// The worker computes something else.
    #[error("its model computes other bits than the store's (another CPU, build or version of lmfs)")]
    OtherNumerics,
    /// The worker took too long for a block.
    #[error("it took longer than {0} seconds for a block")]
    Late(u64),
    /// A block of the worker is wrong.
    #[error("a block that it made is not taken: {0}")]
    Unfit(#[from] crate::packer::encode::Unfit),
    /// The worker fails again and again.
    #[error("it could not encode {0} blocks one after the other")]
    Failing(u64),
    /// The model or the options cannot be used here.
    #[error("the store's blocks cannot be encoded here: {0}")]
    Unusable(#[source] lmfs_codec::Error),
    /// The bytes of the model are others than those asked for.
    #[error("the model that was sent is not the one that was announced")]
    WrongModel,
    /// The model of the store cannot be read.
    #[error("the store's model cannot be read: {0}")]
    NoModel(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An address that is none.
    #[error("{0:?} is no address: HOST:PORT and the path of a socket, with a slash in it, are")]
    NoAddress(String),
    /// Others could connect.
    #[error("{0} can be reached from other machines: give a token by --token-file, or listen on 127.0.0.1")]
    TokenNeeded(String),
    /// Nobody can listen there.
    #[error("cannot listen on {at}: {source}")]
    Listen {
        /// Where.
        at: String,
        /// Why not.
        source: io::Error,
    },
    /// A token file that cannot be used.
    #[error("the token file {file} cannot be used: {reason}")]
    TokenFile {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The packer was not reached for too long.
    #[error("no packer was reached at {at} for {seconds} seconds: {last}")]
    GaveUp {
        /// Where.
        at: String,
        /// For how long.
        seconds: u64,
        /// What kept it from being reached the last time.
        last: Box<Error>,
    },
}

impl Error {
    /// Whether it may work when it is tried again: the connection is the trouble, and not who is at its ends.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Error::NoGreeting(_)
                | Error::TooMany
                | Error::Silent(_)
                | Error::Slow(_)
                | Error::Closed
                | Error::Io(_)
                | Error::Altered
                | Error::Late(_)
        )
    }
}
