//! Sixteen elements side by side: the operations that the floating-point stages are written in.
//!
//! An implementation is a proof that the CPU has its instructions. Each operation is the IEEE 754 or two's complement
//! one on every element, so all implementations give the same bits; `Plain` is the definition.

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
