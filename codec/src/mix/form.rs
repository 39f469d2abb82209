//! How the numbers of a block lie, if it has any.

use super::distribution::{POINT, WIDE_POINT};

/// Bits, channels and rows of a block's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Form {
    /// Bits of a number: 8, 16 or 24.
    pub(super) bits: u32,
    /// Bytes of a sample behind its number, which no neighbour tells anything about: 1 of samples of 32 bits, else 0.
    pub(super) rest: u32,
    /// Numbers of a pixel or of a moment: 1 to 4.
    pub(super) channels: usize,
    /// Numbers of a row of pixels; 0 for sound.
    pub(super) row: usize,
    /// Whether the high byte of a number is the first one in the block. It is coded first in any case.
    pub(super) big_endian: bool,
}

/// How far off predictions of 24 bits are thought to be at first.
const WIDE_DISTANCE: i32 = 4096;
/// Prior and ridge of least squares were chosen for 16 bits.
const WIDE_SCALE: f64 = 16.0;

impl Form {
    /// How far off predictions are thought to be before anything was seen.
    pub(super) fn first_distance(self) -> i32 {
        match (self.row, self.bits) {
            (0, 24) => WIDE_DISTANCE << self.point(),
            (0, 16) => 100 << 8,
            (0, _) => 3 << 8,
            _ => 6 << 8,
        }
    }

    /// Whether numbers have more than 16 bits.
    pub(super) fn is_wide(self) -> bool {
        self.bits > 16
    }

    /// Binary digits after the point of means and distances.
    pub(super) fn point(self) -> u32 {
        if self.is_wide() { WIDE_POINT } else { POINT }
    }

    /// What numbers are multiplied with before least squares, a power of two.
    pub(super) fn scale(self) -> f64 {
        if self.is_wide() { 1.0 / WIDE_SCALE } else { 1.0 }
    }

    /// The inverse of [`scale`](Self::scale).
    pub(super) fn unscale(self) -> f64 {
        if self.is_wide() { WIDE_SCALE } else { 1.0 }
    }

    /// The middle of the numbers: what is taken for those before the first one.
    pub(super) fn middle(self) -> i32 {
        1 << (self.bits - 1)
    }
}
