//! Parity: Reed-Solomon shards beside a segment, from which damaged stretches of it are made again.
//!
//! A segment only grows at its end, so parity over its first bytes stays right for as long as the segment exists. The
//! checksum of every shard stands in the parity file: damage is located, and what is lost counts as an erasure. Layout:
//! docs/FORMAT.md, "Parity".

mod code;
mod file;
mod layout;
mod scrub;
mod unusable;

pub(crate) use code::make;
pub(crate) use file::{parity_name, parity_number, read, read_layout, remove, replace};
pub(crate) use layout::Layout;
pub use scrub::{Outcome, ScrubReport, SegmentDamage, scrub};
pub(crate) use unusable::{Made, ParityFile};

/// Most parity, in percent of what it protects.
pub const MAX_PARITY: u8 = 50;
