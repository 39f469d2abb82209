//! What is known of the block under way.

use super::context::Lane;
use super::numerals::Columns;

/// The bytes of a block and its lanes.
pub(super) struct Block {
    /// The dictionary and then the lanes. Bytes that are not known yet are zero.
    pub(super) bytes: Vec<u8>,
    pub(super) lanes: Vec<Lane>,
    /// Numerals of each lane.
    pub(super) columns: Vec<Columns>,
    /// Distance to the byte above, 0 in text.
    pub(super) stride: u32,
}

/// The byte under way.
#[derive(Clone, Copy)]
pub(super) struct ByteState {
    /// Bits so far, behind a leading one.
    pub(super) partial: u32,
    /// Their number.
    pub(super) bits: u32,
}

impl ByteState {
    pub(super) const START: Self = ByteState { partial: 1, bits: 0 };

    /// Whether a half byte starts here.
    #[inline(always)]
    pub(super) fn is_half(self) -> bool {
        self.bits & 3 == 0
    }

    /// Whether the next bit ends a half byte.
    #[inline(always)]
    pub(super) fn ends_half(self) -> bool {
        self.bits & 3 == 3
    }

    #[inline(always)]
    pub(super) fn push(&mut self, bit: bool) {
        self.partial = self.partial << 1 | u32::from(bit);
        self.bits = self.bits.wrapping_add(1);
    }
}

impl Block {
    pub(super) fn new() -> Self {
        Block {
            bytes: Vec::new(),
            lanes: Vec::new(),
            columns: Vec::new(),
            stride: 0,
        }
    }

    /// Starts a block that is cut into lanes of these lengths and has the bytes of `front` before it.
    pub(super) fn reset(&mut self, front: &[u8], lens: &[usize]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(front);
        let mut start = self.bytes.len() as u32;
        // Zeros stand for bytes that are not known yet. Nothing may read them before both sides know them.
        self.bytes.resize(self.bytes.len() + lens.iter().sum::<usize>(), 0);
        self.lanes.clear();
        self.columns.clear();
        self.columns.resize(lens.len(), Columns::NONE);
        for &len in lens {
            self.lanes.push(Lane::new(start));
            start += len as u32;
        }
    }

    /// Takes the bytes of the lanes out.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let start = self.lanes.first().map_or(0, |lane| lane.start as usize);
        let mut bytes = std::mem::take(&mut self.bytes);
        if start == 0 {
            bytes
        } else {
            bytes.split_off(start.min(bytes.len()))
        }
    }

    /// Appends a byte to a lane.
    #[inline(always)]
    pub(super) fn push(&mut self, lane: usize, byte: u8) {
        let (lane, columns) = (&mut self.lanes[lane], &mut self.columns[lane]);
        let place = lane.at;
        if let Some(keys) = lane.push(byte, &self.bytes, columns) {
            columns.enter(keys, place);
        }
        if let Some(to) = self.bytes.get_mut(place as usize) {
            *to = byte;
        }
    }
}
