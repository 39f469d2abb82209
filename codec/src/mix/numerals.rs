//! Decimal numerals in text: how many digits they have so far, where their point is, and what stands above.
//!
//! Contexts of the last few bytes know neither how long a numeral is nor where its point is, and the column of the line
//! above is lost as soon as one numeral is longer than the other.

mod column;

pub(super) use column::{Columns, KEYS};

use column::Above;

/// More digits than these are not counted in contexts.
const MOST_COUNTED: u8 = 20;

/// The numeral that a lane ends with: digits, and at most one point behind the first of them.
#[derive(Clone, Copy)]
pub(super) struct Numeral {
    /// Significant digits, which are all behind leading zeros, and their number.
    pub(super) value: u64,
    pub(super) digits: u8,
    /// Digits behind the point, and one; 0 without a point.
    pub(super) after: u8,
    /// Whether there is a numeral.
    pub(super) is_some: bool,
    above: [Above; KEYS],
}

impl Numeral {
    pub(super) const NONE: Self = Numeral {
        value: 0,
        digits: 0,
        after: 0,
        is_some: false,
        above: [Above::NONE; KEYS],
    };

    /// One without digits so far, and with none above.
    #[cfg(test)]
    pub(super) const FIRST: Self = Numeral {
        is_some: true,
        ..Self::NONE
    };

    /// Whether a byte would be the first of a numeral.
    #[inline(always)]
    pub(super) fn begins_with(&self, byte: u8) -> bool {
        !self.is_some && byte.is_ascii_digit()
    }

    /// Begins one, below these.
    #[inline(always)]
    pub(super) fn begin(&mut self, above: [Above; KEYS]) {
        *self = Numeral {
            is_some: true,
            above,
            ..Self::NONE
        };
    }

    /// Goes on behind a byte, or ends.
    #[inline(always)]
    pub(super) fn push(&mut self, byte: u8, block: &[u8]) {
        if !self.is_some {
            return;
        }
        match byte {
            b'0'..=b'9' => {
                if self.digits > 0 || byte != b'0' {
                    self.digits = self.digits.saturating_add(1);
                    self.value = self.value.wrapping_mul(10).wrapping_add(u64::from(byte & 15));
                }
                self.after = self.after.saturating_add(u8::from(self.after > 0));
            }
            b'.' if self.after == 0 => self.after = 1,
            _ => {
                self.is_some = false;
                return;
            }
        }
        for above in &mut self.above {
            above.push(byte, block);
        }
    }

    /// Contexts of the next byte, in place of those numbered 5, 6 and 8, if this is a numeral. `before`: the last byte.
    #[inline(always)]
    pub(super) fn contexts(&self, block: &[u8], before: u64) -> Option<[u64; 3]> {
        // Few other contexts look like these.
        const MARK: u64 = 1 << 62;
        self.is_some.then(|| {
            let [word, field] = self.above.map(|above| above.context(block));
            let [digits, after] = [self.digits, self.after].map(|n| u64::from(n.min(MOST_COUNTED)));
            [
                MARK | after << 8 | word,
                MARK | digits << 8 | field,
                MARK | before << 16 | after << 8 | digits,
            ]
        })
    }
}
