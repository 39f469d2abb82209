//! How the numbers of a block lie, if it has any.

/// Bits, channels and rows of a block's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Form {
    /// Bits of a number: 8 or 16.
    pub(super) bits: u32,
    /// Numbers of a pixel or of a moment: 1 to 4.
    pub(super) channels: usize,
    /// Numbers of a row of pixels; 0 for sound.
    pub(super) row: usize,
    /// Whether the high byte of 16 bits is the first one in the block. It is coded first in any case.
    pub(super) big_endian: bool,
}

impl Form {
    /// How far off predictions are thought to be before anything was seen.
    pub(super) fn first_distance(self) -> i32 {
        match (self.row, self.bits) {
            (0, 16) => 100 << 8,
            (0, _) => 3 << 8,
            _ => 6 << 8,
        }
    }

    /// The middle of the numbers: what is taken for those before the first one.
    pub(super) fn middle(self) -> i32 {
        1 << (self.bits - 1)
    }
}
