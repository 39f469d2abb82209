//! The mixer's inputs by name.

use super::layout::{DISTRIBUTIONS, ONE, SAMPLES_ALONE};
use super::math::{confidence, linear, pair, squash, stretch};

/// All inputs but those of the contexts.
#[derive(Clone, Copy, Default)]
pub(super) struct Inputs {
    /// The language model's prediction, stretched and linear.
    pub(super) language_model: [i32; 2],
    /// The match model's, likewise.
    pub(super) matched: [i32; 2],
    /// What the language model's prediction turned out to mean in two contexts, stretched.
    pub(super) extra: [i32; 2],
    /// Of samples; or the first one of what numerals were printed from.
    pub(super) own: [[i32; 2]; SAMPLES_ALONE],
}

impl Inputs {
    /// Sets the language model's inputs and returns its confidence, 0 to 7.
    #[inline(always)]
    pub(super) fn set_language_model(&mut self, p: u32) -> u32 {
        let stretched = stretch(p);
        self.language_model = [stretched, linear(p as i32)];
        confidence(stretched)
    }

    /// Sets what a numeral was printed from, where there is no language model, and returns the class beside it.
    #[inline(always)]
    pub(super) fn set_printed(&mut self, (stretched, class): (i32, u32)) -> u32 {
        self.own[0][0] = stretched;
        class
    }

    #[inline(always)]
    pub(super) fn set_match(&mut self, stretched: i32) {
        self.matched = [stretched, linear(squash(stretched))];
    }

    /// Where there are pixels there is no language model, so they take its places and those of its refinements.
    #[inline(always)]
    pub(super) fn set_pixels(&mut self, [a, b, c, d]: [i32; 4]) {
        self.language_model = [a, b];
        self.extra = [c, d];
    }

    /// The same of samples, which have places of their own besides.
    #[inline(always)]
    pub(super) fn set_samples(&mut self, [a, b, c, d, rest @ ..]: [i32; DISTRIBUTIONS]) {
        self.language_model = [a, b];
        self.extra = [c, d];
        for (to, from) in self.own.iter_mut().zip(rest.as_chunks().0) {
            *to = *from;
        }
    }

    /// As pairs, in the order of their places in the vectors.
    #[inline(always)]
    pub(super) fn pairs(&self) -> [u32; SAMPLES_ALONE + 4] {
        let of = |[low, high]: [i32; 2]| pair(low, high);
        let [a, b, c] = self.own;
        [
            of(a),
            of(b),
            of(c),
            of(self.language_model),
            of(self.matched),
            pair(ONE, 0),
            of(self.extra),
        ]
    }
}
