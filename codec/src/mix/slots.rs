//! The hash table of bit histories: one 16-byte slot per (context, half byte).

/// A check byte and fifteen histories, one for each partial half byte (1, 2..3, 4..7, 8..15).
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
    /// `32 - log2(lines)`.
    shift: u32,
}

impl Slots {
    pub(super) fn new() -> Self {
        Slots {
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

    /// The slot of `hash`: the one that carries its check byte, or a cleared one.
    #[inline(always)]
    pub(super) fn find(&mut self, hash: u64) -> u32 {
        let line_index = (hash >> 32) as u32 >> self.shift;
        // Check 0 marks nothing special: an empty slot is one whose first history is empty.
        let check = (hash >> 24) as u8;
        let line = &mut self.lines[line_index as usize].0;
        let mut victim = 0;
        let mut least = u8::MAX;
        for (way, slot) in line.iter().enumerate() {
            if slot[0] == check && slot[1] != 0 {
                return line_index << 2 | way as u32;
            }
            if slot[1] < least {
                least = slot[1];
                victim = way;
            }
        }
        line[victim] = [0; 16];
        line[victim][0] = check;
        line_index << 2 | victim as u32
    }

    #[inline(always)]
    pub(super) fn slot(&self, index: u32) -> &Slot {
        &self.lines[(index >> 2) as usize].0[(index & 3) as usize]
    }

    #[inline(always)]
    pub(super) fn slot_mut(&mut self, index: u32) -> &mut Slot {
        &mut self.lines[(index >> 2) as usize].0[(index & 3) as usize]
    }
}
