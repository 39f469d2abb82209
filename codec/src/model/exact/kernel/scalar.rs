//! Sums of byte products in plain Rust: the safe twin of every kernel, and the only one on machines without a faster.

use super::dot::{Dot, Room};
use super::table::Kernel;
use super::{attention, product, rows};
use crate::model::exact::math;
use crate::model::exact::matrix::{BLOCK, Line};
use crate::simd::Plain;

/// The table in plain Rust.
pub static KERNEL: Kernel = Kernel {
    name: "scalar",
    product: |q, rows, w, out, stride, then, room| product::product(Plain, q, rows, w, out, stride, then, room),
    norm_quantize: |x, epsilon, q| rows::norm_quantize(Plain, x, epsilon, q),
    quantize: |x, q| rows::quantize(Plain, x, q),
    swiglu_quantize: |x, between, q| rows::swiglu_quantize(Plain, x, between, q),
    rotation: |frequencies, position, out| math::rotation(Plain, frequencies, position, out),
    remember: |to, slot, key, value, r| attention::remember(Plain, to, slot, key, value, r),
    attend: |q, r, context, span, scratch, out| attention::attend(Plain, q, r, context, span, scratch, out),
};

/// Written so that compilers find vectors in it: the first to fourth bytes of all columns, as integers.
impl Dot for Plain {
    type Line = [[i32; BLOCK]; 4];
    type Kept = [u8; 4];
    type Four = [i32; 4];
    type Sum = [i32; BLOCK];
    const OFFSETS: [i32; 2] = [128, 0];
    const ROWS: usize = 4;
    const WIDE: bool = false;

    #[inline(always)]
    fn line<const SIGNED: bool>(self, line: &Line) -> Self::Line {
        let mut bytes = [[0; BLOCK]; 4];
        for (c, four) in line.0.as_chunks::<4>().0.iter().enumerate() {
            let four = u32::from_le_bytes(*four);
            for (k, bytes) in bytes.iter_mut().enumerate() {
                let byte = four >> (8 * k) & 255;
                bytes[c] = if SIGNED {
                    (byte << 24).cast_signed() >> 24
                } else {
                    byte.cast_signed()
                };
            }
        }
        bytes
    }
    #[inline(always)]
    fn keep<'a, const SIGNED: bool>(self, rows: &'a [[u8; 4]], _: &'a mut Room) -> &'a [[u8; 4]] {
        rows
    }
    #[inline(always)]
    fn four<const SIGNED: bool>(self, four: &[u8; 4]) -> Self::Four {
        four.map(|b| {
            if SIGNED {
                i32::from(b)
            } else {
                i32::from(b.cast_signed())
            }
        })
    }
    #[inline(always)]
    fn nothing(self) -> Self::Sum {
        [0; BLOCK]
    }
    #[inline(always)]
    fn dot<const SIGNED: bool>(self, mut sum: Self::Sum, line: Self::Line, four: Self::Four) -> Self::Sum {
        for (bytes, four) in line.iter().zip(four) {
            for (sum, byte) in sum.iter_mut().zip(bytes) {
                *sum = sum.wrapping_add(byte.wrapping_mul(four));
            }
        }
        sum
    }
    #[inline(always)]
    fn sums(self, sum: Self::Sum) -> Self::I {
        sum
    }
}
