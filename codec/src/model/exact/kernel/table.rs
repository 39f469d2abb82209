//! The table of operations that each instruction set has.

use super::dot::Room;
use super::operands::{Context, ContextMut, Row, Scratch, Span, Then};
use crate::model::exact::math::Rotation;
use crate::model::exact::matrix::Matrix;

/// A table of the engine's operations for one instruction set.
#[allow(clippy::type_complexity, reason = "plain function pointers")]
pub struct Kernel {
    /// Its name: `scalar`, `neon`, `avx2`, `avxvnni`, `avx512vnni`.
    pub name: &'static str,
    /// Quantized activations times a matrix; `out` has `stride >= w.rows` per row.
    pub product: fn(&[u8], &[Row], &Matrix, &mut [f32], usize, Then, &mut Room),
    /// RMSNorm without gain, quantized.
    pub norm_quantize: fn(&[f32], f32, &mut [u8]) -> Row,
    /// A row, quantized.
    pub quantize: fn(&[f32], &mut [u8]) -> Row,
    /// silu(gate) * up of a row of gate and up in turns of 16, through a buffer, quantized.
    pub swiglu_quantize: fn(&[f32], &mut [f32], &mut [u8]) -> Row,
    /// Cosines and sines of a position.
    pub rotation: fn(&[u64; 32], u64, &mut Rotation),
    /// Puts a key (rotated here) and a value into a slot.
    pub remember: fn(&mut ContextMut<'_>, usize, &mut [f32; 64], &[f32; 64], &Rotation),
    /// Attention of heads of 64 (rotated here) over a span of one context.
    pub attend: fn(&mut [f32], &Rotation, &Context<'_>, Span, &mut Scratch, &mut [f32]),
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}
