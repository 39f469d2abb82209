//! Sums of byte products with NEON's dot products: 16 products an instruction.
#![allow(unsafe_code, reason = "vector instructions")]

use std::arch::aarch64::*;
use std::arch::asm;

use super::dot::{Dot, Room};
use crate::model::exact::matrix::Line;
use crate::simd::neon::NeonDot;

/// Both factors must be of one signedness, so 128 is taken off weights and keys, and put on values.
impl Dot for NeonDot {
    type Line = [uint8x16_t; 4];
    type Kept = [u8; 4];
    type Four = uint8x16_t;
    type Sum = [int32x4_t; 4];
    const OFFSETS: [i32; 2] = [0, 128];
    const ROWS: usize = 4;
    const WIDE: bool = false;

    #[inline(always)]
    fn line<const SIGNED: bool>(self, line: &Line) -> Self::Line {
        let line = line.0.as_ptr();
        // SAFETY: `self` proves the features; a line has 64 bytes.
        unsafe {
            let top = vdupq_n_u8(128);
            let mut quarters = [top; 4];
            for (i, quarter) in quarters.iter_mut().enumerate() {
                *quarter = veorq_u8(vld1q_u8(line.add(16 * i)), top);
            }
            quarters
        }
    }
    #[inline(always)]
    fn keep<'a, const SIGNED: bool>(self, rows: &'a [[u8; 4]], _: &'a mut Room) -> &'a [[u8; 4]] {
        rows
    }
    #[inline(always)]
    fn four<const SIGNED: bool>(self, four: &[u8; 4]) -> uint8x16_t {
        // SAFETY: `self` proves the features.
        unsafe { vreinterpretq_u8_u32(vdupq_n_u32(u32::from_ne_bytes(*four))) }
    }
    #[inline(always)]
    fn nothing(self) -> Self::Sum {
        // SAFETY: `self` proves the features.
        unsafe { [vdupq_n_s32(0); 4] }
    }
    #[inline(always)]
    fn dot<const SIGNED: bool>(self, mut sum: Self::Sum, line: Self::Line, four: uint8x16_t) -> Self::Sum {
        for i in 0..4 {
            // SAFETY: `self` proves the features; the instructions touch registers alone. The intrinsics are not
            // stable.
            unsafe {
                if SIGNED {
                    asm!("udot {0:v}.4s, {1:v}.16b, {2:v}.16b", inout(vreg) sum[i], in(vreg) line[i], in(vreg) four,
                        options(pure, nomem, nostack, preserves_flags));
                } else {
                    asm!("sdot {0:v}.4s, {1:v}.16b, {2:v}.16b", inout(vreg) sum[i], in(vreg) line[i], in(vreg) four,
                        options(pure, nomem, nostack, preserves_flags));
                }
            }
        }
        sum
    }
    #[inline(always)]
    fn sums(self, sum: Self::Sum) -> Self::I {
        sum
    }
}
