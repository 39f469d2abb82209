//! From f32 rows to quantized ones.

use super::operands::Row;
use crate::model::exact::math::{self, LIMIT};
use crate::simd::{Simd, WAYS};

/// Quantizes a row; its scale is magnitude / 127.
#[inline(always)]
pub fn quantize<S: Simd>(s: S, x: &[f32], q: &mut [u8]) -> Row {
    let most = math::magnitude(s, x);
    let sum = math::quantize(s, x, LIMIT / most, q);
    Row {
        scale: most / LIMIT,
        sum,
    }
}

/// Quantizes a row divided by its root mean square. The division only changes the scale.
#[inline(always)]
pub fn norm_quantize<S: Simd>(s: S, x: &[f32], epsilon: f32, q: &mut [u8]) -> Row {
    let mean = math::sum_of_squares(s, x) / x.len() as f32;
    let norm = 1.0 / (mean + epsilon).sqrt();
    let row = quantize(s, x, q);
    Row {
        scale: row.scale * norm,
        sum: row.sum,
    }
}

/// silu(gate) * up, quantized. `x` has gate and up in turns of 16, `between` as many elements as either.
#[inline(always)]
pub fn swiglu_quantize<S: Simd>(s: S, x: &[f32], between: &mut [f32], q: &mut [u8]) -> Row {
    let turns = x.as_chunks::<WAYS>().0.as_chunks::<2>().0;
    for ([gate, up], out) in turns.iter().zip(between.as_chunks_mut::<WAYS>().0) {
        s.store(s.mul(math::silu(s, s.load(gate)), s.load(up)), out);
    }
    quantize(s, between, q)
}
