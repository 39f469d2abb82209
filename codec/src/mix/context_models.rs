//! The context models: bit histories of twelve contexts, what they mean, and a direct order-1 model.

use super::block::{Block, ByteState};
use super::context::CONTEXTS;
use super::history::HISTORIES;
use super::history_table::{HistoryTable, Slot};
use super::layout::{ORDER1_RATE, STATE_MAP_RATE};
use super::math::hash;
use super::state_map::{self, Cell, StateMap};
use crate::simd::WAYS;
use crate::simd::whole::Whole;

/// Contexts of the order-1 model: the byte before and the bits so far.
const ORDER1_CONTEXTS: usize = 1 << 16;
/// The contexts of the orders 2 to 6, which tell how much of what came before is known.
const ORDERS: std::ops::Range<usize> = 2..7;

pub(super) struct ContextModels {
    table: HistoryTable,
    pub(super) maps: Box<[StateMap; CONTEXTS]>,
    order1: Vec<Cell>,
    /// By lane.
    foreseen: Vec<Foreseen>,
    half: HalfByte,
    bit: Bit,
}

/// Hashes of the contexts of the half bytes that a lane may come to next, by the last bit before them.
#[derive(Clone, Default)]
struct Foreseen {
    hashes: [[u64; CONTEXTS]; 2],
    /// Bits of the lane until there.
    bits: u64,
}

/// What lives for a half byte, and the hashes that live for the whole byte.
struct HalfByte {
    hashes: [u64; CONTEXTS],
    found: [u32; CONTEXTS],
    /// Copies of the slots found. They are written back at the end of the half byte.
    slots: [Slot; CONTEXTS],
    /// Place of the present bit in the slots: the bits of the half byte so far, behind a leading one.
    node: usize,
}

/// What lives for a bit.
struct Bit {
    states: [u8; CONTEXTS],
    cells: [i32; WAYS],
    order1: usize,
}

/// What a dictionary leaves behind.
pub(super) struct WarmContexts {
    table: HistoryTable,
    maps: Box<[StateMap; CONTEXTS]>,
    order1: Vec<Cell>,
}

impl WarmContexts {
    pub(super) fn bytes(&self) -> usize {
        self.table.bytes() + size_of_val(&*self.maps) + size_of_val(&*self.order1)
    }
}

impl ContextModels {
    pub(super) fn new() -> Self {
        ContextModels {
            table: HistoryTable::new(),
            maps: Box::new([state_map::untrained(); CONTEXTS]),
            order1: Vec::new(),
            foreseen: Vec::new(),
            half: HalfByte {
                hashes: [0; CONTEXTS],
                found: [0; CONTEXTS],
                slots: [[0; 16]; CONTEXTS],
                node: 1,
            },
            bit: Bit {
                states: [0; CONTEXTS],
                cells: [0; WAYS],
                order1: 0,
            },
        }
    }

    /// Forgets all histories. What histories mean stays.
    pub(super) fn reset(&mut self, log2_lines: u32, lanes: usize) {
        self.table.reset(log2_lines);
        self.order1.clear();
        self.order1.resize(ORDER1_CONTEXTS, Cell::new(32768));
        self.start(lanes);
    }

    /// Starts one lane with what a dictionary left behind, in a table of at least 2^`log2_lines` lines.
    pub(super) fn reset_warm(&mut self, warm: &WarmContexts, log2_lines: u32) {
        self.table.copy_from(&warm.table, log2_lines);
        *self.maps = *warm.maps;
        self.order1.clone_from(&warm.order1);
        self.start(1);
    }

    fn start(&mut self, lanes: usize) {
        self.foreseen.clear();
        self.foreseen.resize(lanes, Foreseen::default());
        self.half.node = 1;
    }

    /// Takes out what a dictionary left behind.
    pub(super) fn freeze(&mut self) -> WarmContexts {
        WarmContexts {
            table: std::mem::replace(&mut self.table, HistoryTable::new()),
            maps: self.maps.clone(),
            order1: std::mem::take(&mut self.order1),
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

    /// Finds the slots of the half byte that starts. At the first of a byte it also computes its contexts.
    #[inline(always)]
    pub(super) fn begin_half_byte<S: Whole>(&mut self, v: S, block: &Block, lane: usize, byte: ByteState) {
        let foreseen = &mut self.foreseen[lane];
        let me = &block.lanes[lane];
        // What was foreseen is in the order of the last bit. A token's first byte has contexts of its own.
        let is_foreseen = foreseen.bits == me.bits(byte.bits) && (byte.bits != 0 || me.token_len != 0);
        let last_bit = if byte.bits == 0 {
            me.last
        } else {
            u64::from(byte.partial)
        } as usize
            & 1;
        let hashes = &mut foreseen.hashes[last_bit];
        if !is_foreseen && byte.bits == 0 {
            me.contexts(&block.bytes, block.stride, hashes);
        } else if !is_foreseen {
            second_half(hashes, &self.half.hashes, byte.partial);
        }
        if byte.bits == 0 {
            self.half.hashes = *hashes;
        }
        self.table.find(v, hashes, &mut self.half.found, &mut self.half.slots);
    }

    /// The cells of all contexts for the next bit.
    #[inline(always)]
    pub(super) fn predict<S: Whole>(&mut self, v: S) -> S::I {
        for i in 0..CONTEXTS {
            self.bit.states[i] = self.half.slots[i][self.half.node & 15];
        }
        let cells = state_map::cells(v, &self.maps, &self.bit.states);
        // Through memory: the update comes after the coder, and vectors do not stay in registers for so long.
        v.store_int(cells, &mut self.bit.cells);
        cells
    }

    /// How many of the orders 2 to 6 have seen anything.
    #[inline(always)]
    pub(super) fn known_orders(&self) -> u32 {
        self.bit.states[ORDERS].iter().map(|&state| u32::from(state != 0)).sum()
    }

    /// The order-1 model's stretched prediction; `context` is below 2^16.
    #[inline(always)]
    pub(super) fn predict_order1(&mut self, context: u32) -> i32 {
        self.bit.order1 = context as usize;
        self.order1[self.bit.order1].stretched()
    }

    #[inline(always)]
    pub(super) fn update<S: Whole>(&mut self, v: S, bit: bool) {
        let cells = v.load_int(&self.bit.cells);
        state_map::update(v, cells, &mut self.maps, &self.bit.states, bit, STATE_MAP_RATE);
        let next = &HISTORIES.next[usize::from(bit)];
        for i in 0..CONTEXTS {
            self.half.slots[i][self.half.node & 15] = next[usize::from(self.bit.states[i])];
        }
        self.order1[self.bit.order1].update(bit, ORDER1_RATE);
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

    /// Asks for the slots of the half bytes that may come after the bit being coded, so that waiting for memory
    /// overlaps with coding it. `at_byte` sees the lane as it would stand if that bit ended its byte.
    #[inline(always)]
    pub(super) fn foresee(
        &mut self,
        block: &mut Block,
        lane: usize,
        byte: ByteState,
        at_byte: impl Fn(&super::context::Lane),
    ) {
        let foreseen = &mut self.foreseen[lane];
        for bit in 0..2 {
            let partial = byte.partial << 1 | bit;
            let hashes = &mut foreseen.hashes[bit as usize];
            if byte.bits == 3 {
                second_half(hashes, &self.half.hashes, partial);
            } else {
                let me = &block.lanes[lane];
                let at = me.at as usize;
                let mut then = me.clone();
                then.push(partial as u8);
                if then.at as usize >= block.bytes.len() {
                    return;
                }
                // Contexts may look at the byte itself.
                block.bytes[at] = partial as u8;
                then.contexts(&block.bytes, block.stride, hashes);
                block.bytes[at] = 0;
                at_byte(&then);
            }
            self.table.prefetch(hashes);
        }
        foreseen.bits = block.lanes[lane].bits(byte.bits).wrapping_add(1);
    }

    /// Asks for the slots of the byte that comes next in a lane.
    #[inline]
    pub(super) fn prefetch(&self, block: &Block, lane: usize) {
        let lane = &block.lanes[lane];
        if (lane.at as usize) < block.bytes.len() {
            let mut hashes = [0; CONTEXTS];
            lane.contexts(&block.bytes, block.stride, &mut hashes);
            self.table.prefetch(&hashes);
        }
    }
}

/// Hashes of a byte's second half, from those of the first and its bits.
#[inline(always)]
fn second_half(hashes: &mut [u64; CONTEXTS], first: &[u64; CONTEXTS], partial: u32) {
    for (to, first) in hashes.iter_mut().zip(first) {
        *to = hash(*first, u64::from(partial));
    }
}
