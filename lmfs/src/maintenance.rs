//! What a store needs from time to time: garbage collection, checkpoints and parity.

mod gc_policy;
mod housekeeper;

#[cfg(test)]
pub use gc_policy::GcSummary;
pub use gc_policy::{Effort, collect_garbage};
pub use housekeeper::Housekeeper;
