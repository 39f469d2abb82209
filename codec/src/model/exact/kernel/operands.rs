//! What the operations of a kernel work on.

use super::dot::Room;
use crate::model::exact::matrix::Line;

/// A row of int8 activations: value = q * scale.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Row {
    /// What a step of one is worth.
    pub scale: f32,
    /// Sum of the row's integers: takes back the 128 that stored weights and keys have on top.
    pub sum: i32,
}

/// What a matrix product does with its results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// `out = y`.
    Write,
    /// `out = out + y`.
    Add,
}

/// Positions of a ring that are compared in one go; rings are multiples of it.
pub const GROUP: usize = 64;
/// Query heads that attend together to one key/value head at most; more are done in turns.
pub const HEADS: usize = 4;

/// What one lane remembers for one key/value head: rings of int8 rows with a scale each.
///
/// Slot s of the keys: byte `4 * (s % 16) + c % 4` of line `s / 16 * 16 + c / 4` is key component c plus 128. The
/// values are four planes of 16 components each: byte `4 * (c % 16) + s % 4` of line `s / 4` of plane `c / 16` is
/// component c.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Keys.
    pub keys: &'a [Line],
    /// Values.
    pub values: &'a [Line],
    /// Scale of each key.
    pub key_scales: &'a [f32],
    /// Scale of each value.
    pub value_scales: &'a [f32],
}

/// [`Context`], to write to.
#[derive(Debug)]
pub struct ContextMut<'a> {
    /// Keys.
    pub keys: &'a mut [Line],
    /// Values.
    pub values: &'a mut [Line],
    /// Scale of each key.
    pub key_scales: &'a mut [f32],
    /// Scale of each value.
    pub value_scales: &'a mut [f32],
}

/// The slots a token attends to: `count` of them from `start`, around the ring.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// The first slot.
    pub start: usize,
    /// How many.
    pub count: usize,
}

/// Buffers of the attention of [`HEADS`] heads, sized for a ring.
#[derive(Clone, Debug)]
pub struct Scratch {
    pub(super) logits: Vec<f32>,
    pub(super) weights: Vec<u8>,
    pub(super) units: Vec<f32>,
    /// Queries and weights.
    pub(super) queries: Room,
    pub(super) kept: Room,
    /// Elements per head.
    pub(super) stride: usize,
}

impl Scratch {
    /// Buffers for rings of `slots`.
    pub fn new(slots: usize) -> Self {
        let stride = slots + GROUP;
        Self {
            logits: vec![0.0; stride * HEADS],
            weights: vec![0; stride * HEADS],
            units: vec![0.0; stride],
            queries: Room::new(),
            kept: Room::new(),
            stride,
        }
    }
}
