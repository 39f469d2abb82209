//! Vectors of 16 with NEON: four registers each.
#![allow(unsafe_code, reason = "vector instructions, and loads and stores through pointers")]

use std::arch::aarch64::*;
use std::arch::is_aarch64_feature_detected;

use super::{Simd, Task, WAYS, simd};

/// Proof that the CPU has NEON, and the dot product instructions if `DOT`.
#[derive(Clone, Copy, Debug)]
pub struct Quarters<const DOT: bool>(());

/// Proof that the CPU has NEON.
pub type Neon = Quarters<false>;
/// Proof that the CPU has NEON and its dot products.
pub type NeonDot = Quarters<true>;

impl<const DOT: bool> Quarters<DOT> {
    /// The proof, if it can be given.
    #[inline]
    pub fn detect() -> Option<Self> {
        let has = is_aarch64_feature_detected!("neon") && (!DOT || is_aarch64_feature_detected!("dotprod"));
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
        #[target_feature(enable = "neon")]
        fn compiled<T: Task, const DOT: bool>(s: Quarters<DOT>, task: T) -> T::Output {
            task.run(s)
        }
        // SAFETY: `self` proves the features.
        unsafe { compiled(self, task) }
    }
}

/// An operation on all four quarters.
macro_rules! all {
    ($op:ident($($arg:expr),*)) => {
        all!(@ $op, ($($arg),*), [0, 1, 2, 3])
    };
    (@ $op:ident, $args:tt, [$($i:literal),*]) => {
        [$(all!(# $op, $args, $i)),*]
    };
    (# $op:ident, ($($arg:expr),*), $i:literal) => {
        $op($($arg[$i]),*)
    };
}

impl<const DOT: bool> Simd for Quarters<DOT> {
    type F = [float32x4_t; 4];
    type I = [int32x4_t; 4];

    simd! {
        fn splat(x: f32) -> Self::F = [vdupq_n_f32(x); 4];
        fn load(x: &[f32; WAYS]) -> Self::F = {
            let x = x.as_ptr();
            [vld1q_f32(x), vld1q_f32(x.add(4)), vld1q_f32(x.add(8)), vld1q_f32(x.add(12))]
        };
        fn store(x: Self::F, to: &mut [f32; WAYS]) -> () = {
            let to = to.as_mut_ptr();
            for (i, x) in x.into_iter().enumerate() {
                vst1q_f32(to.add(4 * i), x);
            }
        };
        fn add(a: Self::F, b: Self::F) -> Self::F = all!(vaddq_f32(a, b));
        fn sub(a: Self::F, b: Self::F) -> Self::F = all!(vsubq_f32(a, b));
        fn mul(a: Self::F, b: Self::F) -> Self::F = all!(vmulq_f32(a, b));
        fn div(a: Self::F, b: Self::F) -> Self::F = all!(vdivq_f32(a, b));
        // Not vmaxq and vminq, which keep NaN.
        fn at_least(x: Self::F, low: Self::F) -> Self::F = {
            let greater = all!(vcgtq_f32(x, low));
            all!(vbslq_f32(greater, x, low))
        };
        fn at_most(x: Self::F, high: Self::F) -> Self::F = {
            let less = all!(vcltq_f32(x, high));
            all!(vbslq_f32(less, x, high))
        };
        fn truncate(x: Self::F) -> Self::I = all!(vcvtq_s32_f32(x));
        fn float(x: Self::I) -> Self::F = all!(vcvtq_f32_s32(x));
        fn bits(x: Self::F) -> Self::I = all!(vreinterpretq_s32_f32(x));
        fn of_bits(x: Self::I) -> Self::F = all!(vreinterpretq_f32_s32(x));
        fn splat_int(x: i32) -> Self::I = [vdupq_n_s32(x); 4];
        fn load_int(x: &[i32; WAYS]) -> Self::I = {
            let x = x.as_ptr();
            [vld1q_s32(x), vld1q_s32(x.add(4)), vld1q_s32(x.add(8)), vld1q_s32(x.add(12))]
        };
        fn store_int(x: Self::I, to: &mut [i32; WAYS]) -> () = {
            let to = to.as_mut_ptr();
            for (i, x) in x.into_iter().enumerate() {
                vst1q_s32(to.add(4 * i), x);
            }
        };
        fn store_unsigned(x: Self::I, to: &mut [u32; WAYS]) -> () = {
            let to = to.as_mut_ptr();
            for (i, x) in x.into_iter().enumerate() {
                vst1q_u32(to.add(4 * i), vreinterpretq_u32_s32(x));
            }
        };
        fn store_bytes(x: Self::I, to: &mut [u8; WAYS]) -> () = {
            let words = all!(vreinterpretq_u16_s32(x));
            // The low halves of the elements, then the low bytes of those.
            let (low, high) = (vuzp1q_u16(words[0], words[1]), vuzp1q_u16(words[2], words[3]));
            vst1q_u8(to.as_mut_ptr(), vuzp1q_u8(vreinterpretq_u8_u16(low), vreinterpretq_u8_u16(high)));
        };
        fn add_int(a: Self::I, b: Self::I) -> Self::I = all!(vaddq_s32(a, b));
        fn sub_int(a: Self::I, b: Self::I) -> Self::I = all!(vsubq_s32(a, b));
        fn and(a: Self::I, b: Self::I) -> Self::I = all!(vandq_s32(a, b));
        fn xor(a: Self::I, b: Self::I) -> Self::I = all!(veorq_s32(a, b));
    }
    #[inline(always)]
    fn shift_left<const N: u32>(self, x: Self::I) -> Self::I {
        // SAFETY: `self` proves the features.
        unsafe {
            let n = [vdupq_n_s32(N.cast_signed()); 4];
            all!(vshlq_s32(x, n))
        }
    }
}
