//! What no HEAD of ours says.

/// What is wrong with a HEAD.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// A file is named twice.
    #[error("{0} is there twice")]
    Twice(String),
    /// The first bytes of a file are no hexadecimal digits.
    #[error("the first bytes of {0}")]
    Start(String),
    /// A file is longer than it can be, or shorter than its first bytes.
    #[error("the length of {0}")]
    Length(String),
    /// The length or the digest of a piece is impossible.
    #[error("what it says of {0}")]
    Piece(String),
    /// An object that a file needs is to be deleted.
    #[error("{0} is needed, and is to be deleted")]
    NeededAndDead(String),
    /// A file that no store has.
    #[error("{0:?} is no file of a store")]
    NoFile(String),
    /// HEAD or its lock as a piece.
    #[error("{0:?} is no piece")]
    NoPiece(String),
    /// A path that leads out of the folder of a store.
    #[error("{0:?} is no path of a store")]
    NoPath(String),
}
