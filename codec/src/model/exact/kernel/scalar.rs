//! The integer loops in plain Rust: the safe twin of every kernel, and the only one on machines without a faster.

use super::{Dots, GROUP, Kernel, Row, Then, portable};
use crate::model::exact::math;
use crate::model::exact::matrix::{BLOCK, Line, Matrix};
use crate::model::exact::shape::HEAD;
use crate::simd::Plain;

/// The table in plain Rust.
pub static KERNEL: Kernel = Kernel {
    name: "scalar",
    product: |q, rows, w, out, stride, then| Plain.product(q, rows, w, out, stride, then),
    norm_quantize: |x, epsilon, q| portable::norm_quantize(Plain, x, epsilon, q),
    quantize: |x, q| portable::quantize(Plain, x, q),
    swiglu_quantize: |x, between, q| portable::swiglu_quantize(Plain, x, between, q),
    rotation: |frequencies, position, out| math::rotation(Plain, frequencies, position, out),
    remember: |to, slot, key, value, r| portable::remember(Plain, to, slot, key, value, r),
    attend: |q, r, context, span, scratch, out| portable::attend(Plain, q, r, context, span, scratch, out),
};

/// Adds, for the 16 columns of a line, the products of its four bytes with `four`.
#[inline(always)]
fn add_line(
    sums: &mut [i32; BLOCK],
    line: &Line,
    four: &[u8; 4],
    of_line: impl Fn(u8) -> i32,
    of_four: impl Fn(u8) -> i32,
) {
    for (sum, bytes) in sums.iter_mut().zip(line.0.as_chunks::<4>().0) {
        for (&a, &b) in bytes.iter().zip(four) {
            *sum = sum.wrapping_add(of_line(a).wrapping_mul(of_four(b)));
        }
    }
}

/// [`add_line`] of stored weights or keys (128 on top) with signed activations.
#[inline(always)]
fn add_offset_line(sums: &mut [i32; BLOCK], line: &Line, four: &[u8; 4]) {
    add_line(sums, line, four, i32::from, |q| i32::from(q.cast_signed()));
}

impl Dots for Plain {
    fn product(self, q: &[u8], rows: &[Row], w: &Matrix, out: &mut [f32], stride: usize, then: Then) {
        let blocks = w.lines.chunks_exact(w.columns / 4).zip(w.scales.as_chunks::<BLOCK>().0);
        for (block, (lines, scales)) in blocks.enumerate() {
            for ((row, q), out) in rows.iter().zip(q.chunks_exact(w.columns)).zip(out.chunks_mut(stride)) {
                let mut sums = [row.sum.wrapping_mul(-128); BLOCK];
                for (line, four) in lines.iter().zip(q.as_chunks::<4>().0) {
                    add_offset_line(&mut sums, line, four);
                }
                for ((out, sum), scale) in out[block * BLOCK..].iter_mut().zip(sums).zip(scales) {
                    let y = sum as f32 * (row.scale * scale);
                    *out = if then == Then::Add { *out + y } else { y };
                }
            }
        }
    }

    fn scores(
        self,
        q: &[u8],
        sums: &[i32],
        keys: &[Line],
        first: usize,
        groups: usize,
        out: &mut [i32],
        stride: usize,
    ) {
        let ring = keys.len() / GROUP;
        for ((q, sum), out) in q.as_chunks::<HEAD>().0.iter().zip(sums).zip(out.chunks_mut(stride)) {
            for (i, to) in out
                .as_chunks_mut::<BLOCK>()
                .0
                .iter_mut()
                .take(groups * GROUP / BLOCK)
                .enumerate()
            {
                let block = (first * GROUP / BLOCK + i) % (ring * GROUP / BLOCK);
                *to = [sum.wrapping_mul(-128); BLOCK];
                for (line, four) in keys[block * BLOCK..][..BLOCK].iter().zip(q.as_chunks::<4>().0) {
                    add_offset_line(to, line, four);
                }
            }
        }
    }

    fn weigh(self, weights: &[u8], stride: usize, values: &[Line], first: usize, groups: usize, out: &mut [f32]) {
        let fours = values.len() / 4;
        for (h, out) in out.as_chunks_mut::<HEAD>().0.iter_mut().enumerate() {
            let mut sums = [0_i32; HEAD];
            let weights = weights[h * stride..].as_chunks::<4>().0;
            for (i, four) in weights.iter().enumerate().take(groups * GROUP / 4) {
                let lines = &values[(first * GROUP / 4 + i) % fours * 4..][..4];
                for (line, sums) in lines.iter().zip(sums.as_chunks_mut::<BLOCK>().0) {
                    add_line(sums, line, four, |value| i32::from(value.cast_signed()), i32::from);
                }
            }
            for (out, &sum) in out.iter_mut().zip(&sums) {
                *out = sum as f32;
            }
        }
    }
}
