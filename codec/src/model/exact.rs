//! The exact engine: models whose logits are defined to the bit, on every CPU.
//!
//! Weights are int8 with a scale per row, activations int8 with a scale per token; matrix products and attention's
//! sums are integers, which no order of work can change; the rest is IEEE f32 in one fixed order. Threads, lanes,
//! runs and instruction sets therefore give the same bits. `docs/NUMERICS.md` is the definition.
//!
//! Loading: `file` -> `shape`, `tokenizer`, `weights`. Running: `lanes` over a `kernel`.

mod error;
mod file;
#[allow(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    clippy::too_many_arguments,
    reason = "inner loops over buffers whose sizes follow from the checked shape; they become vector code"
)]
mod kernel;
#[allow(
    clippy::indexing_slicing,
    reason = "buffers are sized from the checked shape, and tokens are checked in `step`"
)]
mod lanes;
#[allow(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "loops over arrays of known size"
)]
mod math;
#[allow(clippy::indexing_slicing, reason = "the packed layout is sized here")]
mod matrix;
mod model;
mod pages;
mod profile;
mod shape;
mod split;
mod tokenizer;
#[allow(clippy::indexing_slicing, reason = "tensors have the shape that was asked for")]
mod weights;

pub use kernel::int8_peak;
pub use lanes::ExactLanes;
pub use model::{ExactModel, NUMERICS};
pub use profile::Profile;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests;
