//! Sums of byte products with AVX2 (as products of 16-bit integers) and with AVX-VNNI (`u8 * i8` summed into i32).
#![allow(unsafe_code, reason = "vector instructions")]

use std::arch::x86_64::*;

use super::dot::{Dot, Room};
use crate::model::exact::matrix::Line;
use crate::simd::avx2::{Avx2, AvxVnni};

/// A loop of `n` times 12 independent sums of 16-bit products, returning its number of operations.
pub(super) fn peak() -> Option<fn(u64) -> u64> {
    #[target_feature(enable = "avx2")]
    fn run(n: u64) -> u64 {
        let x = _mm256_set1_epi16(std::hint::black_box(3));
        let mut a = [_mm256_setzero_si256(); 12];
        for _ in 0..n {
            for a in &mut a {
                *a = _mm256_madd_epi16(*a, x);
            }
        }
        std::hint::black_box(a);
        n * 12 * 16 * 2
    }
    // SAFETY: the feature is detected.
    Avx2::detect().map(|_| (|n| unsafe { run(n) }) as fn(u64) -> u64)
}

impl Dot for AvxVnni {
    type Line = [__m256i; 2];
    type Kept = [u8; 4];
    type Four = __m256i;
    type Sum = [__m256i; 2];
    const OFFSETS: [i32; 2] = [128, 0];
    const ROWS: usize = 4;
    const WIDE: bool = false;

    #[inline(always)]
    fn line<const SIGNED: bool>(self, line: &Line) -> Self::Line {
        let line = line.0.as_ptr().cast::<__m256i>();
        // SAFETY: `self` proves the features; a line has 64 bytes.
        unsafe { [_mm256_loadu_si256(line), _mm256_loadu_si256(line.add(1))] }
    }
    #[inline(always)]
    fn keep<'a, const SIGNED: bool>(self, rows: &'a [[u8; 4]], _: &'a mut Room) -> &'a [[u8; 4]] {
        rows
    }
    #[inline(always)]
    fn four<const SIGNED: bool>(self, four: &[u8; 4]) -> __m256i {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_set1_epi32(i32::from_ne_bytes(*four)) }
    }
    #[inline(always)]
    fn nothing(self) -> Self::Sum {
        // SAFETY: `self` proves the features.
        unsafe { [_mm256_setzero_si256(); 2] }
    }
    #[inline(always)]
    fn dot<const SIGNED: bool>(self, sum: Self::Sum, line: Self::Line, four: __m256i) -> Self::Sum {
        // SAFETY: `self` proves the features.
        unsafe {
            if SIGNED {
                [
                    _mm256_dpbusd_avx_epi32(sum[0], four, line[0]),
                    _mm256_dpbusd_avx_epi32(sum[1], four, line[1]),
                ]
            } else {
                [
                    _mm256_dpbusd_avx_epi32(sum[0], line[0], four),
                    _mm256_dpbusd_avx_epi32(sum[1], line[1], four),
                ]
            }
        }
    }
    #[inline(always)]
    fn sums(self, sum: Self::Sum) -> Self::I {
        sum
    }
}

/// The products of two 16-bit integers each are summed in pairs, so the even bytes of each four are taken from the odd
/// ones: a mask and a shift do that to 32 bytes, where widening them in their order would take a shuffle for every 16.
impl Dot for Avx2 {
    type Line = [[__m256i; 2]; 2];
    type Kept = [i32; 2];
    type Four = [__m256i; 2];
    type Sum = [__m256i; 2];
    const OFFSETS: [i32; 2] = [128, 0];
    const ROWS: usize = 4;
    const WIDE: bool = false;
    const LINES: usize = 1;

    #[inline(always)]
    fn line<const SIGNED: bool>(self, line: &Line) -> Self::Line {
        let line = line.0.as_ptr().cast::<__m256i>();
        // SAFETY: `self` proves the features; a line has 64 bytes.
        unsafe {
            let mut halves = [[_mm256_setzero_si256(); 2]; 2];
            for (half, [even, odd]) in halves.iter_mut().enumerate() {
                let bytes = _mm256_loadu_si256(line.add(half));
                if SIGNED {
                    *even = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(bytes));
                    *odd = _mm256_srai_epi16::<8>(bytes);
                } else {
                    *even = _mm256_and_si256(bytes, _mm256_set1_epi16(255));
                    *odd = _mm256_srli_epi16::<8>(bytes);
                }
            }
            halves
        }
    }
    /// The even and the odd bytes of each four, as pairs of 16-bit integers.
    #[inline(always)]
    fn keep<'a, const SIGNED: bool>(self, rows: &'a [[u8; 4]], room: &'a mut Room) -> &'a [[i32; 2]] {
        if room.len() < rows.len() {
            room.resize(rows.len(), [0; 2]);
        }
        for (kept, four) in room.iter_mut().zip(rows) {
            let [a, b, c, d] = if SIGNED {
                four.map(i32::from)
            } else {
                four.map(u8::cast_signed).map(i32::from)
            };
            *kept = [a & 0xFFFF | c << 16, b & 0xFFFF | d << 16];
        }
        &room[..rows.len()]
    }
    #[inline(always)]
    fn four<const SIGNED: bool>(self, four: &[i32; 2]) -> Self::Four {
        // SAFETY: `self` proves the features.
        unsafe { [_mm256_set1_epi32(four[0]), _mm256_set1_epi32(four[1])] }
    }
    #[inline(always)]
    fn nothing(self) -> Self::Sum {
        // SAFETY: `self` proves the features.
        unsafe { [_mm256_setzero_si256(); 2] }
    }
    #[inline(always)]
    fn dot<const SIGNED: bool>(self, mut sum: Self::Sum, line: Self::Line, four: Self::Four) -> Self::Sum {
        for half in 0..2 {
            for odd in 0..2 {
                // SAFETY: `self` proves the features.
                sum[half] = unsafe { _mm256_add_epi32(sum[half], _mm256_madd_epi16(line[half][odd], four[odd])) };
            }
        }
        sum
    }
    #[inline(always)]
    fn sums(self, sum: Self::Sum) -> Self::I {
        sum
    }
}
