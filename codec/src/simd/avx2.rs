//! Vectors of 16 with AVX2: two registers each.
#![allow(unsafe_code, reason = "vector instructions, and loads and stores through pointers")]

use std::arch::x86_64::*;

use super::{Simd, Task, WAYS, simd};

/// Proof that the CPU has AVX2, and AVX-VNNI if `VNNI`.
#[derive(Clone, Copy, Debug)]
pub struct Avx<const VNNI: bool>(());

/// Proof that the CPU has AVX2.
pub type Avx2 = Avx<false>;
/// Proof that the CPU has AVX2 and AVX-VNNI.
pub type AvxVnni = Avx<true>;

impl<const VNNI: bool> Avx<VNNI> {
    /// The proof, if it can be given.
    #[inline]
    pub fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2") && (!VNNI || is_x86_feature_detected!("avxvnni"));
        has.then_some(Self(()))
    }

    /// The proof, unchecked.
    ///
    /// # Safety
    /// [`detect`](Self::detect) must have given it before.
    pub unsafe fn assume() -> Self {
        Self(())
    }

    /// Does a task.
    #[inline]
    pub fn run<T: Task>(self, task: T) -> T::Output {
        #[target_feature(enable = "avx2")]
        fn compiled<T: Task, const VNNI: bool>(s: Avx<VNNI>, task: T) -> T::Output {
            task.run(s)
        }
        // SAFETY: `self` proves the features.
        unsafe { compiled(self, task) }
    }
}

/// An operation on both halves.
macro_rules! both {
    ($op:ident($($arg:ident),*)) => {
        [$op($($arg[0]),*), $op($($arg[1]),*)]
    };
}

impl<const VNNI: bool> Simd for Avx<VNNI> {
    type F = [__m256; 2];
    type I = [__m256i; 2];

    simd! {
        fn splat(x: f32) -> Self::F = [_mm256_set1_ps(x); 2];
        fn load(x: &[f32; WAYS]) -> Self::F = [_mm256_loadu_ps(x.as_ptr()), _mm256_loadu_ps(x.as_ptr().add(8))];
        fn store(x: Self::F, to: &mut [f32; WAYS]) -> () = {
            _mm256_storeu_ps(to.as_mut_ptr(), x[0]);
            _mm256_storeu_ps(to.as_mut_ptr().add(8), x[1]);
        };
        fn add(a: Self::F, b: Self::F) -> Self::F = both!(_mm256_add_ps(a, b));
        fn sub(a: Self::F, b: Self::F) -> Self::F = both!(_mm256_sub_ps(a, b));
        fn mul(a: Self::F, b: Self::F) -> Self::F = both!(_mm256_mul_ps(a, b));
        fn div(a: Self::F, b: Self::F) -> Self::F = both!(_mm256_div_ps(a, b));
        fn at_least(x: Self::F, low: Self::F) -> Self::F = both!(_mm256_max_ps(x, low));
        fn at_most(x: Self::F, high: Self::F) -> Self::F = both!(_mm256_min_ps(x, high));
        fn truncate(x: Self::F) -> Self::I = both!(_mm256_cvttps_epi32(x));
        fn float(x: Self::I) -> Self::F = both!(_mm256_cvtepi32_ps(x));
        fn bits(x: Self::F) -> Self::I = both!(_mm256_castps_si256(x));
        fn of_bits(x: Self::I) -> Self::F = both!(_mm256_castsi256_ps(x));
        fn splat_int(x: i32) -> Self::I = [_mm256_set1_epi32(x); 2];
        fn load_int(x: &[i32; WAYS]) -> Self::I =
            [_mm256_loadu_si256(x.as_ptr().cast()), _mm256_loadu_si256(x.as_ptr().add(8).cast())];
        fn store_int(x: Self::I, to: &mut [i32; WAYS]) -> () = {
            _mm256_storeu_si256(to.as_mut_ptr().cast(), x[0]);
            _mm256_storeu_si256(to.as_mut_ptr().add(8).cast(), x[1]);
        };
        fn store_unsigned(x: Self::I, to: &mut [u32; WAYS]) -> () = {
            _mm256_storeu_si256(to.as_mut_ptr().cast(), x[0]);
            _mm256_storeu_si256(to.as_mut_ptr().add(8).cast(), x[1]);
        };
        fn store_bytes(x: Self::I, to: &mut [u8; WAYS]) -> () = {
            let low = _mm256_set1_epi32(255);
            // Quarters 0 2 1 3 after the first pack, which the permutation puts in order.
            let words = _mm256_packus_epi32(_mm256_and_si256(x[0], low), _mm256_and_si256(x[1], low));
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
            let bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            _mm_storeu_si128(to.as_mut_ptr().cast(), bytes);
        };
        fn add_int(a: Self::I, b: Self::I) -> Self::I = both!(_mm256_add_epi32(a, b));
        fn sub_int(a: Self::I, b: Self::I) -> Self::I = both!(_mm256_sub_epi32(a, b));
        fn and(a: Self::I, b: Self::I) -> Self::I = both!(_mm256_and_si256(a, b));
        fn xor(a: Self::I, b: Self::I) -> Self::I = both!(_mm256_xor_si256(a, b));
    }
    #[inline(always)]
    fn shift_left<const N: u32>(self, x: Self::I) -> Self::I {
        // SAFETY: `self` proves the features.
        unsafe {
            let n = _mm_cvtsi32_si128(N.cast_signed());
            [_mm256_sll_epi32(x[0], n), _mm256_sll_epi32(x[1], n)]
        }
    }
}
