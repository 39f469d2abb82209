//! The floating-point operations of the engine, each defined to the bit.
//!
//! Only IEEE 754 binary32 add, subtract, multiply, divide, square root and comparisons, in the order written; Rust
//! never contracts them. Everything is inlined into callers that are compiled per instruction set, where the loops
//! over 16 elements become vector code with the same bits.

/// 1.5 * 2^23: adding it rounds |x| < 2^22 to the nearest integer, ties to even, into the low bits.
const MAGIC: f32 = 12_582_912.0;
/// Elements that are summed side by side.
pub const WAYS: usize = 16;
/// Rows are quantized to -127..=127.
pub const LIMIT: f32 = 127.0;
/// The smallest magnitude a scale is made from, so that no scale is zero.
const FLOOR: f32 = 1e-30;

/// `x` if it is greater than `low`, else `low`: also for NaN.
#[inline(always)]
pub fn at_least(x: f32, low: f32) -> f32 {
    if x > low { x } else { low }
}

/// `x` if it is less than `high`, else `high`: also for NaN.
#[inline(always)]
pub fn at_most(x: f32, high: f32) -> f32 {
    if x < high { x } else { high }
}

/// Nearest integer, ties to even, of |x| < 2^22.
#[inline(always)]
pub fn round(x: f32) -> i32 {
    (x + MAGIC)
        .to_bits()
        .cast_signed()
        .wrapping_sub(MAGIC.to_bits().cast_signed())
}

/// e^x for -87 <= x <= 87 (clamped; NaN counts as -87), relative error below 2e-6.
///
/// 2^t with t = x log2(e), n = round(t), and a polynomial of degree 5 in t - n (minimax, relative).
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let t = at_most(at_least(x, -87.0), 87.0) * std::f32::consts::LOG2_E;
    let shifted = t + MAGIC;
    let g = t - (shifted - MAGIC);
    let mut p = f32::from_bits(0x3aad_dd07); // 1.3264724e-3
    p = p * g + f32::from_bits(0x3c1e_7544); // 9.6715130e-3
    p = p * g + f32::from_bits(0x3d63_5ba9); // 5.5507336e-2
    p = p * g + f32::from_bits(0x3e75_fcde); // 2.4022242e-1
    p = p * g + f32::from_bits(0x3f31_7215); // 6.9314700e-1
    p = p * g + 1.0;
    let n = shifted.to_bits().wrapping_sub(MAGIC.to_bits());
    p * f32::from_bits(n.wrapping_add(127) << 23)
}

/// The largest magnitude of `x`, NaN ignored, at least 1e-30. Any order gives the same bits.
#[inline(always)]
pub fn magnitude(x: &[f32]) -> f32 {
    let mut most = [FLOOR; WAYS];
    let (chunks, rest) = x.as_chunks::<WAYS>();
    for chunk in chunks {
        for (m, &v) in most.iter_mut().zip(chunk) {
            *m = at_least(v.abs(), *m);
        }
    }
    let mut all = FLOOR;
    for &v in most.iter().chain(rest) {
        all = at_least(v.abs(), all);
    }
    all
}

/// Sum of 16 partial sums: halves are added element by element, 8, 4, 2, 1.
#[inline(always)]
pub fn fold(mut a: [f32; WAYS]) -> f32 {
    let mut half = WAYS / 2;
    while half > 0 {
        for i in 0..half {
            a[i] += a[i + half];
        }
        half /= 2;
    }
    a[0]
}

/// Sum of squares; the length is a multiple of 16. Partial sum i takes the elements i, i + 16, ... in order.
#[inline(always)]
pub fn sum_of_squares(x: &[f32]) -> f32 {
    let mut a = [0.0; WAYS];
    for chunk in x.as_chunks::<WAYS>().0 {
        for (a, &v) in a.iter_mut().zip(chunk) {
            *a += v * v;
        }
    }
    fold(a)
}

/// Writes round(x * inverse) held to -127..=127 (NaN: -127), returns the sum of what was written.
#[inline(always)]
pub fn quantize(x: &[f32], inverse: f32, q: &mut [i8]) -> i32 {
    let mut sums = [0_i32; WAYS];
    let (from, _) = x.as_chunks::<WAYS>();
    let (to, _) = q.as_chunks_mut::<WAYS>();
    for (x, q) in from.iter().zip(to) {
        for i in 0..WAYS {
            let v = round(at_most(at_least(x[i] * inverse, -LIMIT), LIMIT));
            sums[i] = sums[i].wrapping_add(v);
            q[i] = v as i8;
        }
    }
    sums.iter().fold(0, |a, &s| a.wrapping_add(s))
}

/// x * sigmoid(x).
#[inline(always)]
pub fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
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
pub fn rotation(frequencies: &[u64; 32], position: u64, out: &mut Rotation) {
    const EIGHTH: u64 = 1 << 61;
    for i in 0..32 {
        let phase = frequencies[i].wrapping_mul(position).wrapping_add(EIGHTH);
        let quadrant = phase >> 62;
        // The offset from the quadrant's middle, -1/8 to 1/8 turn, in units of 2^-26 turns.
        let units = ((phase & ((1 << 62) - 1)) >> 38) as i32 - (1 << 23);
        let z = units as f32 * f32::from_bits((127 - 26) << 23);
        let a = z * std::f32::consts::TAU;
        let b = a * a;
        let mut s = 2.755_731_9e-6; // 1/9!
        s = s * b - 1.984_127e-4;
        s = s * b + 8.333_334e-3;
        s = s * b - 0.166_666_67;
        s = (s * b) * a + a;
        let mut c = 2.480_158_7e-5; // 1/8!
        c = c * b - 1.388_888_9e-3;
        c = c * b + 4.166_666_8e-2;
        c = c * b - 0.5;
        c = c * b + 1.0;
        let (cos, sin) = match quadrant {
            0 => (c, s),
            1 => (-s, c),
            2 => (-c, -s),
            _ => (s, -c),
        };
        out.cos[i] = cos;
        out.sin[i] = sin;
    }
}

/// Rotates the pairs (i, i + 32) of a head in place.
#[inline(always)]
pub fn rotate(x: &mut [f32; 64], r: &Rotation) {
    let (low, high) = x.split_at_mut(32);
    for i in 0..32 {
        let (a, b) = (low[i], high[i]);
        low[i] = a * r.cos[i] - b * r.sin[i];
        high[i] = a * r.sin[i] + b * r.cos[i];
    }
}
