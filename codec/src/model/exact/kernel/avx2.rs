//! The integer loops with AVX2 (products of 16-bit integers) and with AVX-VNNI (`u8 * i8` summed into i32).
#![allow(unsafe_code, reason = "vector loads and stores through pointers")]

use std::arch::x86_64::*;

use super::{Context, ContextMut, Dots, GROUP, Kernel, Row, Scratch, Span, Then, portable, table};
use crate::model::exact::math::{self, Rotation};
use crate::model::exact::matrix::{BLOCK, Line, Matrix};
use crate::model::exact::shape::HEAD;
use crate::simd::avx2::{Avx, Avx2, AvxVnni};
use crate::simd::{Simd, WAYS};

static AVX2: Kernel = table!("avx2", Avx2, "avx2");
static AVX_VNNI: Kernel = table!("avxvnni", AvxVnni, "avx2,avxvnni");

/// The tables this CPU can run, the faster first.
pub(super) fn kernels() -> [Option<&'static Kernel>; 2] {
    let avx2 = is_x86_feature_detected!("avx2");
    let vnni = avx2 && is_x86_feature_detected!("avxvnni");
    [vnni.then_some(&AVX_VNNI), avx2.then_some(&AVX2)]
}

/// Sums of 16 columns for `M` rows of fours.
type Sums<const M: usize> = [[__m256i; 2]; M];

impl<const VNNI: bool> Avx<VNNI> {
    /// For `M` rows: the sums over `count` lines, `step` apart, of a line's fours times the row's fours.
    ///
    /// # Safety
    /// `count` lines and, `stride` apart, `M` rows of `4 * count` bytes must be there.
    #[inline(always)]
    unsafe fn dot<const SIGNED: bool, const M: usize>(
        self,
        line: *const Line,
        step: usize,
        count: usize,
        four: *const u8,
        stride: usize,
    ) -> Sums<M> {
        // SAFETY: `self` proves the features; the rest is the caller's promise.
        unsafe {
            if VNNI {
                dot_vnni::<SIGNED, M>(line, step, count, four, stride)
            } else {
                dot_avx2::<SIGNED, M>(line, step, count, four, stride)
            }
        }
    }
}

/// [`Avx::dot`]: lines are `i8` and rows `u8` if `SIGNED`, the other way round if not.
///
/// # Safety
/// As there.
#[inline]
#[target_feature(enable = "avx2,avxvnni")]
unsafe fn dot_vnni<const SIGNED: bool, const M: usize>(
    line: *const Line,
    step: usize,
    count: usize,
    four: *const u8,
    stride: usize,
) -> Sums<M> {
    let mut a = [[_mm256_setzero_si256(); 2]; M];
    for g in 0..count {
        // SAFETY: line g and the fours g of all rows are there.
        unsafe {
            let line = line.add(g * step).cast::<__m256i>();
            let halves = [_mm256_loadu_si256(line), _mm256_loadu_si256(line.add(1))];
            for (i, a) in a.iter_mut().enumerate() {
                let four = four.add(i * stride + 4 * g).cast::<i32>().read_unaligned();
                let four = _mm256_set1_epi32(four);
                for (a, half) in a.iter_mut().zip(halves) {
                    *a = if SIGNED {
                        _mm256_dpbusd_avx_epi32(*a, four, half)
                    } else {
                        _mm256_dpbusd_avx_epi32(*a, half, four)
                    };
                }
            }
        }
    }
    a
}

/// [`Avx::dot`]: bytes become 16-bit integers, whose products are summed in pairs; the pairs are joined at the end.
///
/// # Safety
/// As there.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn dot_avx2<const SIGNED: bool, const M: usize>(
    line: *const Line,
    step: usize,
    count: usize,
    four: *const u8,
    stride: usize,
) -> Sums<M> {
    let mut pairs = [[_mm256_setzero_si256(); 4]; M];
    for g in 0..count {
        // SAFETY: line g and the fours g of all rows are there.
        unsafe {
            let line = line.add(g * step).cast::<__m128i>();
            let mut quarters = [_mm256_setzero_si256(); 4];
            for (i, quarter) in quarters.iter_mut().enumerate() {
                let bytes = _mm_loadu_si128(line.add(i));
                *quarter = if SIGNED {
                    _mm256_cvtepi8_epi16(bytes)
                } else {
                    _mm256_cvtepu8_epi16(bytes)
                };
            }
            for (i, pairs) in pairs.iter_mut().enumerate() {
                let four = four.add(i * stride + 4 * g).cast::<i32>().read_unaligned();
                let four = _mm_cvtsi32_si128(four);
                let four = if SIGNED {
                    _mm_cvtepu8_epi16(four)
                } else {
                    _mm_cvtepi8_epi16(four)
                };
                let four = _mm256_broadcastq_epi64(four);
                for (pair, quarter) in pairs.iter_mut().zip(quarters) {
                    *pair = _mm256_add_epi32(*pair, _mm256_madd_epi16(quarter, four));
                }
            }
        }
    }
    let mut sums = [[_mm256_setzero_si256(); 2]; M];
    for (sums, [a, b, c, d]) in sums.iter_mut().zip(pairs) {
        // Columns 0 1 4 5 2 3 6 7, then in order.
        sums[0] = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(a, b));
        sums[1] = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(c, d));
    }
    sums
}

impl<const VNNI: bool> Avx<VNNI> {
    /// `M` rows times a block of 16 weight rows.
    ///
    /// # Safety
    /// `q` has `M` rows of `4 * lines.len()`, `out` `M - 1` strides and 16 elements.
    #[inline(always)]
    unsafe fn tile<const M: usize>(
        self,
        q: &[u8],
        rows: &[Row],
        lines: &[Line],
        scales: &[f32; BLOCK],
        out: &mut [f32],
        stride: usize,
        then: Then,
    ) {
        let columns = 4 * lines.len();
        // SAFETY: the caller's promise.
        let sums = unsafe { self.dot::<false, M>(lines.as_ptr(), 1, lines.len(), q.as_ptr(), columns) };
        for ((sums, row), out) in sums.into_iter().zip(rows).zip(out.chunks_mut(stride)) {
            let (to, _) = out.as_chunks_mut::<WAYS>();
            let offset = self.splat_int(row.sum.wrapping_mul(128));
            let scale = self.mul(self.splat(row.scale), self.load(scales));
            let y = self.mul(self.float(self.sub_int(sums, offset)), scale);
            for to in to.iter_mut().take(1) {
                let y = if then == Then::Add {
                    self.add(self.load(to), y)
                } else {
                    y
                };
                self.store(y, to);
            }
        }
    }
}

impl<const VNNI: bool> Dots for Avx<VNNI> {
    #[inline(always)]
    fn product(self, q: &[u8], rows: &[Row], w: &Matrix, out: &mut [f32], stride: usize, then: Then) {
        assert!(q.len() == rows.len() * w.columns && w.rows <= stride && out.len() >= rows.len() * stride);
        let blocks = w.lines.chunks_exact(w.columns / 4).zip(w.scales.as_chunks::<BLOCK>().0);
        for (block, (lines, scales)) in blocks.enumerate() {
            let mut t = 0;
            while t < rows.len() {
                let (q, rows) = (&q[t * w.columns..], &rows[t..]);
                let out = &mut out[t * stride + block * BLOCK..];
                // SAFETY: the assertion bounds what the tile reads; at least as many rows are left as it takes.
                unsafe {
                    if VNNI && rows.len() >= 4 {
                        self.tile::<4>(q, &rows[..4], lines, scales, out, stride, then);
                        t += 4;
                    } else if rows.len() >= 2 {
                        self.tile::<2>(q, &rows[..2], lines, scales, out, stride, then);
                        t += 2;
                    } else {
                        self.tile::<1>(q, rows, lines, scales, out, stride, then);
                        t += 1;
                    }
                }
            }
        }
    }

    #[inline(always)]
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
        assert!(q.len() == sums.len() * HEAD);
        let blocks = keys.as_chunks::<BLOCK>().0;
        let from = first * GROUP / BLOCK;
        for i in 0..groups * GROUP / BLOCK {
            let lines = &blocks[(from + i) % blocks.len()];
            for (h, sum) in sums.iter().enumerate() {
                // SAFETY: 16 lines, and 64 bytes of head h by the assertion.
                let [dots] = unsafe { self.dot::<false, 1>(lines.as_ptr(), 1, BLOCK, q.as_ptr().add(h * HEAD), HEAD) };
                let dots = self.sub_int(dots, self.splat_int(sum.wrapping_mul(128)));
                if let Some(to) = out[h * stride + i * BLOCK..].first_chunk_mut() {
                    self.store_int(dots, to);
                }
            }
        }
    }

    #[inline(always)]
    fn weigh(self, weights: &[u8], stride: usize, values: &[Line], first: usize, groups: usize, out: &mut [f32]) {
        let ring = values.len() / GROUP;
        let before = groups.min(ring - first);
        let parts = [
            &values[first * GROUP..][..before * GROUP],
            &values[..(groups - before) * GROUP],
        ];
        for (h, out) in out.as_chunks_mut::<HEAD>().0.iter_mut().enumerate() {
            for (c, out) in out.as_chunks_mut::<WAYS>().0.iter_mut().enumerate() {
                let mut weights = &weights[h * stride..][..groups * GROUP];
                let mut sum = self.splat_int(0);
                for lines in parts.into_iter().filter(|lines| !lines.is_empty()) {
                    let (here, rest) = weights.split_at(lines.len());
                    weights = rest;
                    // SAFETY: every fourth line from `c` on; as many weights as lines.
                    let [part] =
                        unsafe { self.dot::<true, 1>(lines.as_ptr().add(c), 4, lines.len() / 4, here.as_ptr(), 0) };
                    sum = self.add_int(sum, part);
                }
                self.store(self.float(sum), out);
            }
        }
    }
}
