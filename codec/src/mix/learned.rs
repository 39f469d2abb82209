//! The state a predictor starts with, learned from training text by `examples/mixtrain.rs`; `learned/README.md` has the commands.

use std::sync::LazyLock;

use super::apm::Apm;
use super::context::CONTEXTS;
use super::ends;
use super::maps::{Cell, Map, untrained};
use super::matching;
use super::mixer::{Set, WEIGHT_BITS};
use super::predictor::{APMS, INPUTS, PLACES};
use super::rules::{LAST_SETS, Rules, SETS};

/// Maps of histories, mixing weights, final maps and the quality of matches.
pub(super) struct Learned {
    pub(super) maps: Box<[Map; CONTEXTS]>,
    /// First-layer and final mixers in use.
    pub(super) mixers: usize,
    pub(super) lasts: usize,
    pub(super) weights: Vec<Set<2>>,
    pub(super) last: Vec<Set<1>>,
    pub(super) apms: [Vec<u16>; 2],
    pub(super) matches: [Cell; matching::QUALITIES],
    pub(super) end_weights: Vec<Set<1>>,
    pub(super) end_last: Vec<Set<1>>,
}

/// Pixels have no part in training: their inputs start with one over this.
const PIXEL_SHARE: i32 = 8;

/// Weights are stored in units of 1/4096, so in 16 bits.
const STORED_SHIFT: u32 = WEIGHT_BITS - 12;

/// What predictors start with, without and with a language model. A file of a wrong length does not compile.
static MIX: [u8; stored(false)] = *include_bytes!("learned/mix.bin");
static MODEL: [u8; stored(true)] = *include_bytes!("learned/model.bin");

/// How many sets the first `used` mixers have.
pub(super) const fn sum(sets: &[u32], used: usize) -> usize {
    let (mut sum, mut i) = (0, 0);
    while i < used {
        sum += sets[i] as usize;
        i += 1;
    }
    sum
}

/// Bytes of a file.
const fn stored(language_model: bool) -> usize {
    let Rules { mixers, lasts, .. } = Rules::of(language_model);
    let mix = sum(&SETS, mixers) * INPUTS + sum(&LAST_SETS, lasts) * mixers;
    let apms = sum(&APMS, APMS.len()) * Apm::<8>::NODES;
    let ends = sum(&ends::SETS, ends::MIXERS) * ends::INPUTS + ends::LAST_SETS as usize * ends::MIXERS;
    2 * (CONTEXTS * 256 + mix + apms + matching::QUALITIES + ends)
}

impl Learned {
    /// The built-in state for blocks with or without a language model.
    pub(super) fn builtin(language_model: bool) -> &'static Learned {
        static WITHOUT_MODEL: LazyLock<Learned> = LazyLock::new(|| Learned::from_bytes(&MIX, false));
        static WITH_MODEL: LazyLock<Learned> = LazyLock::new(|| Learned::from_bytes(&MODEL, true));
        if language_model { &WITH_MODEL } else { &WITHOUT_MODEL }
    }

    /// What training starts from.
    pub(super) fn untrained(language_model: bool) -> Self {
        let rules = Rules::of(language_model);
        let mixers = rules.mixers;
        let mut last = Set::ZERO;
        last.flat_mut()[..mixers].fill((1 << WEIGHT_BITS) / mixers as i32);
        let mut set = Set::ZERO;
        let weights = set.flat_mut();
        weights[PLACES[0]] = if language_model { (1 << WEIGHT_BITS) / 2 } else { 0 };
        for place in &PLACES[2..2 + CONTEXTS] {
            weights[*place] = (1 << WEIGHT_BITS) / if language_model { 8 } else { 5 };
        }
        if !language_model {
            for place in [0, 1, 30, 31] {
                weights[PLACES[place]] = (1 << WEIGHT_BITS) / PIXEL_SHARE;
            }
        }
        let (mut end_weights, mut end_last) = (Set::ZERO, Set::ZERO);
        end_weights.flat_mut()[0] = 1 << WEIGHT_BITS;
        end_last.flat_mut()[..ends::MIXERS].fill((1 << WEIGHT_BITS) / 2);
        Learned {
            maps: Box::new([untrained(); CONTEXTS]),
            mixers,
            lasts: rules.lasts,
            weights: vec![set; sum(&SETS, mixers)],
            last: vec![last; sum(&LAST_SETS, rules.lasts)],
            apms: APMS.map(Apm::<8>::identity),
            matches: matching::untrained(),
            end_weights: vec![end_weights; ends::SETS.iter().sum::<u32>() as usize],
            end_last: vec![end_last; ends::LAST_SETS as usize],
        }
    }

    /// All numbers in 16 bits, little-endian, in the order of the fields.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let weight = |w: &i32| ((w + (1 << (STORED_SHIFT - 1))) >> STORED_SHIFT).clamp(-32768, 32767) as i16 as u16;
        let maps = self.maps.iter().flatten().map(|cell| cell.p() as u16);
        let weights = self
            .weights
            .iter()
            .flat_map(|set| PLACES.map(|place| weight(&set.flat()[place])));
        let last = self.last.iter().flat_map(|set| &set.flat()[..self.mixers]).map(weight);
        let apms = self.apms.iter().flatten().copied();
        let matches = self.matches.iter().map(|cell| cell.p() as u16);
        let end_weights = self.end_weights.iter().flat_map(Set::flat).map(weight);
        let end_last = self
            .end_last
            .iter()
            .flat_map(|set| &set.flat()[..ends::MIXERS])
            .map(weight);
        maps.chain(weights)
            .chain(last)
            .chain(apms)
            .chain(matches)
            .chain(end_weights)
            .chain(end_last)
            .flat_map(u16::to_le_bytes)
            .collect()
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    pub(super) fn from_bytes(bytes: &[u8], language_model: bool) -> Self {
        let mut state = Self::untrained(language_model);
        let mut numbers = bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair));
        let mut next = || numbers.next().unwrap_or_default();
        state
            .maps
            .iter_mut()
            .flatten()
            .for_each(|cell| *cell = Cell::new(next()));
        let mut weight = |w: &mut i32| *w = i32::from(next() as i16) << STORED_SHIFT;
        for set in &mut state.weights {
            PLACES.iter().for_each(|&place| weight(&mut set.flat_mut()[place]));
        }
        let mixers = state.mixers;
        for set in &mut state.last {
            set.flat_mut()[..mixers].iter_mut().for_each(&mut weight);
        }
        state.apms.iter_mut().flatten().for_each(|node| *node = next());
        state.matches.iter_mut().for_each(|cell| *cell = Cell::new(next()));
        let mut weight = |w: &mut i32| *w = i32::from(next() as i16) << STORED_SHIFT;
        state
            .end_weights
            .iter_mut()
            .flat_map(Set::flat_mut)
            .for_each(&mut weight);
        for set in &mut state.end_last {
            set.flat_mut()[..ends::MIXERS].iter_mut().for_each(&mut weight);
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
            assert_eq!(Learned::untrained(language_model).to_bytes().len(), bytes.len());
            assert_eq!(Learned::builtin(language_model).to_bytes(), bytes);
        }
    }
}
