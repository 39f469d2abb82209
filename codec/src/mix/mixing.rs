//! From inputs to the coded probability: the mixer and the final map.

use super::apm::Apm;
use super::layout::{FINAL_MAP_BITS, FINAL_MAP_RATE, MIXERS, Rules, WeightSets, salt};
use super::math::hash;
use super::mixer::{Mixer, Set};
use crate::simd::whole::Whole;

pub(super) struct Mixing {
    pub(super) mixer: Mixer<2>,
    pub(super) final_map: Apm<8>,
}

/// What a dictionary leaves behind.
pub(super) struct WarmMixing {
    rules: Rules,
    sets: Vec<Set<2>>,
    final_map: Vec<u16>,
}

impl WarmMixing {
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.sets) + size_of_val(&*self.final_map)
    }
}

impl Mixing {
    pub(super) fn new() -> Self {
        Mixing {
            mixer: Mixer::new(&WeightSets::SIZES),
            final_map: Apm::new(1 << FINAL_MAP_BITS),
        }
    }

    /// Starts with what a dictionary left behind.
    pub(super) fn reset_warm(&mut self, warm: &WarmMixing) {
        self.mixer.import(warm.rules.mixers, &warm.sets);
        self.final_map.import(&warm.final_map);
    }

    /// Copies what a dictionary left behind.
    pub(super) fn freeze(&self, rules: Rules) -> WarmMixing {
        WarmMixing {
            rules,
            sets: self.mixer.in_use().to_vec(),
            final_map: self.final_map.nodes.clone(),
        }
    }

    /// The context of the final map; asks for its memory. `order1`: the byte before and the bits so far.
    #[inline(always)]
    pub(super) fn final_context(&self, order1: u32) -> u32 {
        let context = (hash(u64::from(order1), salt::FINAL_MAP) >> (64 - FINAL_MAP_BITS)) as u32;
        self.final_map.prefetch(context);
        context
    }

    /// The same for samples.
    #[inline(always)]
    pub(super) fn samples_context(&self, context: u32) -> u32 {
        let context = context & ((1 << FINAL_MAP_BITS) - 1);
        self.final_map.prefetch(context);
        context
    }

    /// The mixed probability in units of 1/65536, before the final map.
    #[inline(always)]
    pub(super) fn mix<S: Whole>(&mut self, v: S, inputs: [S::I; 2], sets: &[u32; MIXERS]) -> i32 {
        self.mixer.predict(v, inputs, sets)
    }

    /// The probability to code with: the mean of the mixed one and of what the final map makes of it.
    #[inline(always)]
    pub(super) fn refine(&mut self, mixed: i32, context: u32) -> u32 {
        let refined = self.final_map.refine(self.mixer.mixed, context);
        // The mean is better than either: the map is right where it has learned, and the mixer elsewhere.
        ((mixed + refined) >> 1).clamp(1, 65535) as u32
    }

    #[inline(always)]
    pub(super) fn update_mixer<S: Whole>(&mut self, v: S, bit: bool, rules: Rules) {
        self.mixer.update(v, bit, rules.rate);
    }

    #[inline(always)]
    pub(super) fn update_final_map(&mut self, bit: bool) {
        self.final_map.update(bit, FINAL_MAP_RATE);
    }
}
