//! Whole numbers side by side: what the mixer needs beside [`Simd`].
//!
//! As there, all implementations give the same bits, and `Plain` is the definition.

use super::{Plain, Simd, WAYS, map};

/// Operations on 16 i32, and on the four rows of 16 bytes of a cache line.
pub trait Whole: Simd {
    /// The elements `f(0)` to `f(15)`.
    fn generate(self, f: impl FnMut(usize) -> i32) -> Self::I;
    /// a * b, wrapping.
    fn mul_int(self, a: Self::I, b: Self::I) -> Self::I;
    /// a or b, bit by bit.
    fn or(self, a: Self::I, b: Self::I) -> Self::I;
    /// x / 2^N, rounded down.
    fn shift_right<const N: u32>(self, x: Self::I) -> Self::I;
    /// x / 2^n, rounded down; `n` is at most 31.
    fn shift_right_by(self, x: Self::I, n: u32) -> Self::I;
    /// x / 2^N of unsigned numbers, rounded down.
    fn shift_right_unsigned<const N: u32>(self, x: Self::I) -> Self::I;
    /// The smaller of a and b.
    fn min_int(self, a: Self::I, b: Self::I) -> Self::I;
    /// The sum of all elements, wrapping.
    fn sum(self, x: Self::I) -> i32;
    /// Which rows begin with `byte`: bit 16 of the result for row 1 and so on; the other bits are not set.
    fn heads(self, rows: &[[u8; WAYS]; 4], byte: u8) -> u64;
}

impl Whole for Plain {
    #[inline(always)]
    fn generate(self, f: impl FnMut(usize) -> i32) -> Self::I {
        std::array::from_fn(f)
    }
    #[inline(always)]
    fn mul_int(self, a: Self::I, b: Self::I) -> Self::I {
        map(a, b, i32::wrapping_mul)
    }
    #[inline(always)]
    fn or(self, a: Self::I, b: Self::I) -> Self::I {
        map(a, b, |a, b| a | b)
    }
    #[inline(always)]
    fn shift_right<const N: u32>(self, x: Self::I) -> Self::I {
        x.map(|x| x >> N)
    }
    #[inline(always)]
    fn shift_right_by(self, x: Self::I, n: u32) -> Self::I {
        x.map(|x| x >> (n & 31))
    }
    #[inline(always)]
    fn shift_right_unsigned<const N: u32>(self, x: Self::I) -> Self::I {
        x.map(|x| (x.cast_unsigned() >> N).cast_signed())
    }
    #[inline(always)]
    fn min_int(self, a: Self::I, b: Self::I) -> Self::I {
        map(a, b, i32::min)
    }
    #[inline(always)]
    fn sum(self, x: Self::I) -> i32 {
        x.iter().fold(0, |sum: i32, &x| sum.wrapping_add(x))
    }
    #[inline(always)]
    fn heads(self, rows: &[[u8; WAYS]; 4], byte: u8) -> u64 {
        u64::from(rows[0][0] == byte)
            | u64::from(rows[1][0] == byte) << 16
            | u64::from(rows[2][0] == byte) << 32
            | u64::from(rows[3][0] == byte) << 48
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "vector instructions, and loads and stores through references")]
mod x86_64 {
    use std::arch::x86_64::*;

    use super::super::avx2::Avx2;
    use super::super::avx512::Avx512;
    use super::{WAYS, Whole};

    /// Writes methods that are instructions of the features that `self` proves.
    macro_rules! whole {
        ($(fn $name:ident $(<const $n:ident>)? ($($arg:ident: $ty:ty),*) -> $ret:ty = $body:expr;)*) => {
            $(
                #[inline(always)]
                fn $name $(<const $n: u32>)? (self, $($arg: $ty),*) -> $ret {
                    // SAFETY: `self` proves the features; memory is only touched through references to whole vectors.
                    #[allow(unused_unsafe, reason = "some instructions are safe to name")]
                    unsafe { $body }
                }
            )*
        };
    }

    /// The sum of the elements of a vector of 8.
    #[inline(always)]
    fn sum_256(x: __m256i) -> i32 {
        // SAFETY: only called where the CPU has AVX2.
        unsafe {
            let x = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x));
            let x = _mm_add_epi32(x, _mm_shuffle_epi32::<0b01_00_11_10>(x));
            _mm_cvtsi128_si32(_mm_add_epi32(x, _mm_shuffle_epi32::<0b10_11_00_01>(x)))
        }
    }

    /// The two halves added.
    #[inline(always)]
    fn fold_512(x: __m512i) -> __m256i {
        // SAFETY: only called where the CPU has AVX-512 F.
        unsafe { _mm256_add_epi32(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64::<1>(x)) }
    }

    /// The two vectors added.
    #[inline(always)]
    fn fold(x: [__m256i; 2]) -> __m256i {
        // SAFETY: only called where the CPU has AVX2.
        unsafe { _mm256_add_epi32(x[0], x[1]) }
    }

    /// The first bytes of the rows of a line.
    const HEADS: u64 = 0x0001_0001_0001_0001;

    impl Whole for Avx512 {
        #[inline(always)]
        fn generate(self, mut f: impl FnMut(usize) -> i32) -> __m512i {
            let x: [i32; 16] = std::array::from_fn(&mut f);
            // SAFETY: `self` proves the features.
            unsafe {
                _mm512_setr_epi32(
                    x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7], x[8], x[9], x[10], x[11], x[12], x[13], x[14],
                    x[15],
                )
            }
        }
        whole! {
            fn mul_int(a: __m512i, b: __m512i) -> __m512i = _mm512_mullo_epi32(a, b);
            fn or(a: __m512i, b: __m512i) -> __m512i = _mm512_or_si512(a, b);
            fn shift_right<const N>(x: __m512i) -> __m512i = _mm512_srai_epi32::<N>(x);
            fn shift_right_by(x: __m512i, n: u32) -> __m512i =
                _mm512_sra_epi32(x, _mm_cvtsi32_si128((n & 31).cast_signed()));
            fn shift_right_unsigned<const N>(x: __m512i) -> __m512i = _mm512_srli_epi32::<N>(x);
            fn min_int(a: __m512i, b: __m512i) -> __m512i = _mm512_min_epi32(a, b);
            fn sum(x: __m512i) -> i32 = sum_256(fold_512(x));
            fn heads(rows: &[[u8; WAYS]; 4], byte: u8) -> u64 = {
                let rows = _mm512_loadu_si512(rows.as_ptr().cast());
                _mm512_cmpeq_epi8_mask(rows, _mm512_set1_epi8(byte.cast_signed())) & HEADS
            };
        }
    }

    /// An operation on both halves.
    macro_rules! both {
        ($op:ident $(::<$n:ident>)? ($($arg:ident),*)) => {
            [$op $(::<$n>)? ($($arg[0]),*), $op $(::<$n>)? ($($arg[1]),*)]
        };
    }

    impl Whole for Avx2 {
        #[inline(always)]
        fn generate(self, mut f: impl FnMut(usize) -> i32) -> Self::I {
            let x: [i32; 16] = std::array::from_fn(&mut f);
            // SAFETY: `self` proves the features.
            unsafe {
                [
                    _mm256_setr_epi32(x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]),
                    _mm256_setr_epi32(x[8], x[9], x[10], x[11], x[12], x[13], x[14], x[15]),
                ]
            }
        }
        #[inline(always)]
        fn shift_right<const N: u32>(self, x: Self::I) -> Self::I {
            self.shift_right_by(x, N)
        }
        #[inline(always)]
        fn shift_right_unsigned<const N: u32>(self, x: Self::I) -> Self::I {
            // SAFETY: `self` proves the features.
            unsafe {
                let n = _mm_cvtsi32_si128(N.cast_signed());
                [_mm256_srl_epi32(x[0], n), _mm256_srl_epi32(x[1], n)]
            }
        }
        whole! {
            fn mul_int(a: Self::I, b: Self::I) -> Self::I = both!(_mm256_mullo_epi32(a, b));
            fn or(a: Self::I, b: Self::I) -> Self::I = both!(_mm256_or_si256(a, b));
            fn shift_right_by(x: Self::I, n: u32) -> Self::I = {
                let n = _mm_cvtsi32_si128((n & 31).cast_signed());
                [_mm256_sra_epi32(x[0], n), _mm256_sra_epi32(x[1], n)]
            };
            fn min_int(a: Self::I, b: Self::I) -> Self::I = both!(_mm256_min_epi32(a, b));
            fn sum(x: Self::I) -> i32 = sum_256(fold(x));
            fn heads(rows: &[[u8; WAYS]; 4], byte: u8) -> u64 = {
                let byte = _mm256_set1_epi8(byte.cast_signed());
                let equal = |half: *const [u8; 16]| {
                    let half = _mm256_cmpeq_epi8(_mm256_loadu_si256(half.cast()), byte);
                    u64::from(_mm256_movemask_epi8(half).cast_unsigned())
                };
                (equal(rows.as_ptr()) | equal(rows.as_ptr().add(2)) << 32) & HEADS
            };
        }
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
#[allow(clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::super::{avx2::Avx2, avx512::Avx512};
    use super::*;
    use proptest::prelude::*;

    /// The results of all operations, one after the other.
    #[inline(always)]
    fn all<S: Whole>(s: S, a: &[i32; WAYS], b: &[i32; WAYS], rows: &[[u8; WAYS]; 4]) -> Vec<i32> {
        let n = b[0].cast_unsigned() & 31;
        let (a, from_b) = (s.load_int(a), s.generate(|i| b[i] ^ i as i32));
        let b = s.load_int(b);
        let results = [
            from_b,
            s.mul_int(a, b),
            s.or(a, b),
            s.shift_right::<5>(a),
            s.shift_right_by(a, n),
            s.shift_right_unsigned::<9>(a),
            s.min_int(a, b),
        ];
        let mut out = Vec::new();
        for result in results {
            let mut to = [0; WAYS];
            s.store_int(result, &mut to);
            out.extend(to);
        }
        out.push(s.sum(a));
        let heads = s.heads(rows, rows[0][0]);
        out.extend([heads as i32, (heads >> 32) as i32]);
        out
    }

    proptest! {
        #[test]
        fn all_vectors_do_the_same(
            a in prop::array::uniform16(any::<i32>()),
            b in prop::array::uniform16(any::<i32>()),
            bytes in prop::collection::vec(0_u8..3, 64),
        ) {
            let rows: [[u8; WAYS]; 4] = std::array::from_fn(|i| std::array::from_fn(|j| bytes[i * WAYS + j]));
            let expected = all(Plain, &a, &b, &rows);
            if let Some(s) = Avx512::detect() {
                prop_assert_eq!(all(s, &a, &b, &rows), &expected[..]);
            }
            if let Some(s) = Avx2::detect() {
                prop_assert_eq!(all(s, &a, &b, &rows), &expected[..]);
            }
        }
    }
}
