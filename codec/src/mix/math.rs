//! Probabilities and their logistic domain, in integers.
//!
//! A probability is `p / 65536`. Its stretch is `ln(p / (1 - p))` in units of 1/256, limited to
//! [`-LIMIT`, `LIMIT`] (a probability of 1.1 / 65536). Both tables are computed at compile time in fixed point, so
//! that no floating point and no system library has a say in them.

/// Largest stretched value: 11 units of `ln`.
pub(super) const LIMIT: i32 = 2815;
/// Entries of the squash table: stretched values from `-LIMIT - 1` to `LIMIT`.
const SQUASH_LEN: usize = 2 * (LIMIT as usize + 1);

/// `2^62 * e^(-1/512)`; powers of it give the logistic function at half steps.
const E_HALF_STEP: u128 = 4_602_687_609_541_841_169;

/// `round(2^32 / (1 + e^(-k / 512)))` for k >= 0, given `e^(-k / 512)` in units of 2^-62.
const fn logistic(e: u128) -> u64 {
    let one = 1u128 << 62;
    (((one << 32) + (one + e) / 2) / (one + e)) as u64
}

const fn build_squash() -> [u16; SQUASH_LEN] {
    let mut table = [0u16; SQUASH_LEN];
    let mut e = 1u128 << 62;
    let mut x = 0;
    while x <= LIMIT as usize {
        let p = (logistic(e) + (1 << 15)) >> 16;
        table[LIMIT as usize + 1 + x] = if p > 65535 { 65535 } else { p as u16 };
        let q = (1u64 << 32) - logistic(e);
        let q = (q + (1 << 15)) >> 16;
        table[LIMIT as usize + 1 - x] = if q < 1 { 1 } else { q as u16 };
        e = e * E_HALF_STEP >> 62;
        e = e * E_HALF_STEP >> 62;
        x += 1;
    }
    table[0] = 1;
    table
}

/// Probabilities of the logistic function, [`squash`].
static SQUASH: [u16; SQUASH_LEN] = build_squash();

/// Probabilities below this are looked up one by one, the others in steps of 16.
pub(super) const FINE: u32 = 4096;
const STRETCH_LEN: usize = FINE as usize + (32768 - FINE as usize) / 16 + 1;
/// The table's length in memory, a power of two, so that a masked index needs no check.
const STRETCH_ROOM: usize = STRETCH_LEN.next_power_of_two();

const fn build_stretch() -> [i16; STRETCH_ROOM] {
    // For q = min(p, 1 - p): the x whose logistic, rounded to the nearest x, is q. Walk x down from 0 in half steps.
    let mut table = [0i16; STRETCH_ROOM];
    let mut e = 1u128 << 62;
    // e = exp(-h / 512); 1 - logistic is the small side.
    let mut h = 0u32;
    let mut i = STRETCH_LEN;
    while i > 0 {
        i -= 1;
        let index = i as u64;
        // The table entry's probability in units of 2^-32; coarse entries stand for the middle of their 16.
        let q = if index < FINE as u64 {
            index << 16
        } else {
            (FINE as u64 + ((index - FINE as u64) << 4 | 8)) << 16
        };
        // Odd h are boundaries between two values of x.
        loop {
            let mut next = e * E_HALF_STEP >> 62;
            if (1u64 << 32) - logistic(next) < q || h as i32 >= 2 * LIMIT {
                break;
            }
            next = next * E_HALF_STEP >> 62;
            e = next;
            h += 2;
        }
        table[i] = -((h / 2) as i16);
    }
    table
}

/// Stretched values of the smaller of p and 1 - p, [`stretch`].
static STRETCH: [i16; STRETCH_ROOM] = build_stretch();

const fn build_softplus() -> [u16; LIMIT as usize + 1] {
    // The integral of the logistic function, from the far end on, by trapezoids one step wide. What lies beyond the
    // end is less than a hundredth.
    let mut table = [0; LIMIT as usize + 1];
    let mut powers = [0u128; LIMIT as usize + 1];
    let mut e = 1u128 << 62;
    let mut x = 0;
    while x <= LIMIT as usize {
        powers[x] = e;
        e = e * E_HALF_STEP >> 62;
        e = e * E_HALF_STEP >> 62;
        x += 1;
    }
    let mut sum = 0u64;
    let mut x = LIMIT as usize;
    while x > 0 {
        let sides = (1u64 << 33) - logistic(powers[x]) - logistic(powers[x - 1]);
        sum += sides / 2;
        x -= 1;
        table[x] = ((sum + (1 << 31)) >> 32) as u16;
    }
    table
}

/// [`softplus`] of numbers from 0 down.
static SOFTPLUS: [u16; LIMIT as usize + 1] = build_softplus();

/// `ln(1 + e^(x / 256)) * 256`.
#[inline(always)]
pub(super) fn softplus(x: i64) -> i64 {
    let below = usize::try_from(x.unsigned_abs()).unwrap_or(usize::MAX);
    x.max(0) + i64::from(SOFTPLUS.get(below).copied().unwrap_or(0))
}

/// `ln(p / (1 - p)) * 256` of a probability `p / 65536`; any `p` is accepted and limited to the table.
#[inline(always)]
pub(super) fn stretch(p: u32) -> i32 {
    let p = p & 0xFFFF;
    let x = small_side(stretch_index(p));
    if p < 32768 { x } else { -x }
}

/// Where [`small_side`] finds the stretch of `p / 65536`, but for its sign: that of `p - 32768`.
#[inline(always)]
pub(super) fn stretch_index(p: u32) -> u32 {
    let q = p.min(65536u32.wrapping_sub(p));
    // The other branch is the larger one exactly where q >= FINE.
    q.min(FINE.wrapping_add(q.wrapping_sub(FINE) >> 4))
}

/// The stretched value of the smaller of p and 1 - p.
#[inline(always)]
pub(super) fn small_side(index: u32) -> i32 {
    i32::from(STRETCH[index as usize & (STRETCH_ROOM - 1)])
}

/// `65536 / (1 + e^(-x / 256))`, at least 1 and at most 65535; `x` is limited to ±[`LIMIT`].
#[inline(always)]
pub(super) fn squash(x: i32) -> i32 {
    i32::from(SQUASH[(x.clamp(-LIMIT, LIMIT) + LIMIT + 1) as usize])
}

/// How sure a stretched prediction is: 0 to 7.
#[inline(always)]
pub(super) fn confidence(stretched: i32) -> u32 {
    (stretched.unsigned_abs() >> 8).min(7)
}

/// A stretched prediction as one of sixteen.
#[inline(always)]
pub(super) fn level(stretched: i32) -> u32 {
    ((stretched + 2048) >> 8).clamp(0, 15) as u32
}

/// `p - 1/2` of a probability `p / 65536`, in units of 1/1024.
#[inline(always)]
pub(super) fn linear(p: i32) -> i32 {
    p.wrapping_sub(32768) >> 6
}

/// Two inputs of the mixer, 16 bits each: the stretched one in the lower half, the linear one in the upper.
#[inline(always)]
pub(super) fn pair(stretched: i32, linear: i32) -> u32 {
    linear.cast_unsigned() << 16 | stretched.cast_unsigned() & 0xFFFF
}

/// Mixes 64 bits; the upper half of the result is used.
#[inline(always)]
pub(super) fn hash(value: u64, salt: u64) -> u64 {
    let x = (value ^ salt.wrapping_mul(0x9FB2_1C65_1E98_DF25)).wrapping_mul(0xD1B5_4A32_D192_ED03);
    (x ^ x >> 29).wrapping_mul(0xAEF1_7502_108E_F2D9)
}

/// 32 bits of hash of a context.
#[inline(always)]
pub(super) fn context_hash(value: u64, salt: u64) -> u32 {
    ((value ^ salt.wrapping_mul(0x9FB2_1C65_1E98_DF25)).wrapping_mul(0xD1B5_4A32_D192_ED03) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_follow_the_logistic_function() {
        for x in -LIMIT..=LIMIT {
            let p = 65536.0 / (1.0 + (-f64::from(x) / 256.0).exp());
            assert!((f64::from(squash(x)) - p).abs() <= 0.51 || squash(x) == 65535, "x {x}");
        }
        for p in 1..65536u32 {
            let exact = (f64::from(p) / (65536.0 - f64::from(p))).ln() * 256.0;
            let tolerance = if (FINE..65536 - FINE).contains(&p) {
                0.6 + 256.0 * 8.5 / 3840.0
            } else {
                0.6
            };
            let exact = exact.clamp(-f64::from(LIMIT), f64::from(LIMIT));
            assert!(
                (f64::from(stretch(p)) - exact).abs() <= tolerance,
                "p {p}: {} {exact}",
                stretch(p)
            );
        }
    }

    #[test]
    fn softplus_is_exact_to_a_unit() {
        for x in -2900..2900_i64 {
            let exact = (x as f64 / 256.0).exp().ln_1p() * 256.0;
            assert!((softplus(x) as f64 - exact).abs() < 0.6, "{x}: {} {exact}", softplus(x));
        }
        assert_eq!((softplus(1 << 40), softplus(-(1 << 40))), (1 << 40, 0));
    }

    #[test]
    fn extremes_are_limited() {
        assert_eq!(squash(i32::MIN), squash(-LIMIT));
        assert_eq!(squash(i32::MAX), squash(LIMIT));
        assert_eq!(squash(0), 32768);
        assert_eq!(stretch(0), -LIMIT);
        assert!(squash(-LIMIT) >= 1 && squash(LIMIT) <= 65535);
    }
}
