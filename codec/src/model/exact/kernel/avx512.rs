//! Sums of byte products with AVX-512 VNNI: 64 products an instruction, `u8 * i8` summed into i32.
#![allow(unsafe_code, reason = "vector instructions")]

use std::arch::x86_64::*;

use super::dot::{Dot, Room};
use crate::model::exact::matrix::Line;
use crate::simd::avx512::Avx512Vnni;

/// A loop of `n` times 16 independent dot products of registers, returning its number of operations.
pub(super) fn peak() -> Option<fn(u64) -> u64> {
    #[target_feature(enable = "avx512f,avx512vnni")]
    fn run(n: u64) -> u64 {
        let x = _mm512_set1_epi32(std::hint::black_box(0x0101_0101));
        let mut a = [_mm512_setzero_si512(); 16];
        for _ in 0..n {
            for a in &mut a {
                *a = _mm512_dpbusd_epi32(*a, x, x);
            }
        }
        std::hint::black_box(a);
        n * 16 * 64 * 2
    }
    // SAFETY: the features are detected.
    Avx512Vnni::detect().map(|_| (|n| unsafe { run(n) }) as fn(u64) -> u64)
}

impl Dot for Avx512Vnni {
    type Line = __m512i;
    type Kept = [u8; 4];
    type Four = __m512i;
    type Sum = __m512i;
    const OFFSETS: [i32; 2] = [128, 0];
    const ROWS: usize = 4;
    const WIDE: bool = true;

    #[inline(always)]
    fn line<const SIGNED: bool>(self, line: &Line) -> __m512i {
        // SAFETY: `self` proves the features; a line has 64 bytes.
        unsafe { _mm512_loadu_si512(line.0.as_ptr().cast()) }
    }
    #[inline(always)]
    fn keep<'a, const SIGNED: bool>(self, rows: &'a [[u8; 4]], _: &'a mut Room) -> &'a [[u8; 4]] {
        rows
    }
    #[inline(always)]
    fn four<const SIGNED: bool>(self, four: &[u8; 4]) -> __m512i {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_set1_epi32(i32::from_ne_bytes(*four)) }
    }
    #[inline(always)]
    fn nothing(self) -> __m512i {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    fn dot<const SIGNED: bool>(self, sum: __m512i, line: __m512i, four: __m512i) -> __m512i {
        // SAFETY: `self` proves the features.
        unsafe {
            if SIGNED {
                _mm512_dpbusd_epi32(sum, four, line)
            } else {
                _mm512_dpbusd_epi32(sum, line, four)
            }
        }
    }
    #[inline(always)]
    fn sums(self, sum: __m512i) -> __m512i {
        sum
    }
}
