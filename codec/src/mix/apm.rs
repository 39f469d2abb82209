//! Adaptive probability maps: what a prediction turned out to mean in a context.

use super::math::{LIMIT, squash};
use crate::simd::prefetch;

/// Distance from the lowest node to the middle one: the greatest stretched value, and one.
const MIDDLE: i32 = LIMIT + 1;

/// For each context, the probability found at each of the nodes, which lie `2^STEP` of a stretched prediction apart;
/// interpolated between two.
pub(super) struct Apm<const STEP: u32> {
    pub(super) nodes: Vec<u16>,
    /// The nearer node of the last prediction.
    nearest: usize,
}

impl<const STEP: u32> Apm<STEP> {
    /// Nodes of a context.
    pub(super) const NODES: usize = ((2 * MIDDLE as usize) >> STEP) + 1;

    pub(super) fn new(contexts: u32) -> Self {
        Apm {
            nodes: Self::identity(contexts),
            nearest: 0,
        }
    }

    /// Nodes that change nothing.
    pub(super) fn identity(contexts: u32) -> Vec<u16> {
        let row: Vec<u16> = (0..Self::NODES as i32)
            .map(|i| squash((i << STEP) - MIDDLE) as u16)
            .collect();
        row.repeat(contexts as usize)
    }

    pub(super) fn import(&mut self, nodes: &[u16]) {
        self.nodes.copy_from_slice(nodes);
    }

    /// Asks for the memory that [`refine`](Self::refine) will need, wherever the prediction will be.
    #[inline(always)]
    pub(super) fn prefetch(&self, context: u32) {
        let low = context as usize * Self::NODES;
        prefetch(&self.nodes, low);
        // The nodes of a context may lie in two cache lines.
        prefetch(&self.nodes, low + Self::NODES - 1);
    }

    /// Refines a stretched prediction; the result is a probability in units of 1/65536.
    #[inline(always)]
    pub(super) fn refine(&mut self, stretched: i32, context: u32) -> i32 {
        let x = (stretched + MIDDLE) as usize;
        let low = context as usize * Self::NODES + (x >> STEP);
        let weight = (x & ((1 << STEP) - 1)) as i32;
        // Only the nearer node learns: the farther one answers for other predictions.
        self.nearest = low + (x >> (STEP - 1) & 1);
        (i32::from(self.nodes[low]) * ((1 << STEP) - weight) + i32::from(self.nodes[low + 1]) * weight) >> STEP
    }

    #[inline(always)]
    pub(super) fn update(&mut self, bit: bool, rate: u32) {
        let node = &mut self.nodes[self.nearest];
        let p = i32::from(*node);
        let target = if bit { 65535 } else { 0 };
        *node = (p + ((target - p + (1 << (rate - 1))) >> rate)) as u16;
    }
}
