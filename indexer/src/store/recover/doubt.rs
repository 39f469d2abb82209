//! Why the index of the last clean close is not taken, and is made anew from the log.

use crate::Error;

#[derive(Debug, thiserror::Error)]
pub(super) enum Doubt {
    #[error("that was asked for")]
    Asked,
    #[error("it has no clean-shutdown marker")]
    NoMarker,
    #[error("the store was not closed cleanly")]
    NotClosed,
    #[error("the log is not the one that it was made from")]
    OtherLog,
    #[error("sled writes to its files even to read them")]
    SledWrites,
    #[error("it was in memory")]
    InMemory,
    #[error("its rows are not those of the last clean close")]
    OtherRows,
    #[error(transparent)]
    Unreadable(#[from] Error),
}
