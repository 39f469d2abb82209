//! Vectors of 16 with AVX-512: one register each.
#![allow(unsafe_code, reason = "vector instructions, and loads and stores through pointers")]

use std::arch::x86_64::*;

use super::{Simd, Task, WAYS, simd};

/// Proof that the CPU has AVX-512 F, BW, DQ and VL, and VNNI if `VNNI`.
#[derive(Clone, Copy, Debug)]
pub struct Wide<const VNNI: bool>(());

/// Proof that the CPU has AVX-512 F, BW, DQ and VL.
pub type Avx512 = Wide<false>;
/// Proof that the CPU has AVX-512 F, BW, DQ, VL and VNNI.
pub type Avx512Vnni = Wide<true>;

impl<const VNNI: bool> Wide<VNNI> {
    /// The proof, if it can be given.
    #[inline]
    pub fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && (!VNNI || is_x86_feature_detected!("avx512vnni"));
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
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
        fn compiled<T: Task, const VNNI: bool>(s: Wide<VNNI>, task: T) -> T::Output {
            task.run(s)
        }
        // SAFETY: `self` proves the features.
        unsafe { compiled(self, task) }
    }
}

impl<const VNNI: bool> Simd for Wide<VNNI> {
    type F = __m512;
    type I = __m512i;

    simd! {
        fn splat(x: f32) -> __m512 = _mm512_set1_ps(x);
        fn load(x: &[f32; WAYS]) -> __m512 = _mm512_loadu_ps(x.as_ptr());
        fn store(x: __m512, to: &mut [f32; WAYS]) -> () = _mm512_storeu_ps(to.as_mut_ptr(), x);
        fn add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
        fn sub(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps(a, b);
        fn mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
        fn div(a: __m512, b: __m512) -> __m512 = _mm512_div_ps(a, b);
        fn at_least(x: __m512, low: __m512) -> __m512 = _mm512_max_ps(x, low);
        fn at_most(x: __m512, high: __m512) -> __m512 = _mm512_min_ps(x, high);
        fn truncate(x: __m512) -> __m512i = _mm512_cvttps_epi32(x);
        fn float(x: __m512i) -> __m512 = _mm512_cvtepi32_ps(x);
        fn bits(x: __m512) -> __m512i = _mm512_castps_si512(x);
        fn of_bits(x: __m512i) -> __m512 = _mm512_castsi512_ps(x);
        fn splat_int(x: i32) -> __m512i = _mm512_set1_epi32(x);
        fn load_int(x: &[i32; WAYS]) -> __m512i = _mm512_loadu_si512(x.as_ptr().cast());
        fn store_int(x: __m512i, to: &mut [i32; WAYS]) -> () = _mm512_storeu_si512(to.as_mut_ptr().cast(), x);
        fn store_unsigned(x: __m512i, to: &mut [u32; WAYS]) -> () =
            _mm512_storeu_si512(to.as_mut_ptr().cast(), x);
        fn store_bytes(x: __m512i, to: &mut [u8; WAYS]) -> () =
            _mm_storeu_si128(to.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(x));
        fn add_int(a: __m512i, b: __m512i) -> __m512i = _mm512_add_epi32(a, b);
        fn sub_int(a: __m512i, b: __m512i) -> __m512i = _mm512_sub_epi32(a, b);
        fn and(a: __m512i, b: __m512i) -> __m512i = _mm512_and_si512(a, b);
        fn xor(a: __m512i, b: __m512i) -> __m512i = _mm512_xor_si512(a, b);
    }
    #[inline(always)]
    fn shift_left<const N: u32>(self, x: __m512i) -> __m512i {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_slli_epi32::<N>(x) }
    }
}
