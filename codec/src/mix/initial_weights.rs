//! The state a predictor starts with, learned from training text by `tools/mixtrain.rs`; `initial_weights/README.md`
//! has the commands.

use std::sync::LazyLock;

use super::apm::Apm;
use super::layout::{
    BlockKind, CONTEXTS, DISTRIBUTIONS, EXTRA, FINAL_MAP_BITS, INPUTS, LANGUAGE_MODEL, OTHERS, PRINTED, Rules,
    SAMPLES_ALONE, STORED_ORDER, WeightSets, sum,
};
use super::match_model;
use super::mixer::{Set, WEIGHT_BITS};
use super::state_map::{Cell, StateMaps};
use super::token_end;
use crate::simd::WAYS;

/// Maps of histories, mixing weights, final map and the quality of matches.
pub(super) struct InitialWeights {
    pub(super) rules: Rules,
    pub(super) maps: StateMaps,
    pub(super) sets: Vec<Set<2>>,
    pub(super) final_map: Vec<u16>,
    pub(super) matches: [Cell; match_model::QUALITIES],
    pub(super) end_sets: Vec<Set<1>>,
}

/// Pixels have no part in training: their inputs start with one over this.
const PIXEL_SHARE: i32 = 8;

/// Weights are stored in units of 1/8192, so in 16 bits.
const STORED_SHIFT: u32 = WEIGHT_BITS - 13;

/// What predictors start with, without and with a language model. A file of a wrong length does not compile.
static MIX: [u8; stored(BlockKind::Plain)] = *include_bytes!("initial_weights/mix.bin");
static RECORDS: [u8; stored(BlockKind::Strided)] = *include_bytes!("initial_weights/records.bin");
static MODEL: [u8; stored(BlockKind::Modelled)] = *include_bytes!("initial_weights/model.bin");

/// Bytes of a file.
const fn stored(kind: BlockKind) -> usize {
    let mix = Rules::of(kind).trained_sets() * INPUTS;
    let final_map = Apm::<8>::NODES << FINAL_MAP_BITS;
    let ends = sum(&token_end::SETS, token_end::MIXERS) * token_end::INPUTS;
    2 * (CONTEXTS * 256 + mix + final_map + match_model::QUALITIES + ends)
}

impl InitialWeights {
    /// The built-in state for blocks of this kind.
    pub(super) fn builtin(kind: BlockKind) -> &'static InitialWeights {
        static PLAIN: LazyLock<InitialWeights> = LazyLock::new(|| InitialWeights::from_bytes(&MIX, BlockKind::Plain));
        static STRIDED: LazyLock<InitialWeights> =
            LazyLock::new(|| InitialWeights::from_bytes(&RECORDS, BlockKind::Strided));
        static MODELLED: LazyLock<InitialWeights> =
            LazyLock::new(|| InitialWeights::from_bytes(&MODEL, BlockKind::Modelled));
        match kind {
            BlockKind::Plain => &PLAIN,
            BlockKind::Strided => &STRIDED,
            BlockKind::Modelled => &MODELLED,
        }
    }

    /// What blocks of samples start with: mostly what the distributions say.
    pub(super) fn samples() -> &'static InitialWeights {
        static SAMPLES: LazyLock<InitialWeights> = LazyLock::new(|| {
            let mut weights = InitialWeights::untrained(BlockKind::Plain);
            let one = (1 << WEIGHT_BITS) / weights.rules.mixers as i32;
            for set in &mut weights.sets {
                let flat = set.flat_mut();
                flat[..CONTEXTS].fill(one / 16);
                for i in OTHERS..OTHERS + SAMPLES_ALONE {
                    flat[i] = one / DISTRIBUTIONS as i32;
                    flat[i + WAYS] = one / DISTRIBUTIONS as i32;
                }
                for i in LANGUAGE_MODEL.into_iter().chain(EXTRA) {
                    flat[i] = one / DISTRIBUTIONS as i32;
                }
            }
            weights
        });
        &SAMPLES
    }

    /// What training starts from.
    pub(super) fn untrained(kind: BlockKind) -> Self {
        let rules = Rules::of(kind);
        let language_model = kind == BlockKind::Modelled;
        // The weights of an input add up over the selectors.
        let one = (1 << WEIGHT_BITS) / rules.mixers as i32;
        let mut set = Set::ZERO;
        let weights = set.flat_mut();
        weights[LANGUAGE_MODEL[0]] = if language_model { one / 2 } else { 0 };
        weights[..CONTEXTS].fill(one / if language_model { 8 } else { 5 });
        if !language_model {
            for pixels in LANGUAGE_MODEL.into_iter().chain(EXTRA) {
                weights[pixels] = one / PIXEL_SHARE;
            }
        }
        let mut sets = vec![set; rules.trained_sets()];
        if !language_model {
            // What a numeral was printed from is known, or not at all.
            for set in sets.iter_mut().take(WeightSets::SIZES[0] as usize) {
                set.flat_mut()[PRINTED] = 1 << WEIGHT_BITS;
            }
        }
        // Untrained, the language model's own prediction is taken as it is.
        let mut end_set = Set::ZERO;
        end_set.flat_mut()[0] = (1 << WEIGHT_BITS) / token_end::MIXERS as i32;
        InitialWeights {
            rules,
            maps: StateMaps::untrained(),
            sets,
            final_map: Apm::<8>::identity(1 << FINAL_MAP_BITS),
            matches: match_model::untrained(),
            end_sets: vec![end_set; sum(&token_end::SETS, token_end::MIXERS)],
        }
    }

    /// All numbers in 16 bits, little-endian: maps of histories, weights, final map, qualities of matches, and the
    /// weights of token ends.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // Rounded, not cut: cutting would shift all weights the same way.
        let weight = |w: &i32| ((w + (1 << (STORED_SHIFT - 1))) >> STORED_SHIFT).clamp(-32768, 32767) as i16 as u16;
        let cell = |cell: &Cell| cell.p() as u16;
        let mut numbers: Vec<u16> = self.maps.probabilities().collect();
        for set in &self.sets {
            numbers.extend(STORED_ORDER.map(|place| weight(&set.flat()[place])));
        }
        numbers.extend(&self.final_map);
        numbers.extend(self.matches.iter().map(cell));
        numbers.extend(self.end_sets.iter().flat_map(Set::flat).map(weight));
        numbers.into_iter().flat_map(u16::to_le_bytes).collect()
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    pub(super) fn from_bytes(bytes: &[u8], kind: BlockKind) -> Self {
        let mut state = Self::untrained(kind);
        let mut numbers = bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair));
        // The files are built in, and a test below proves that they are as long as they have to be.
        let mut next = || numbers.next().unwrap_or_default();
        let weight = |number: u16| i32::from(number as i16) << STORED_SHIFT;
        state.maps = StateMaps::new((0..CONTEXTS * 256).map(|_| next()));
        for set in &mut state.sets {
            for place in STORED_ORDER {
                set.flat_mut()[place] = weight(next());
            }
        }
        for node in &mut state.final_map {
            *node = next();
        }
        for cell in &mut state.matches {
            *cell = Cell::new(next());
        }
        for w in state.end_sets.iter_mut().flat_map(Set::flat_mut) {
            *w = weight(next());
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_states_are_read_whole() {
        let files: [(BlockKind, &[u8]); 3] = [
            (BlockKind::Plain, &MIX),
            (BlockKind::Strided, &RECORDS),
            (BlockKind::Modelled, &MODEL),
        ];
        for (kind, bytes) in files {
            assert_eq!(InitialWeights::untrained(kind).to_bytes().len(), bytes.len());
            assert_eq!(InitialWeights::builtin(kind).to_bytes(), bytes);
        }
    }
}
