//! The floating-point operations of the engine, each defined to the bit.
//!
//! Only IEEE 754 binary32 add, subtract, multiply, divide, square root and comparisons, in the order written, without
//! contraction. They are written once over [`Simd`] and inlined into functions compiled per instruction set.

use crate::simd::{Simd, WAYS};

/// 1.5 * 2^23: adding it rounds |x| < 2^22 to the nearest integer, ties to even, into the low bits.
const MAGIC: f32 = 12_582_912.0;
/// Rows are quantized to -127..=127.
pub const LIMIT: f32 = 127.0;
/// The smallest magnitude a scale is made from, so that no scale is zero.
const FLOOR: f32 = 1e-30;
/// The largest one, so that products of two scales are finite.
const CEILING: f32 = 1e15;

/// The nearest integer, ties to even, of |x| < 2^22, as the low bits of a sum: its low byte is the integer's low byte,
/// and less `rounded(0)` it is the integer.
#[inline(always)]
pub fn rounded<S: Simd>(s: S, x: S::F) -> S::I {
    s.bits(s.add(x, s.splat(MAGIC)))
}

/// The sum of `count` results of [`rounded`] in each of 16 elements, as the integers' sum.
#[inline(always)]
pub fn total<S: Simd>(s: S, x: S::I, count: usize) -> i32 {
    let mut a = [0; WAYS];
    s.store_int(x, &mut a);
    let sum = a.iter().fold(0, |sum: i32, &v| sum.wrapping_add(v));
    let bias = MAGIC.to_bits().cast_signed().wrapping_mul(WAYS as i32);
    sum.wrapping_sub(bias.wrapping_mul(count as i32))
}

/// e^x for -87 <= x <= 87 (clamped; NaN counts as -87), relative error below 10^-5.
///
/// 2^t with t = x log2(e), n = round(t), and a polynomial of degree 5 in t - n (minimax, relative error 10^-7).
#[inline(always)]
pub fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    let x = s.at_most(s.at_least(x, s.splat(-87.0)), s.splat(87.0));
    let t = s.mul(x, s.splat(std::f32::consts::LOG2_E));
    // 1.3264724e-3, 9.6715130e-3, 5.5507336e-2, 2.4022242e-1, 6.9314700e-1
    power(s, t, [0x3aad_dd07, 0x3c1e_7544, 0x3d63_5ba9, 0x3e75_fcde, 0x3f31_7215])
}

/// 2^t for t <= 0, held to -126 and more (NaN counts as -126), relative error about 10^-4: attention's weights keep 8
/// bits.
#[inline(always)]
pub fn coarse_power<S: Simd>(s: S, t: S::F) -> S::F {
    // 5.5008903e-2, 2.4221097e-1, 6.9328296e-1
    power(
        s,
        s.at_least(t, s.splat(-126.0)),
        [0x3d61_5104, 0x3e78_0627, 0x3f31_7afe],
    )
}

/// 2^n * (1 + g (c[last] + g (... + g c[0]))) with n = round(t), g = t - n, by Horner's rule; `c` are bits of f32.
#[inline(always)]
fn power<S: Simd, const N: usize>(s: S, t: S::F, c: [u32; N]) -> S::F {
    let magic = s.splat(MAGIC);
    let shifted = s.add(t, magic);
    let g = s.sub(t, s.sub(shifted, magic));
    let mut p = s.splat(f32::from_bits(c[0]));
    for bits in &c[1..] {
        p = s.add(s.mul(p, g), s.splat(f32::from_bits(*bits)));
    }
    p = s.add(s.mul(p, g), s.splat(1.0));
    // The low bits of `shifted` are n; as an exponent with its bias that is 2^n.
    let power = s.shift_left::<23>(s.add_int(s.bits(shifted), s.splat_int(127)));
    s.mul(p, s.of_bits(power))
}

/// x * sigmoid(x).
#[inline(always)]
pub fn silu<S: Simd>(s: S, x: S::F) -> S::F {
    let minus = s.of_bits(s.xor(s.bits(x), s.splat_int(i32::MIN)));
    s.div(x, s.add(s.splat(1.0), exp(s, minus)))
}

/// The largest magnitude of `x` (a multiple of 16), NaN ignored, held to 1e-30..=1e15. Any order
/// gives the same bits.
#[inline(always)]
pub fn magnitude<S: Simd>(s: S, x: &[f32]) -> f32 {
    let mut most = s.splat(FLOOR);
    for chunk in x.as_chunks::<WAYS>().0 {
        let v = s.of_bits(s.and(s.bits(s.load(chunk)), s.splat_int(i32::MAX)));
        most = s.at_least(v, most);
    }
    let most = largest_of(s, most);
    if most < CEILING { most } else { CEILING }
}

/// The largest element of `x` (a multiple of 16), NaN ignored, at least `least`.
#[inline(always)]
pub fn largest<S: Simd>(s: S, x: &[f32], least: f32) -> f32 {
    let mut most = s.splat(least);
    for chunk in x.as_chunks::<WAYS>().0 {
        most = s.at_least(s.load(chunk), most);
    }
    largest_of(s, most)
}

/// The largest of 16 elements.
#[inline(always)]
pub fn largest_of<S: Simd>(s: S, x: S::F) -> f32 {
    let mut a = [0.0; WAYS];
    s.store(x, &mut a);
    let mut half = WAYS / 2;
    while half > 0 {
        for i in 0..half {
            a[i] = if a[i] > a[i + half] { a[i] } else { a[i + half] };
        }
        half /= 2;
    }
    a[0]
}

/// Sum of squares; the length is a multiple of 16. Partial sum i takes the elements i, i + 16, ... in order; then
/// halves are added element by element: 8, 4, 2, 1.
#[inline(always)]
pub fn sum_of_squares<S: Simd>(s: S, x: &[f32]) -> f32 {
    let mut sum = s.splat(0.0);
    for chunk in x.as_chunks::<WAYS>().0 {
        let v = s.load(chunk);
        sum = s.add(sum, s.mul(v, v));
    }
    let mut a = [0.0; WAYS];
    s.store(sum, &mut a);
    let mut half = WAYS / 2;
    while half > 0 {
        for i in 0..half {
            a[i] += a[i + half];
        }
        half /= 2;
    }
    a[0]
}

/// Writes round(x * inverse) held to -127..=127 (NaN: -127), returns the sum of what was written.
#[inline(always)]
pub fn quantize<S: Simd>(s: S, x: &[f32], inverse: f32, q: &mut [u8]) -> i32 {
    let inverse = s.splat(inverse);
    let mut sum = s.splat_int(0);
    for (x, q) in x.as_chunks::<WAYS>().0.iter().zip(q.as_chunks_mut::<WAYS>().0) {
        let v = s.at_least(s.mul(s.load(x), inverse), s.splat(-LIMIT));
        let v = rounded(s, s.at_most(v, s.splat(LIMIT)));
        sum = s.add_int(sum, v);
        s.store_bytes(v, q);
    }
    total(s, sum, x.len() / WAYS)
}

/// Cosines and sines of one position, for the 32 pairs of a head.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// Cosine by pair.
    pub cos: [f32; 32],
    /// Sine by pair.
    pub sin: [f32; 32],
}

/// Frequencies of the 32 pairs of a head of 64, in turns per position, as fractions of 2^64.
///
/// r = (1 / base)^(1/32) by five square roots in binary64, theta_i = r^i by repeated multiplication, then
/// theta_i / (2 pi) * 2^64 cut to an integer.
pub fn frequencies(base: f64) -> [u64; 32] {
    let mut ratio = 1.0 / base;
    for _ in 0..5 {
        ratio = ratio.sqrt();
    }
    let mut theta = 1.0;
    [(); 32].map(|()| {
        let turns = theta / std::f64::consts::TAU;
        theta *= ratio;
        (turns * 18_446_744_073_709_551_616.0) as u64
    })
}

/// The rotation at `position`. Angles are exact fractions of a turn (they wrap), so positions have no limit.
#[inline(always)]
pub fn rotation<S: Simd>(s: S, frequencies: &[u64; 32], position: u64, out: &mut Rotation) {
    const EIGHTH: u64 = 1 << 61;
    let (cos, sin) = (out.cos.as_chunks_mut::<WAYS>().0, out.sin.as_chunks_mut::<WAYS>().0);
    let parts = frequencies.as_chunks::<WAYS>().0.iter();
    for ((frequencies, cos), sin) in parts.zip(cos).zip(sin) {
        let (mut quadrants, mut offsets) = ([0; WAYS], [0; WAYS]);
        for i in 0..WAYS {
            let phase = frequencies[i].wrapping_mul(position).wrapping_add(EIGHTH);
            quadrants[i] = (phase >> 62) as i32;
            // The offset from the quadrant's middle, -1/8 to 1/8 turn, in units of 2^-26 turns.
            offsets[i] = ((phase & ((1 << 62) - 1)) >> 38) as i32 - (1 << 23);
        }
        let quadrant = s.load_int(&quadrants);
        let turns = s.mul(s.float(s.load_int(&offsets)), s.splat(f32::from_bits((127 - 26) << 23)));
        let a = s.mul(turns, s.splat(std::f32::consts::TAU));
        let b = s.mul(a, a);
        // Taylor series: the next terms are below 10^-7 within an eighth of a turn.
        let mut sine = s.splat(2.755_731_9e-6); // 1/9!
        for c in [-1.984_127e-4, 8.333_334e-3, -0.166_666_67] {
            sine = s.add(s.mul(sine, b), s.splat(c));
        }
        sine = s.add(s.mul(s.mul(sine, b), a), a);
        let mut cosine = s.splat(2.480_158_7e-5); // 1/8!
        for c in [-1.388_888_9e-3, 4.166_666_8e-2, -0.5, 1.0] {
            cosine = s.add(s.mul(cosine, b), s.splat(c));
        }
        // Odd quadrants swap the two; cosine is negative in 1 and 2, sine in 2 and 3.
        let odd = s.sub_int(s.splat_int(0), s.and(quadrant, s.splat_int(1)));
        let (c, n) = (s.bits(cosine), s.bits(sine));
        let swap = s.and(s.xor(c, n), odd);
        let minus_cos = s.shift_left::<30>(s.and(s.add_int(quadrant, s.splat_int(1)), s.splat_int(2)));
        let minus_sin = s.shift_left::<30>(s.and(quadrant, s.splat_int(2)));
        s.store(s.of_bits(s.xor(s.xor(c, swap), minus_cos)), cos);
        s.store(s.of_bits(s.xor(s.xor(n, swap), minus_sin)), sin);
    }
}

/// Rotates the pairs (i, i + 32) of a head in place.
#[inline(always)]
pub fn rotate<S: Simd>(s: S, x: &mut [f32; 64], r: &Rotation) {
    let (low, high) = x.split_at_mut(32);
    let pairs = low
        .as_chunks_mut::<WAYS>()
        .0
        .iter_mut()
        .zip(high.as_chunks_mut::<WAYS>().0);
    let angles = r.cos.as_chunks::<WAYS>().0.iter().zip(r.sin.as_chunks::<WAYS>().0);
    for ((low, high), (cos, sin)) in pairs.zip(angles) {
        let (a, b) = (s.load(low), s.load(high));
        let (cos, sin) = (s.load(cos), s.load(sin));
        s.store(s.sub(s.mul(a, cos), s.mul(b, sin)), low);
        s.store(s.add(s.mul(a, sin), s.mul(b, cos)), high);
    }
}
