//! The mixer's inputs by name.

use super::context::CONTEXTS;
use super::layout::{CONSTANT, EXTRA, LANGUAGE_MODEL, MATCH, ONE, ORDER1};
use super::math::{squash, stretch};
use super::state_map;
use crate::simd::WAYS;
use crate::simd::whole::Whole;

/// All inputs but those of the contexts.
#[derive(Clone, Copy, Default)]
pub(super) struct Inputs {
    /// The language model's prediction, stretched and linear.
    pub(super) language_model: [i32; 2],
    /// The match model's, likewise.
    pub(super) matched: [i32; 2],
    /// The order-1 model's, stretched.
    pub(super) order1: i32,
    /// What the language model's prediction turned out to mean in two contexts, stretched.
    pub(super) extra: [i32; 2],
}

/// `p - 1/2` of a probability `p / 65536`, in units of 1/1024.
#[inline(always)]
pub(super) fn linear(p: i32) -> i32 {
    p.wrapping_sub(32768) >> 6
}

impl Inputs {
    /// Sets the language model's inputs and returns its confidence, 0 to 7.
    #[inline(always)]
    pub(super) fn set_language_model(&mut self, p: u32) -> u32 {
        let stretched = stretch(p);
        self.language_model = [stretched, linear(p as i32)];
        (stretched.unsigned_abs() >> 8).min(7)
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

    /// The two vectors of inputs, with those of the contexts' cells.
    #[inline(always)]
    pub(super) fn vectors<S: Whole>(&self, v: S, cells: S::I) -> [S::I; 2] {
        const _: () = assert!(MATCH == LANGUAGE_MODEL + 2 && LANGUAGE_MODEL == CONTEXTS);
        const _: () = assert!(ORDER1 == WAYS + CONTEXTS && CONSTANT == ORDER1 + 1 && EXTRA == ORDER1 + 2);
        let first = [
            self.language_model[0],
            self.language_model[1],
            self.matched[0],
            self.matched[1],
        ];
        let second = [self.order1, ONE, self.extra[0], self.extra[1]];
        let behind = |four: [i32; 4]| v.generate(|i| if i < CONTEXTS { 0 } else { four[i & 3] });
        let [stretched, linear] = state_map::inputs(v, cells);
        [v.or(stretched, behind(first)), v.or(linear, behind(second))]
    }
}
