//! The integer loops with AVX-512 VNNI: 64 products a lane, `u8 * i8` summed into i32.
#![allow(unsafe_code, reason = "vector loads and stores through pointers")]

use std::arch::x86_64::*;

use super::{Context, ContextMut, Dots, GROUP, Kernel, Row, Scratch, Span, Then, portable, table};
use crate::model::exact::math::{self, Rotation};
use crate::model::exact::matrix::{BLOCK, Line, Matrix, PANEL};
use crate::model::exact::shape::HEAD;
use crate::simd::avx512::Avx512;

static KERNEL: Kernel = table!("avx512vnni", Avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni");

/// The table, if this CPU has the instructions.
pub(super) fn kernel() -> Option<&'static Kernel> {
    let has = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni");
    has.then_some(&KERNEL)
}

/// A loop of `n` times 16 independent dot products of registers, returning its number of operations.
pub(super) fn peak() -> Option<fn(u64) -> u64> {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
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
    // SAFETY: `kernel` has detected the features.
    kernel().map(|_| (|n| unsafe { run(n) }) as fn(u64) -> u64)
}

impl Dots for Avx512 {
    #[inline(always)]
    fn product(self, q: &[u8], rows: &[Row], w: &Matrix, out: &mut [f32], stride: usize, then: Then) {
        assert!(q.len() == rows.len() * w.columns && w.rows <= stride && out.len() >= rows.len() * stride);
        // SAFETY: `self` proves the features; the assertion bounds what the tiles read and write.
        unsafe { product(q, rows, w, out, stride, then) }
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
        let heads = sums.len();
        assert!(q.len() == heads * HEAD && out.len() >= (heads - 1) * stride + groups * GROUP);
        let ring = keys.len() / GROUP;
        for i in 0..groups {
            let keys = &keys[(first + i) % ring * GROUP..][..GROUP];
            let out = &mut out[i * GROUP..];
            // SAFETY: `self` proves the features; a group has 64 lines and 64 results per head, bounded above.
            unsafe {
                match heads {
                    4 => scores::<4>(q, sums, keys, out, stride),
                    3 => scores::<3>(q, sums, keys, out, stride),
                    2 => scores::<2>(q, sums, keys, out, stride),
                    _ => scores::<1>(q, sums, keys, out, stride),
                }
            }
        }
    }

    #[inline(always)]
    fn weigh(self, weights: &[u8], stride: usize, values: &[Line], first: usize, groups: usize, out: &mut [f32]) {
        let ring = values.len() / GROUP;
        let heads = out.len() / HEAD;
        assert!(weights.len() >= (heads - 1) * stride + groups * GROUP);
        let before = groups.min(ring - first);
        let parts = [
            &values[first * GROUP..][..before * GROUP],
            &values[..(groups - before) * GROUP],
        ];
        // SAFETY: `self` proves the features; the assertion bounds what is read of the weights, `out` has the heads.
        unsafe {
            match heads {
                4 => weigh::<4>(weights, stride, parts, out),
                3 => weigh::<3>(weights, stride, parts, out),
                2 => weigh::<2>(weights, stride, parts, out),
                _ => weigh::<1>(weights, stride, parts, out),
            }
        }
    }
}

/// # Safety
/// As in [`Dots::product`], with the sizes asserted there.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn product(q: &[u8], rows: &[Row], w: &Matrix, out: &mut [f32], stride: usize, then: Then) {
    for (i, scales) in w.scales.as_chunks::<PANEL>().0.iter().enumerate() {
        let panel = w.panel(i);
        let mut t = 0;
        while t < rows.len() {
            let (q, rows) = (&q[t * w.columns..], &rows[t..]);
            let out = &mut out[t * stride + i * PANEL..];
            // SAFETY: at least as many rows are left as the tile takes.
            unsafe {
                t += match rows.len() {
                    8.. => tile::<8>(q, rows, w.columns, panel, scales, out, stride, then),
                    4.. => tile::<4>(q, rows, w.columns, panel, scales, out, stride, then),
                    2.. => tile::<2>(q, rows, w.columns, panel, scales, out, stride, then),
                    _ => tile::<1>(q, rows, w.columns, panel, scales, out, stride, then),
                };
            }
        }
    }
}

/// `M` rows of activations times a panel of 32 rows of weights. Returns `M`.
///
/// # Safety
/// `q` and `rows` have `M` rows, `out` has `M - 1` strides and 32 elements.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn tile<const M: usize>(
    q: &[u8],
    rows: &[Row],
    columns: usize,
    panel: &[Line],
    scales: &[f32; PANEL],
    out: &mut [f32],
    stride: usize,
    then: Then,
) -> usize {
    let groups = columns / 4;
    let mut a = [[_mm512_setzero_si512(); 2]; M];
    for i in 0..M {
        a[i] = [_mm512_set1_epi32(rows[i].sum.wrapping_mul(-128)); 2];
    }
    let (q, panel) = (q.as_ptr(), panel.as_ptr());
    for g in 0..groups {
        // SAFETY: a panel has 2 * groups lines, a row of activations 4 * groups bytes.
        unsafe {
            let w0 = _mm512_loadu_si512(panel.add(g).cast());
            let w1 = _mm512_loadu_si512(panel.add(groups + g).cast());
            for i in 0..M {
                let four = _mm512_set1_epi32(q.add(i * columns + 4 * g).cast::<i32>().read_unaligned());
                a[i][0] = _mm512_dpbusd_epi32(a[i][0], w0, four);
                a[i][1] = _mm512_dpbusd_epi32(a[i][1], w1, four);
            }
        }
    }
    for i in 0..M {
        let scale = _mm512_set1_ps(rows[i].scale);
        for half in 0..2 {
            // SAFETY: 32 scales, and 32 results from `i * stride` on.
            unsafe {
                let s = _mm512_mul_ps(scale, _mm512_loadu_ps(scales.as_ptr().add(half * BLOCK)));
                let mut y = _mm512_mul_ps(_mm512_cvtepi32_ps(a[i][half]), s);
                let to = out.as_mut_ptr().add(i * stride + half * BLOCK);
                if then == Then::Add {
                    y = _mm512_add_ps(_mm512_loadu_ps(to), y);
                }
                _mm512_storeu_ps(to, y);
            }
        }
    }
    M
}

/// `H` queries times the 64 keys of a group.
///
/// # Safety
/// `q` has `H` rows of 64, `keys` 64 lines, `out` `H - 1` strides and 64 elements.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn scores<const H: usize>(q: &[u8], sums: &[i32], keys: &[Line], out: &mut [i32], stride: usize) {
    let mut a = [[_mm512_setzero_si512(); 4]; H];
    for h in 0..H {
        a[h] = [_mm512_set1_epi32(sums[h].wrapping_mul(-128)); 4];
    }
    let (q, keys) = (q.as_ptr(), keys.as_ptr());
    for g in 0..HEAD / 4 {
        // SAFETY: 4 blocks of 16 lines; 64 bytes a head.
        unsafe {
            let mut k = [_mm512_setzero_si512(); 4];
            for (block, k) in k.iter_mut().enumerate() {
                *k = _mm512_loadu_si512(keys.add(block * BLOCK + g).cast());
            }
            for h in 0..H {
                let four = _mm512_set1_epi32(q.add(h * HEAD + 4 * g).cast::<i32>().read_unaligned());
                for block in 0..4 {
                    a[h][block] = _mm512_dpbusd_epi32(a[h][block], k[block], four);
                }
            }
        }
    }
    for h in 0..H {
        for block in 0..4 {
            // SAFETY: 64 results from `h * stride` on.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().add(h * stride + block * BLOCK).cast(), a[h][block]) }
        }
    }
}

/// Sums the values of the groups, weighted, for `H` heads.
///
/// # Safety
/// The weights have `H - 1` strides and as many elements as `parts` have lines; `out` has `H` rows of 64.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn weigh<const H: usize>(weights: &[u8], stride: usize, parts: [&[Line]; 2], out: &mut [f32]) {
    let mut a = [[_mm512_setzero_si512(); 4]; H];
    let mut weights = weights.as_ptr();
    for part in parts {
        let mut lines = part.as_ptr();
        for _ in 0..part.len() / 4 {
            // SAFETY: four lines and four weights a head are left.
            unsafe {
                let mut v = [_mm512_setzero_si512(); 4];
                for (c, v) in v.iter_mut().enumerate() {
                    *v = _mm512_loadu_si512(lines.add(c).cast());
                }
                for h in 0..H {
                    let four = _mm512_set1_epi32(weights.add(h * stride).cast::<i32>().read_unaligned());
                    for c in 0..4 {
                        a[h][c] = _mm512_dpbusd_epi32(a[h][c], four, v[c]);
                    }
                }
                lines = lines.add(4);
                weights = weights.add(4);
            }
        }
    }
    for (a, out) in a.iter().zip(out.chunks_exact_mut(HEAD)) {
        for (a, out) in a.iter().zip(out.as_chunks_mut::<16>().0) {
            // SAFETY: 16 elements.
            unsafe { _mm512_storeu_ps(out.as_mut_ptr(), _mm512_cvtepi32_ps(*a)) }
        }
    }
}
