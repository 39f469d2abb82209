//! The context models: bit histories of nine contexts, and what they mean.

use super::block::{Block, ByteState};
use super::context::Lane;
use super::history::HISTORIES;
use super::history_table::{HistoryTable, Keys, Slot, keys};
use super::layout::{CONTEXTS, STATE_MAP_RATE, STATE_MAP_STEP};
use super::samples::Samples;
use super::state_map::{self, StateMaps};
use crate::simd::whole::Whole;
use crate::simd::{Plain, WAYS};

/// The contexts that tell how much of what came before is known: the orders 1 to 4, or with a stride three of them and
/// what is above.
const ORDERS: std::ops::Range<usize> = 1..5;

pub(super) struct ContextModels {
    table: HistoryTable,
    pub(super) maps: StateMaps,
    /// By lane.
    foreseen: Vec<Foreseen>,
    half: HalfByte,
    /// Bits until the maps learn again.
    rest: u32,
}

/// The half byte that a lane comes to next, if a bit turns out as it is likely to.
#[derive(Clone, Default)]
struct Foreseen {
    /// Hashes of the contexts of its byte.
    hashes: [u32; WAYS],
    keys: Keys,
    /// That bit.
    bit: bool,
    /// Bits of the lane until the half byte.
    bits: u64,
}

/// What lives for a half byte, and the hashes that live for the whole byte.
struct HalfByte {
    hashes: [u32; WAYS],
    found: [u32; CONTEXTS],
    /// Copies of the slots found. They are written back at the end of the half byte.
    slots: [Slot; CONTEXTS],
    /// Place of the present bit in the slots: the bits of the half byte so far, behind a leading one.
    node: usize,
}

impl HalfByte {
    /// The history of context `i` at the present bit.
    #[inline(always)]
    fn state(&self, i: usize) -> u8 {
        self.slots[i][self.node & 15]
    }
}

/// What a dictionary leaves behind.
pub(super) struct WarmContexts {
    table: HistoryTable,
    maps: StateMaps,
}

impl WarmContexts {
    pub(super) fn bytes(&self) -> usize {
        self.table.bytes() + StateMaps::BYTES
    }
}

impl ContextModels {
    pub(super) fn new() -> Self {
        ContextModels {
            table: HistoryTable::new(),
            maps: StateMaps::untrained(),
            foreseen: Vec::new(),
            half: HalfByte {
                hashes: [0; WAYS],
                found: [0; CONTEXTS],
                slots: [[0; 16]; CONTEXTS],
                node: 1,
            },
            rest: 0,
        }
    }

    /// Forgets all histories. What histories mean stays.
    pub(super) fn reset(&mut self, log2_lines: u32, lanes: usize) {
        self.table.reset(log2_lines);
        self.start(lanes);
    }

    /// Starts with what a dictionary left behind, in a table of at least 2^`log2_lines` lines.
    pub(super) fn reset_warm(&mut self, warm: &WarmContexts, log2_lines: u32, lanes: usize) {
        self.table.copy_from(&warm.table, log2_lines);
        self.maps.copy_from(&warm.maps);
        self.start(lanes);
    }

    /// Goes on with what was left behind, in a table of the same size.
    pub(super) fn resume(&mut self, warm: &WarmContexts) {
        self.reset_warm(warm, 1, 1);
    }

    fn start(&mut self, lanes: usize) {
        self.foreseen.clear();
        self.foreseen.resize(lanes, Foreseen::default());
        self.half.node = 1;
        self.rest = 0;
    }

    /// Takes out what a dictionary left behind.
    pub(super) fn freeze(&mut self) -> WarmContexts {
        WarmContexts {
            table: std::mem::replace(&mut self.table, HistoryTable::new()),
            maps: self.maps.clone(),
        }
    }

    /// Bytes of the largest table.
    pub(super) fn table_bytes(&self) -> usize {
        self.table.bytes()
    }

    /// Gives the largest table back.
    pub(super) fn release(&mut self) {
        self.table = HistoryTable::new();
    }

    /// Finds the slots of the half byte that starts. At the first of a byte it also computes its contexts,
    /// or asks `samples` for them.
    #[inline(always)]
    pub(super) fn begin_half_byte<S: Whole>(
        &mut self,
        v: S,
        block: &Block,
        lane: usize,
        byte: ByteState,
        samples: Option<&Samples>,
    ) {
        let foreseen = &self.foreseen[lane];
        let me = &block.lanes[lane];
        let last_bit = if byte.bits == 0 {
            me.last
        } else {
            u64::from(byte.partial)
        } & 1
            == 1;
        // A token's first byte has contexts of its own.
        let is_foreseen =
            foreseen.bits == me.bits(byte.bits) && foreseen.bit == last_bit && (byte.bits != 0 || me.token_len != 0);
        let keys = if is_foreseen {
            self.half.hashes = foreseen.hashes;
            &foreseen.keys
        } else {
            if byte.bits == 0 {
                self.half.hashes = match samples {
                    Some(samples) => samples.contexts(me.last),
                    None => me.contexts(&block.bytes, block.stride),
                };
            }
            &keys(v, &self.half.hashes, byte.partial)
        };
        self.table.find(v, keys, &mut self.half.found, &mut self.half.slots);
    }

    /// The mixer's inputs for the next bit: those of all contexts, and `others`.
    #[inline(always)]
    pub(super) fn predict<S: Whole>(&self, v: S, others: [u32; WAYS - CONTEXTS]) -> [S::I; 2] {
        state_map::inputs(v, self.maps.pairs(v, |i| self.half.state(i), others))
    }

    /// How many of the contexts that tell have seen anything.
    #[inline(always)]
    pub(super) fn known_orders(&self) -> u32 {
        ORDERS.map(|i| u32::from(self.half.state(i) != 0)).sum()
    }

    #[inline(always)]
    pub(super) fn update<S: Whole>(&mut self, v: S, bit: bool) {
        // What histories mean changes slowly, so every third bit is enough.
        if self.rest == 0 {
            self.rest = STATE_MAP_STEP;
            let half = &self.half;
            self.maps.update(v, |i| half.state(i), bit, STATE_MAP_RATE);
        }
        self.rest = self.rest.wrapping_sub(1);
        let next = &HISTORIES.next[usize::from(bit)];
        for i in 0..CONTEXTS {
            self.half.slots[i][self.half.node & 15] = next[usize::from(self.half.state(i))];
        }
    }

    /// Goes on to the next bit of the half byte.
    #[inline(always)]
    pub(super) fn push(&mut self, bit: bool) {
        self.half.node = (self.half.node << 1 | usize::from(bit)) & 15;
    }

    /// Writes the histories of the half byte back.
    #[inline(always)]
    pub(super) fn end_half_byte(&mut self) {
        self.half.node = 1;
        self.table.store(&self.half.found, &self.half.slots);
    }

    /// Asks for the slots of the half byte that comes if the bit being coded is `bit`, so that waiting for memory
    /// overlaps with coding it. `at_byte` sees the lane as it would stand if that bit ended its byte.
    #[inline(always)]
    pub(super) fn foresee<S: Whole>(
        &mut self,
        v: S,
        block: &mut Block,
        lane: usize,
        byte: ByteState,
        bit: bool,
        at_byte: impl Fn(&Lane),
    ) {
        let foreseen = &mut self.foreseen[lane];
        let mut partial = byte.partial << 1 | u32::from(bit);
        if byte.bits == 3 {
            foreseen.hashes = self.half.hashes;
        } else {
            // The next half byte belongs to the next byte, whose contexts contain the likely value of this one.
            let me = &block.lanes[lane];
            let at = me.at as usize;
            let mut then = me.clone();
            then.push(partial as u8, &block.bytes, &block.columns[lane]);
            // Behind the last byte of the block there is nothing to foresee.
            if then.at as usize >= block.bytes.len() {
                return;
            }
            // Contexts may look at the byte itself.
            block.bytes[at] = partial as u8;
            foreseen.hashes = then.contexts(&block.bytes, block.stride);
            block.bytes[at] = 0;
            at_byte(&then);
            partial = ByteState::START.partial;
        }
        foreseen.keys = keys(v, &foreseen.hashes, partial);
        foreseen.bit = bit;
        foreseen.bits = block.lanes[lane].bits(byte.bits).wrapping_add(1);
        self.table.prefetch(&foreseen.keys);
    }

    /// Asks for the slots of the byte that comes next in a lane.
    #[inline]
    pub(super) fn prefetch(&self, block: &Block, lane: usize) {
        let lane = &block.lanes[lane];
        if (lane.at as usize) < block.bytes.len() {
            let hashes = lane.contexts(&block.bytes, block.stride);
            self.table.prefetch(&keys(Plain, &hashes, ByteState::START.partial));
        }
    }
}
