//! Sums of byte products with AVX2 (as products of 16-bit integers) and with AVX-VNNI (`u8 * i8` summed into i32).
#![allow(unsafe_code, reason = "vector instructions")]

use std::arch::x86_64::*;

use super::dot::Dot;
use crate::model::exact::matrix::Line;
use crate::simd::avx2::{Avx2, AvxVnni};

impl Dot for AvxVnni {
    type Line = [__m256i; 2];
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

/// Bytes become 16-bit integers, whose products are summed in pairs; the pairs are joined at the end.
impl Dot for Avx2 {
    type Line = [__m256i; 4];
    type Four = __m256i;
    type Sum = [__m256i; 4];
    const OFFSETS: [i32; 2] = [128, 0];
    const ROWS: usize = 2;
    const WIDE: bool = false;

    #[inline(always)]
    fn line<const SIGNED: bool>(self, line: &Line) -> Self::Line {
        let line = line.0.as_ptr().cast::<__m128i>();
        // SAFETY: `self` proves the features; a line has 64 bytes.
        unsafe {
            let mut quarters = [_mm256_setzero_si256(); 4];
            for (i, quarter) in quarters.iter_mut().enumerate() {
                let bytes = _mm_loadu_si128(line.add(i));
                *quarter = if SIGNED {
                    _mm256_cvtepi8_epi16(bytes)
                } else {
                    _mm256_cvtepu8_epi16(bytes)
                };
            }
            quarters
        }
    }
    #[inline(always)]
    fn four<const SIGNED: bool>(self, four: &[u8; 4]) -> __m256i {
        // SAFETY: `self` proves the features.
        unsafe {
            let four = _mm_cvtsi32_si128(i32::from_ne_bytes(*four));
            _mm256_broadcastq_epi64(if SIGNED {
                _mm_cvtepu8_epi16(four)
            } else {
                _mm_cvtepi8_epi16(four)
            })
        }
    }
    #[inline(always)]
    fn nothing(self) -> Self::Sum {
        // SAFETY: `self` proves the features.
        unsafe { [_mm256_setzero_si256(); 4] }
    }
    #[inline(always)]
    fn dot<const SIGNED: bool>(self, mut sum: Self::Sum, line: Self::Line, four: __m256i) -> Self::Sum {
        for i in 0..4 {
            // SAFETY: `self` proves the features.
            sum[i] = unsafe { _mm256_add_epi32(sum[i], _mm256_madd_epi16(line[i], four)) };
        }
        sum
    }
    #[inline(always)]
    fn sums(self, [a, b, c, d]: Self::Sum) -> Self::I {
        // SAFETY: `self` proves the features. The sums of columns 0 1 4 5 2 3 6 7, then in order.
        unsafe {
            [
                _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(a, b)),
                _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(c, d)),
            ]
        }
    }
}
