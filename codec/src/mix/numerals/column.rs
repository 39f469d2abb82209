//! The numeral above: the last one behind the same word, or in the same field of a line.

use super::super::layout::salt;
use super::super::math::hash;

/// Ways to say what a column is.
pub(in crate::mix) const KEYS: usize = 2;
/// Columns that are told apart.
const COLUMNS: usize = 256;

/// Differences beyond this are the same.
const MOST_DIFFERENCE: i32 = 2;

/// Where the last numeral of each column begins, 0 for nowhere.
#[derive(Clone)]
pub(in crate::mix) struct Columns([[u32; COLUMNS]; KEYS]);

impl Columns {
    pub(in crate::mix) const NONE: Self = Columns([[0; COLUMNS]; KEYS]);

    /// The columns of a numeral behind these bytes, the newest lowest: by the byte and the word before it, and by its
    /// field.
    #[inline(always)]
    pub(in crate::mix) fn keys(last: u64, word: u64, field: u32) -> [u8; KEYS] {
        // Numbers of a column can be of either sign.
        let skipped = if last as u8 == b'-' { 8 } else { 0 };
        let before = last >> skipped & 0xFF;
        let keys = [before | word << 8, u64::from(field)];
        std::array::from_fn(|i| (hash(keys[i], salt::COLUMN + i as u64) >> 56) as u8)
    }

    /// The numerals above one in these columns.
    #[inline(always)]
    pub(in crate::mix) fn above(&self, keys: [u8; KEYS]) -> [Above; KEYS] {
        std::array::from_fn(|i| Above {
            place: self.0[i][usize::from(keys[i])],
            difference: 0,
        })
    }

    /// Enters a numeral that begins at `place`.
    #[inline(always)]
    pub(in crate::mix) fn enter(&mut self, keys: [u8; KEYS], place: u32) {
        for (columns, key) in self.0.iter_mut().zip(keys) {
            columns[usize::from(key)] = place;
        }
    }
}

/// A place in the numeral above.
#[derive(Clone, Copy)]
pub(in crate::mix) struct Above {
    /// Where its next byte is, 0 for nowhere.
    place: u32,
    /// By how much the digits so far, as a number, are more than its digits.
    difference: i32,
}

impl Above {
    pub(super) const NONE: Self = Above {
        place: 0,
        difference: 0,
    };

    /// Goes on behind a byte, as long as both numerals have their points at the same place.
    #[inline(always)]
    pub(super) fn push(&mut self, byte: u8, block: &[u8]) {
        if self.place == 0 {
            return;
        }
        let above = block[self.place as usize];
        self.place += 1;
        if byte.is_ascii_digit() && above.is_ascii_digit() {
            let difference = self.difference * 10 + i32::from(byte) - i32::from(above);
            self.difference = difference.clamp(-MOST_DIFFERENCE, MOST_DIFFERENCE);
        } else if byte != above {
            self.place = 0;
        }
    }

    /// What is known of the next byte: whether it is a digit, which one, and the difference. 0 without a numeral above,
    /// and less than 128.
    #[inline(always)]
    pub(super) fn context(self, block: &[u8]) -> u64 {
        if self.place == 0 {
            return 0;
        }
        let next = match block[self.place as usize] {
            digit @ b'0'..=b'9' => digit & 15,
            b'.' => 10,
            _ => 11,
        };
        ((self.difference + MOST_DIFFERENCE + 1) as u64) << 4 | u64::from(next)
    }
}
