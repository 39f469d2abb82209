//! The state that a log leads to.

use crate::counters::Counters;
use crate::index::Index;
use crate::log::{Measured, Position};

/// The state after the last transaction.
pub(super) struct Replayed {
    pub(super) index: Index,
    pub(super) counters: Counters,
    pub(super) seq: u64,
    pub(super) checkpoint: Position,
    /// Bytes of transactions since then.
    pub(super) since: u64,
    /// How much the rows took after how many of these bytes.
    pub(super) measured: Measured,
}
