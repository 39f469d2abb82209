//! Why bytes are no transaction.

use crate::invalid_change::InvalidChange;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("it is empty")]
    Empty,
    #[error("change {nth} at byte {at} makes no sense")]
    Nonsense {
        /// Changes before it.
        nth: usize,
        /// Where it begins.
        at: usize,
    },
    #[error(transparent)]
    Invalid(#[from] InvalidChange),
}
