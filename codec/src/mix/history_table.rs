//! The hash table of bit histories: one 16-byte slot per (context, half byte).

use super::layout::CONTEXTS;
use crate::simd::whole::Whole;
use crate::simd::{WAYS, prefetch};

/// A check byte, never 0 in a slot in use, and fifteen histories, one for each partial half byte (1, 2..3, 4..7,
/// 8..15).
pub(super) type Slot = [u8; 16];
/// Slots that share a cache line and may stand in for each other.
const SLOTS_PER_LINE: usize = 4;

/// A cache line of slots.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([Slot; SLOTS_PER_LINE]);

const EMPTY: Line = Line([[0; 16]; SLOTS_PER_LINE]);

/// Where the slots of the contexts are: the upper bits of a key choose the line, the low byte is the check.
pub(super) type Keys = [u32; WAYS];

/// The keys of a half byte. `hashes` are those of the byte's contexts; `partial` are the bits of the byte before the
/// half, behind a leading one.
#[inline(always)]
pub(super) fn keys<S: Whole>(s: S, hashes: &[u32; WAYS], partial: u32) -> Keys {
    let hashes = s.load_int(&hashes.map(u32::cast_signed));
    // Multiplying spreads the few bits of a half byte over the word. Otherwise they would pick the same lines.
    let partial = s.splat_int(partial.wrapping_mul(0x9E37_79B1).cast_signed());
    let x = s.mul_int(s.xor(hashes, partial), s.splat_int(0x2C1B_3C6D));
    let mut keys = [0; WAYS];
    s.store_unsigned(s.xor(x, s.shift_right_unsigned::<15>(x)), &mut keys);
    keys
}

/// Finds slots by a key; the least used of a line makes room for a new one.
pub(super) struct HistoryTable {
    lines: Vec<Line>,
    /// `32 - log2(lines)`.
    shift: u32,
}

impl HistoryTable {
    pub(super) fn new() -> Self {
        HistoryTable {
            lines: Vec::new(),
            shift: 31,
        }
    }

    /// Empties the table and sizes it for 2^`log2_lines` lines.
    pub(super) fn reset(&mut self, log2_lines: u32) {
        let log2_lines = log2_lines.clamp(1, 24);
        self.lines.clear();
        self.lines.resize(1 << log2_lines, EMPTY);
        self.shift = 32 - log2_lines;
    }

    /// Starts with the slots of another table, with 2^`log2_lines` lines or as many as that one has. Each of its lines
    /// is copied to all those that its hashes may choose here.
    pub(super) fn copy_from(&mut self, other: &HistoryTable, log2_lines: u32) {
        self.lines.clear();
        self.shift = other.shift.min(32 - log2_lines.clamp(1, 24));
        // A larger table has more bits of the key in its index. Whatever they are, the copy must be found.
        let copies = 1 << (other.shift - self.shift);
        if copies == 1 {
            self.lines.extend_from_slice(&other.lines);
        } else {
            self.lines.reserve_exact(other.lines.len() * copies);
            for line in &other.lines {
                self.lines.extend(std::iter::repeat_n(*line, copies));
            }
        }
    }

    /// Bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        self.lines.capacity() * size_of::<Line>()
    }

    /// Asks for the lines of all slots before any is needed, so that the waits for memory overlap.
    #[inline(always)]
    pub(super) fn prefetch(&self, keys: &Keys) {
        for key in &keys[..CONTEXTS] {
            prefetch(&self.lines, (key >> self.shift) as usize);
        }
    }

    /// Copies the slots of all `keys`, those that carry their check bytes or cleared ones, and says where they are.
    /// Two contexts may be given one slot; then the later one's is what is kept.
    #[inline(always)]
    pub(super) fn find<S: Whole>(
        &mut self,
        s: S,
        keys: &Keys,
        found: &mut [u32; CONTEXTS],
        slots: &mut [Slot; CONTEXTS],
    ) {
        for i in 0..CONTEXTS {
            let key = keys[i];
            let index = key >> self.shift;
            // Zero marks an empty slot, so no context may have it.
            let check = (key as u8).max(1);
            let line = &mut self.lines[index as usize].0;
            let hit = s.heads(line, check);
            let way = if hit != 0 {
                hit.trailing_zeros() >> 4
            } else {
                // Histories are numbered by length, so the first one tells how much a slot was used.
                let key = |way: usize| u32::from(line[way][1]) << 2 | way as u32;
                let victim = key(0).min(key(1)).min(key(2)).min(key(3)) & 3;
                line[victim as usize] = [check, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                victim
            };
            found[i] = index << 2 | way;
            slots[i] = line[(way & 3) as usize];
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
