//! Sixteen elements side by side: the operations that the exact arithmetic is written in.
//!
//! An implementation is a proof that the CPU has its instructions. Each operation is the IEEE 754 or two's complement
//! one on every element, so all implementations give the same bits; `Plain` is the definition.

#[cfg(target_arch = "x86_64")]
pub mod avx2;
#[cfg(target_arch = "x86_64")]
pub mod avx512;
pub mod dispatch;
#[cfg(target_arch = "aarch64")]
pub mod neon;
pub mod whole;

/// Work written once for all instruction sets.
pub trait Task {
    /// What it computes.
    type Output;

    /// Does it. Implementations are `#[inline(always)]`, to be compiled with the caller's instructions.
    fn run<S: Simd>(self, s: S) -> Self::Output;
}

/// Asks for the memory of an entry that is about to be needed. Any index is allowed.
#[inline(always)]
pub fn prefetch<T>(table: &[T], index: usize) {
    hint::<false, T>(table, index);
}

/// [`prefetch`], of what is needed a little later: into the second level's cache.
#[inline(always)]
pub fn prefetch_early<T>(table: &[T], index: usize) {
    hint::<true, T>(table, index);
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
fn hint<const EARLY: bool, T>(table: &[T], index: usize) {
    use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
    let entry = table.as_ptr().wrapping_add(index).cast();
    // SAFETY: prefetching is a hint that touches no memory as far as the program can see; wrapping_add makes no promise
    // about the address, and SSE is part of x86_64.
    #[allow(unsafe_code, reason = "no safe way to ask for a cache line")]
    unsafe {
        if EARLY {
            _mm_prefetch::<_MM_HINT_T1>(entry);
        } else {
            _mm_prefetch::<_MM_HINT_T0>(entry);
        }
    }
}

#[cfg(any(not(target_arch = "x86_64"), miri))]
#[inline(always)]
fn hint<const EARLY: bool, T>(_: &[T], _: usize) {}

/// Writes methods of [`Simd`] that are one instruction each.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! simd {
    ($(fn $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $body:expr;)*) => {
        $(
            #[inline(always)]
            fn $name(self, $($arg: $ty),*) -> $ret {
                // SAFETY: `self` proves the features; memory is only touched through references to whole vectors.
                #[allow(unused_unsafe, reason = "some instructions are safe to name")]
                unsafe { $body }
            }
        )*
    };
}
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use simd;

/// Elements of a vector.
pub const WAYS: usize = 16;

/// Operations on 16 f32 (`F`) or 16 i32 (`I`).
pub trait Simd: Copy {
    /// 16 f32.
    type F: Copy;
    /// 16 i32.
    type I: Copy;

    /// All elements `x`.
    fn splat(self, x: f32) -> Self::F;
    /// Elements from memory.
    fn load(self, x: &[f32; WAYS]) -> Self::F;
    /// Elements to memory.
    fn store(self, x: Self::F, to: &mut [f32; WAYS]);
    /// a + b.
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    /// a - b.
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    /// a * b.
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// a / b.
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// `x` where it is greater than `low`, else `low`: also for NaN.
    fn at_least(self, x: Self::F, low: Self::F) -> Self::F;
    /// `x` where it is less than `high`, else `high`: also for NaN.
    fn at_most(self, x: Self::F, high: Self::F) -> Self::F;
    /// The integer part of numbers from 0 to 2^30.
    fn truncate(self, x: Self::F) -> Self::I;
    /// The nearest f32, ties to even.
    fn float(self, x: Self::I) -> Self::F;
    /// The bits of `x`.
    fn bits(self, x: Self::F) -> Self::I;
    /// The f32 with these bits.
    fn of_bits(self, x: Self::I) -> Self::F;

    /// All elements `x`.
    fn splat_int(self, x: i32) -> Self::I;
    /// Elements from memory.
    fn load_int(self, x: &[i32; WAYS]) -> Self::I;
    /// Elements to memory.
    fn store_int(self, x: Self::I, to: &mut [i32; WAYS]);
    /// Elements to memory, as unsigned integers.
    fn store_unsigned(self, x: Self::I, to: &mut [u32; WAYS]);
    /// The low byte of each element to memory.
    fn store_bytes(self, x: Self::I, to: &mut [u8; WAYS]);
    /// a + b, wrapping.
    fn add_int(self, a: Self::I, b: Self::I) -> Self::I;
    /// a - b, wrapping.
    fn sub_int(self, a: Self::I, b: Self::I) -> Self::I;
    /// a and b.
    fn and(self, a: Self::I, b: Self::I) -> Self::I;
    /// a exclusive-or b.
    fn xor(self, a: Self::I, b: Self::I) -> Self::I;
    /// x * 2^N, wrapping.
    fn shift_left<const N: u32>(self, x: Self::I) -> Self::I;
}

/// The definition, in plain Rust.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

#[inline(always)]
fn map<A: Copy, B: Copy, C: Copy + Default>(a: [A; WAYS], b: [B; WAYS], f: impl Fn(A, B) -> C) -> [C; WAYS] {
    let mut c = [C::default(); WAYS];
    for ((c, &a), &b) in c.iter_mut().zip(&a).zip(&b) {
        *c = f(a, b);
    }
    c
}

impl Simd for Plain {
    type F = [f32; WAYS];
    type I = [i32; WAYS];

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        [x; WAYS]
    }
    #[inline(always)]
    fn load(self, x: &[f32; WAYS]) -> Self::F {
        *x
    }
    #[inline(always)]
    fn store(self, x: Self::F, to: &mut [f32; WAYS]) {
        *to = x;
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        map(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        map(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        map(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        map(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn at_least(self, x: Self::F, low: Self::F) -> Self::F {
        map(x, low, |x, low| if x > low { x } else { low })
    }
    #[inline(always)]
    fn at_most(self, x: Self::F, high: Self::F) -> Self::F {
        map(x, high, |x, high| if x < high { x } else { high })
    }
    #[inline(always)]
    fn truncate(self, x: Self::F) -> Self::I {
        x.map(|x| x as i32)
    }
    #[inline(always)]
    fn float(self, x: Self::I) -> Self::F {
        x.map(|x| x as f32)
    }
    #[inline(always)]
    fn bits(self, x: Self::F) -> Self::I {
        x.map(|x| x.to_bits().cast_signed())
    }
    #[inline(always)]
    fn of_bits(self, x: Self::I) -> Self::F {
        x.map(|x| f32::from_bits(x.cast_unsigned()))
    }
    #[inline(always)]
    fn splat_int(self, x: i32) -> Self::I {
        [x; WAYS]
    }
    #[inline(always)]
    fn load_int(self, x: &[i32; WAYS]) -> Self::I {
        *x
    }
    #[inline(always)]
    fn store_int(self, x: Self::I, to: &mut [i32; WAYS]) {
        *to = x;
    }
    #[inline(always)]
    fn store_unsigned(self, x: Self::I, to: &mut [u32; WAYS]) {
        *to = x.map(i32::cast_unsigned);
    }
    #[inline(always)]
    fn store_bytes(self, x: Self::I, to: &mut [u8; WAYS]) {
        *to = x.map(|x| x as u8);
    }
    #[inline(always)]
    fn add_int(self, a: Self::I, b: Self::I) -> Self::I {
        map(a, b, i32::wrapping_add)
    }
    #[inline(always)]
    fn sub_int(self, a: Self::I, b: Self::I) -> Self::I {
        map(a, b, i32::wrapping_sub)
    }
    #[inline(always)]
    fn and(self, a: Self::I, b: Self::I) -> Self::I {
        map(a, b, |a, b| a & b)
    }
    #[inline(always)]
    fn xor(self, a: Self::I, b: Self::I) -> Self::I {
        map(a, b, |a, b| a ^ b)
    }
    #[inline(always)]
    fn shift_left<const N: u32>(self, x: Self::I) -> Self::I {
        x.map(|x| x << N)
    }
}
