//! The state a predictor starts with, learned from training text by `examples/mixtrain.rs`; `learned/README.md` has the commands.

use std::sync::LazyLock;

use super::apm;
use super::context::CONTEXTS;
use super::ends;
use super::maps::{Cell, Map, untrained};
use super::matching;
use super::mixer::WEIGHT_BITS;
use super::predictor::{APMS, INPUTS, LAST_SETS, MIXERS, PLACES};
use super::version::{Rules, SETS};

/// Maps of histories, mixing weights, final maps and the quality of matches.
pub(super) struct Learned {
    pub(super) maps: Box<[Map; CONTEXTS]>,
    /// First-layer mixers in use.
    pub(super) mixers: usize,
    pub(super) weights: Vec<[i32; INPUTS]>,
    pub(super) last: Vec<[i32; MIXERS]>,
    pub(super) apms: [Vec<u16>; 2],
    pub(super) matches: [Cell; matching::QUALITIES],
    pub(super) end_weights: Vec<[i32; ends::INPUTS]>,
    pub(super) end_last: Vec<[i32; ends::MIXERS]>,
}

/// Pixels have no part in training: their inputs start with one over this.
const PIXEL_SHARE: i32 = 8;

/// Weights are stored in units of 1/4096, so in 16 bits.
const STORED_SHIFT: u32 = WEIGHT_BITS - 12;

/// What the predictors of versions 1 and 2 start with, without and with a language model.
static FILES: [[&[u8]; 2]; 2] = [
    [include_bytes!("learned/mix.bin"), include_bytes!("learned/model.bin")],
    [include_bytes!("learned/mix2.bin"), include_bytes!("learned/model2.bin")],
];

impl Learned {
    /// The built-in state for blocks with or without a language model.
    pub(super) fn builtin(version: u8, language_model: bool) -> &'static Learned {
        static STATES: [[LazyLock<Learned>; 2]; 2] = [
            [
                LazyLock::new(|| Learned::from_bytes(FILES[0][0], 1, false)),
                LazyLock::new(|| Learned::from_bytes(FILES[0][1], 1, true)),
            ],
            [
                LazyLock::new(|| Learned::from_bytes(FILES[1][0], 2, false)),
                LazyLock::new(|| Learned::from_bytes(FILES[1][1], 2, true)),
            ],
        ];
        &STATES[usize::from(version != 1)][usize::from(language_model)]
    }

    /// What training starts from.
    pub(super) fn untrained(version: u8, language_model: bool) -> Self {
        let mixers = Rules::of(version, language_model).mixers;
        let mut last = [0; MIXERS];
        last[..mixers].fill((1 << WEIGHT_BITS) / mixers as i32);
        let mut weights = [0; INPUTS];
        weights[PLACES[0]] = if language_model { (1 << WEIGHT_BITS) / 2 } else { 0 };
        for place in &PLACES[2..2 + CONTEXTS] {
            weights[*place] = (1 << WEIGHT_BITS) / if language_model { 8 } else { 5 };
        }
        if Rules::of(version, language_model).pixels {
            for place in [0, 1, 30, 31] {
                weights[PLACES[place]] = (1 << WEIGHT_BITS) / PIXEL_SHARE;
            }
        }
        let mut end_weights = [0; ends::INPUTS];
        end_weights[0] = 1 << WEIGHT_BITS;
        Learned {
            maps: Box::new([untrained(); CONTEXTS]),
            mixers,
            weights: vec![weights; SETS[..mixers].iter().sum::<u32>() as usize],
            last: vec![last; LAST_SETS as usize],
            apms: APMS.map(apm::identity),
            matches: matching::untrained(),
            end_weights: vec![end_weights; ends::SETS.iter().sum::<u32>() as usize],
            end_last: vec![[(1 << WEIGHT_BITS) / 2; ends::MIXERS]; ends::LAST_SETS as usize],
        }
    }

    /// All numbers in 16 bits, little-endian, in the order of the fields.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let weight = |w: &i32| ((w + (1 << (STORED_SHIFT - 1))) >> STORED_SHIFT).clamp(-32768, 32767) as i16 as u16;
        let maps = self.maps.iter().flatten().map(|cell| cell.p() as u16);
        let weights = self
            .weights
            .iter()
            .flat_map(|set| PLACES.map(|place| weight(&set[place])));
        let last = self.last.iter().flat_map(|set| &set[..self.mixers]).map(weight);
        let apms = self.apms.iter().flatten().copied();
        let matches = self.matches.iter().map(|cell| cell.p() as u16);
        let end_weights = self.end_weights.iter().flatten().map(weight);
        let end_last = self.end_last.iter().flatten().map(weight);
        maps.chain(weights)
            .chain(last)
            .chain(apms)
            .chain(matches)
            .chain(end_weights)
            .chain(end_last)
            .flat_map(u16::to_le_bytes)
            .collect()
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote; with other lengths (while the shape of the predictor is being changed),
    /// the untrained state.
    fn from_bytes(bytes: &[u8], version: u8, language_model: bool) -> Self {
        let mut state = Self::untrained(version, language_model);
        if bytes.len() != state.to_bytes().len() {
            return state;
        }
        let mut numbers = bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair));
        let mut next = || numbers.next().unwrap_or_default();
        state
            .maps
            .iter_mut()
            .flatten()
            .for_each(|cell| *cell = Cell::new(next()));
        let mut weight = |w: &mut i32| *w = i32::from(next() as i16) << STORED_SHIFT;
        for set in &mut state.weights {
            PLACES.iter().for_each(|&place| weight(&mut set[place]));
        }
        let mixers = state.mixers;
        for set in &mut state.last {
            set[..mixers].iter_mut().for_each(&mut weight);
        }
        state.apms.iter_mut().flatten().for_each(|node| *node = next());
        state.matches.iter_mut().for_each(|cell| *cell = Cell::new(next()));
        let mut weight = |w: &mut i32| *w = i32::from(next() as i16) << STORED_SHIFT;
        state.end_weights.iter_mut().flatten().for_each(&mut weight);
        state.end_last.iter_mut().flatten().for_each(&mut weight);
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_states_fit_the_predictor() {
        for (files, version) in FILES.iter().zip(1..) {
            for (bytes, language_model) in files.iter().zip([false, true]) {
                assert_eq!(
                    bytes.len(),
                    Learned::untrained(version, language_model).to_bytes().len()
                );
                assert_eq!(Learned::builtin(version, language_model).to_bytes(), *bytes);
            }
        }
    }
}
