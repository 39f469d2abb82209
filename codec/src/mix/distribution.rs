//! Numbers as bits: what a logistic distribution says of the next bit of a number.
//!
//! A number is coded from its highest bit down, so the bits so far leave an interval, of which the next bit chooses a
//! half. With F the logistic function and the interval from l to h (in units of the distribution's scale), the
//! probability of the upper half has the stretch
//!
//! ```text
//! ln((F(h) - F(m)) / (F(m) - F(l))) = softplus(-l) - softplus(-h) - (h - l) / 2
//! ```
//!
//! where m is the middle and softplus(x) = ln(1 + e^x). So there is no division and no product of small probabilities.

use super::math::{LIMIT, softplus};

/// Binary digits after the point of a mean and a scale, and those of numbers of more than 16 bits: a number with them
/// fits into 31 bits.
pub(super) const POINT: u32 = 8;
pub(super) const WIDE_POINT: u32 = 6;
/// Smallest scale, with the digits of a mean after its point.
const LEAST_SCALE: i32 = 12;
/// Binary digits of the scales of wide numbers: their inverse would be too coarse beside larger ones.
const WIDE_DIGITS: u32 = 12;

/// A logistic distribution of numbers.
#[derive(Clone, Copy, Default)]
pub(super) struct Distribution {
    mean: i32,
    /// `2^24` by the scale, which is shifted right like distances from the mean.
    inverse: i32,
    /// Only of wide numbers.
    shift: u32,
}

impl Distribution {
    /// A distribution with this mean and this mean distance from it, with [`POINT`] binary digits.
    pub(super) fn new(mean: i32, distance: i32) -> Self {
        // The mean distance is 2 ln 2 = 1.386 scales.
        let scale = (distance.saturating_mul(185) >> 8).max(LEAST_SCALE);
        Distribution {
            mean,
            inverse: (1 << 24) / scale,
            shift: 0,
        }
    }

    /// The same of numbers of more than 16 bits, with [`WIDE_POINT`] binary digits.
    pub(super) fn wide(mean: i32, distance: i32) -> Self {
        let scale = ((i64::from(distance) * 185) >> 8).max(i64::from(LEAST_SCALE));
        let shift = (scale.ilog2() + 1).saturating_sub(WIDE_DIGITS);
        Distribution {
            mean,
            inverse: ((1 << 24) / (scale >> shift)) as i32,
            shift,
        }
    }

    /// The stretched probability of the upper half of `width` numbers from `low` on.
    #[inline(always)]
    pub(super) fn upper_half(self, low: i32, width: i32) -> i32 {
        // A number stands for what is less than a half away.
        let at = |number: i32| {
            let distance = i64::from((number << POINT) - (1 << (POINT - 1)) - self.mean);
            (distance * i64::from(self.inverse)) >> 16
        };
        Self::of_ends(at(low), at(low + width))
    }

    /// The same of wide numbers.
    #[inline(always)]
    pub(super) fn wide_upper_half(self, low: i32, width: i32) -> i32 {
        let at = |number: i32| {
            let distance = ((number << WIDE_POINT) - (1 << (WIDE_POINT - 1)) - self.mean) >> self.shift;
            (i64::from(distance) * i64::from(self.inverse)) >> 16
        };
        Self::of_ends(at(low), at(low + width))
    }

    #[inline(always)]
    fn of_ends(l: i64, h: i64) -> i32 {
        let stretched = softplus(-l) - softplus(-h) - ((h - l) >> 1);
        stretched.clamp(-i64::from(LIMIT), i64::from(LIMIT)) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_those_of_the_logistic_function() {
        let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
        for (mean, distance) in [(1000, 300), (30_000, 5000), (-4000, 900), (65_000, 64)] {
            let d = Distribution::new(mean, distance);
            let scale = f64::from((distance * 185) >> 8) / 256.0;
            for width in [2, 16, 128, 256] {
                for low in (0..256).step_by(width as usize) {
                    let at = |number: i32| logistic((f64::from(number) - 0.5 - f64::from(mean) / 256.0) / scale);
                    let (lower, upper) = (at(low + width / 2) - at(low), at(low + width) - at(low + width / 2));
                    let got = f64::from(d.upper_half(low, width)) / 256.0;
                    if lower > 1e-9 && upper > 1e-9 {
                        let wanted = (upper / lower).ln().clamp(-10.99, 10.99);
                        assert!(
                            (got - wanted).abs() < 0.06,
                            "{mean} {distance} {low} {width}: {got} {wanted}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn extremes_stay_in_range() {
        for mean in [i32::MIN / 2, -1, 0, 1 << 24, i32::MAX / 2] {
            for distance in [0, 1, 1 << 24, i32::MAX] {
                let d = Distribution::new(mean, distance);
                for (low, width) in [(0, 65_536), (65_534, 2), (0, 2)] {
                    assert!(d.upper_half(low, width).abs() <= LIMIT);
                }
            }
        }
    }
}
