//! From inputs to the coded probability: the mixers and the final maps.

use super::apm::Apm;
use super::layout::{FINAL_MAP_BITS, FINAL_MAP_RATE, FINAL_MAPS, FINAL_RATE, FINAL_SETS, Rules, WeightSets, salt};
use super::math::hash;
use super::mixer::{Mixer, Set};
use crate::simd::whole::Whole;

pub(super) struct Mixing {
    pub(super) mixer: Mixer<2>,
    pub(super) final_maps: [Apm<8>; 2],
}

/// What a dictionary leaves behind.
pub(super) struct WarmMixing {
    rules: Rules,
    first_layer: Vec<Set<2>>,
    final_layer: Vec<Set<1>>,
    final_maps: [Vec<u16>; 2],
}

impl WarmMixing {
    pub(super) fn bytes(&self) -> usize {
        let maps: usize = self.final_maps.iter().map(|nodes| size_of_val(&**nodes)).sum();
        size_of_val(&*self.first_layer) + size_of_val(&*self.final_layer) + maps
    }
}

/// Contexts of the final maps for the present bit.
#[derive(Clone, Copy)]
pub(super) struct FinalContexts([u32; 2]);

impl Mixing {
    pub(super) fn new() -> Self {
        Mixing {
            mixer: Mixer::new(&WeightSets::SIZES, &FINAL_SETS),
            final_maps: FINAL_MAPS.map(Apm::new),
        }
    }

    /// Starts with what a dictionary left behind.
    pub(super) fn reset_warm(&mut self, warm: &WarmMixing) {
        let Rules {
            mixers, final_mixers, ..
        } = warm.rules;
        self.mixer
            .import((mixers, final_mixers), &warm.first_layer, &warm.final_layer);
        for (map, nodes) in self.final_maps.iter_mut().zip(&warm.final_maps) {
            map.import(nodes);
        }
    }

    /// Copies what a dictionary left behind.
    pub(super) fn freeze(&self, rules: Rules) -> WarmMixing {
        WarmMixing {
            rules,
            first_layer: self.mixer.first_layer_in_use().to_vec(),
            final_layer: self.mixer.final_layer_in_use().to_vec(),
            final_maps: self.final_maps.each_ref().map(|map| map.nodes.clone()),
        }
    }

    /// Chooses the contexts of the final maps and asks for their memory. `order1`: the byte before and the bits so far.
    #[inline(always)]
    pub(super) fn choose(&self, match_class: u32, partial: u32, order1: u32) -> FinalContexts {
        let hashed = hash(u64::from(order1), salt::FINAL_MAP) >> (64 - FINAL_MAP_BITS);
        let contexts = [match_class << 8 | partial, hashed as u32];
        for (map, context) in self.final_maps.iter().zip(contexts) {
            map.prefetch(context);
        }
        FinalContexts(contexts)
    }

    /// The mixed probability in units of 1/65536, before the final maps.
    #[inline(always)]
    pub(super) fn mix<S: Whole>(&mut self, v: S, inputs: [S::I; 2], sets: &WeightSets) -> i32 {
        let final_sets = [sets.confidence_and_match, sets.partial_byte];
        self.mixer.predict(v, inputs, &sets.to_array(), final_sets)
    }

    /// The probability to code with: half the mixed one, and a quarter of what each final map makes of it.
    #[inline(always)]
    pub(super) fn refine(&mut self, mixed: i32, contexts: FinalContexts) -> u32 {
        let [first, second] = &mut self.final_maps;
        let a = first.refine(self.mixer.mixed, contexts.0[0]);
        let b = second.refine(self.mixer.mixed, contexts.0[1]);
        ((2 * mixed + a + b) >> 2).clamp(1, 65535) as u32
    }

    #[inline(always)]
    pub(super) fn update_mixer<S: Whole>(&mut self, v: S, bit: bool, rules: Rules) {
        self.mixer.update(v, bit, rules.rate, FINAL_RATE);
    }

    #[inline(always)]
    pub(super) fn update_final_maps(&mut self, bit: bool) {
        for map in &mut self.final_maps {
            map.update(bit, FINAL_MAP_RATE);
        }
    }
}
