//! The state a predictor starts with, learned from training text by `tools/mixtrain.rs`; `initial_weights/README.md`
//! has the commands.

use std::sync::LazyLock;

use super::apm::Apm;
use super::context::CONTEXTS;
use super::layout::{EXTRA, FINAL_MAPS, FINAL_SETS, INPUTS, LANGUAGE_MODEL, Rules, STORED_ORDER, WeightSets};
use super::match_model;
use super::mixer::{Set, WEIGHT_BITS};
use super::state_map::{Cell, StateMap, untrained};
use super::token_end;

/// Maps of histories, mixing weights, final maps and the quality of matches.
pub(super) struct InitialWeights {
    pub(super) rules: Rules,
    pub(super) maps: Box<[StateMap; CONTEXTS]>,
    pub(super) first_layer: Vec<Set<2>>,
    pub(super) final_layer: Vec<Set<1>>,
    pub(super) final_maps: [Vec<u16>; 2],
    pub(super) matches: [Cell; match_model::QUALITIES],
    pub(super) end_first_layer: Vec<Set<1>>,
    pub(super) end_final_layer: Vec<Set<1>>,
}

/// Pixels have no part in training: their inputs start with one over this.
const PIXEL_SHARE: i32 = 8;

/// Weights are stored in units of 1/4096, so in 16 bits.
const STORED_SHIFT: u32 = WEIGHT_BITS - 12;

/// What predictors start with, without and with a language model. A file of a wrong length does not compile.
static MIX: [u8; stored(false)] = *include_bytes!("initial_weights/mix.bin");
static MODEL: [u8; stored(true)] = *include_bytes!("initial_weights/model.bin");

/// How many sets the first `used` mixers have.
const fn sum(sets: &[u32], used: usize) -> usize {
    let (mut sum, mut i) = (0, 0);
    while i < used {
        sum += sets[i] as usize;
        i += 1;
    }
    sum
}

/// Bytes of a file.
const fn stored(language_model: bool) -> usize {
    let Rules {
        mixers, final_mixers, ..
    } = Rules::of(language_model);
    let mix = sum(&WeightSets::SIZES, mixers) * INPUTS + sum(&FINAL_SETS, final_mixers) * mixers;
    let final_maps = sum(&FINAL_MAPS, FINAL_MAPS.len()) * Apm::<8>::NODES;
    let ends = sum(&token_end::SETS, token_end::MIXERS) * token_end::INPUTS
        + token_end::FINAL_SETS as usize * token_end::MIXERS;
    2 * (CONTEXTS * 256 + mix + final_maps + match_model::QUALITIES + ends)
}

impl InitialWeights {
    /// The built-in state for blocks with or without a language model.
    pub(super) fn builtin(language_model: bool) -> &'static InitialWeights {
        static WITHOUT_MODEL: LazyLock<InitialWeights> = LazyLock::new(|| InitialWeights::from_bytes(&MIX, false));
        static WITH_MODEL: LazyLock<InitialWeights> = LazyLock::new(|| InitialWeights::from_bytes(&MODEL, true));
        if language_model { &WITH_MODEL } else { &WITHOUT_MODEL }
    }

    /// What training starts from.
    pub(super) fn untrained(language_model: bool) -> Self {
        let rules = Rules::of(language_model);
        let mut first = Set::ZERO;
        let weights = first.flat_mut();
        weights[LANGUAGE_MODEL] = if language_model { (1 << WEIGHT_BITS) / 2 } else { 0 };
        weights[..CONTEXTS].fill((1 << WEIGHT_BITS) / if language_model { 8 } else { 5 });
        if !language_model {
            for pixels in [LANGUAGE_MODEL, LANGUAGE_MODEL + 1, EXTRA, EXTRA + 1] {
                weights[pixels] = (1 << WEIGHT_BITS) / PIXEL_SHARE;
            }
        }
        let mut last = Set::ZERO;
        last.flat_mut()[..rules.mixers].fill((1 << WEIGHT_BITS) / rules.mixers as i32);
        let (mut end_first, mut end_last) = (Set::ZERO, Set::ZERO);
        end_first.flat_mut()[0] = 1 << WEIGHT_BITS;
        end_last.flat_mut()[..token_end::MIXERS].fill((1 << WEIGHT_BITS) / 2);
        InitialWeights {
            rules,
            maps: Box::new([untrained(); CONTEXTS]),
            first_layer: vec![first; sum(&WeightSets::SIZES, rules.mixers)],
            final_layer: vec![last; sum(&FINAL_SETS, rules.final_mixers)],
            final_maps: FINAL_MAPS.map(Apm::<8>::identity),
            matches: match_model::untrained(),
            end_first_layer: vec![end_first; sum(&token_end::SETS, token_end::MIXERS)],
            end_final_layer: vec![end_last; token_end::FINAL_SETS as usize],
        }
    }

    /// Mixers in use, and final ones.
    pub(super) fn mixers(&self) -> (usize, usize) {
        (self.rules.mixers, self.rules.final_mixers)
    }

    /// All numbers in 16 bits, little-endian: maps of histories, first layer, final layer, final maps, qualities of
    /// matches, and the two layers of token ends.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let weight = |w: &i32| ((w + (1 << (STORED_SHIFT - 1))) >> STORED_SHIFT).clamp(-32768, 32767) as i16 as u16;
        let cell = |cell: &Cell| cell.p() as u16;
        let mut numbers: Vec<u16> = self.maps.iter().flatten().map(cell).collect();
        for set in &self.first_layer {
            numbers.extend(STORED_ORDER.map(|place| weight(&set.flat()[place])));
        }
        for set in &self.final_layer {
            numbers.extend(set.flat()[..self.rules.mixers].iter().map(weight));
        }
        numbers.extend(self.final_maps.iter().flatten());
        numbers.extend(self.matches.iter().map(cell));
        numbers.extend(self.end_first_layer.iter().flat_map(Set::flat).map(weight));
        for set in &self.end_final_layer {
            numbers.extend(set.flat()[..token_end::MIXERS].iter().map(weight));
        }
        numbers.into_iter().flat_map(u16::to_le_bytes).collect()
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    pub(super) fn from_bytes(bytes: &[u8], language_model: bool) -> Self {
        let mut state = Self::untrained(language_model);
        let mixers = state.rules.mixers;
        let mut numbers = bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair));
        let mut next = || numbers.next().unwrap_or_default();
        let weight = |number: u16| i32::from(number as i16) << STORED_SHIFT;
        for cell in state.maps.iter_mut().flatten() {
            *cell = Cell::new(next());
        }
        for set in &mut state.first_layer {
            for place in STORED_ORDER {
                set.flat_mut()[place] = weight(next());
            }
        }
        for set in &mut state.final_layer {
            set.flat_mut()[..mixers].iter_mut().for_each(|w| *w = weight(next()));
        }
        for node in state.final_maps.iter_mut().flatten() {
            *node = next();
        }
        for cell in &mut state.matches {
            *cell = Cell::new(next());
        }
        for w in state.end_first_layer.iter_mut().flat_map(Set::flat_mut) {
            *w = weight(next());
        }
        for set in &mut state.end_final_layer {
            set.flat_mut()[..token_end::MIXERS]
                .iter_mut()
                .for_each(|w| *w = weight(next()));
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_states_are_read_whole() {
        let files: [(bool, &[u8]); 2] = [(false, &MIX), (true, &MODEL)];
        for (language_model, bytes) in files {
            assert_eq!(InitialWeights::untrained(language_model).to_bytes().len(), bytes.len());
            assert_eq!(InitialWeights::builtin(language_model).to_bytes(), bytes);
        }
    }
}
