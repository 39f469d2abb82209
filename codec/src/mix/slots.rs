//! The hash table of bit histories: one 16-byte slot per (context, half byte).

use crate::simd::prefetch;

/// A check byte, never 0 in a slot in use, and fifteen histories, one for each partial half byte (1, 2..3, 4..7, 8..15).
pub(super) type Slot = [u8; 16];
/// Slots that share a cache line and may stand in for each other.
const WAYS: usize = 4;

/// A cache line of slots.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([Slot; WAYS]);

const EMPTY: Line = Line([[0; 16]; WAYS]);

/// Slots found by a hash; the least used of a line makes room for a new one.
pub(super) struct Slots {
    lines: Vec<Line>,
    /// `64 - log2(lines)`.
    shift: u32,
}

impl Slots {
    pub(super) fn new() -> Self {
        Slots {
            lines: Vec::new(),
            shift: 63,
        }
    }

    /// Empties the table and sizes it for 2^`log2_lines` lines.
    pub(super) fn reset(&mut self, log2_lines: u32) {
        let log2_lines = log2_lines.clamp(1, 24);
        self.lines.clear();
        self.lines.resize(1 << log2_lines, EMPTY);
        self.shift = 64 - log2_lines;
    }

    /// Asks for the lines of all `hashes` before any is needed, so that the waits for memory overlap.
    #[inline(always)]
    pub(super) fn prefetch<const K: usize>(&self, hashes: &[u64; K]) {
        for hash in hashes {
            prefetch(&self.lines, (hash >> self.shift) as usize);
        }
    }

    /// The slots of all `hashes`: those that carry their check bytes, or cleared ones. Two contexts may be given one
    /// slot; [`load`](Self::load) then gives both a copy, and both will be written back with the same bits.
    #[inline(always)]
    pub(super) fn find<const K: usize>(&mut self, hashes: &[u64; K], found: &mut [u32; K]) {
        for i in 0..K {
            let hash = hashes[i];
            let index = (hash >> self.shift) as u32;
            let check = (hash as u8).max(1);
            let line = &mut self.lines[index as usize].0;
            let hit = u32::from(line[0][0] == check)
                | u32::from(line[1][0] == check) << 1
                | u32::from(line[2][0] == check) << 2
                | u32::from(line[3][0] == check) << 3;
            let way = if hit != 0 {
                hit.trailing_zeros()
            } else {
                // Histories are numbered by length, so the first one tells how much a slot was used.
                let key = |way: usize| u32::from(line[way][1]) << 2 | way as u32;
                let victim = key(0).min(key(1)).min(key(2)).min(key(3)) & 3;
                line[victim as usize] = [check, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                victim
            };
            found[i] = index << 2 | way;
        }
    }

    /// Copies the slots found.
    #[inline(always)]
    pub(super) fn load<const K: usize>(&self, found: &[u32; K], slots: &mut [Slot; K]) {
        for i in 0..K {
            slots[i] = self.lines[(found[i] >> 2) as usize].0[(found[i] & 3) as usize];
        }
    }

    /// Writes the copies back.
    #[inline(always)]
    pub(super) fn store<const K: usize>(&mut self, found: &[u32; K], slots: &[Slot; K]) {
        for i in 0..K {
            self.lines[(found[i] >> 2) as usize].0[(found[i] & 3) as usize] = slots[i];
        }
    }
}
