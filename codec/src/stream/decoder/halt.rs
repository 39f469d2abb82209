//! Why reading ends.

use crate::Error;

/// Why nothing more is read.
pub(super) enum Halt {
    /// The input has reported an error; reading may go on where it was.
    Paused(Error),
    /// Nothing can follow.
    Failed(Error),
}

pub(super) type Halting<T> = std::result::Result<T, Halt>;

impl From<Error> for Halt {
    fn from(error: Error) -> Halt {
        Halt::Failed(error)
    }
}
