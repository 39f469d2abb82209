//! Sets of byte positions in a block, as sorted ranges that neither touch nor overlap.

use std::ops::Range;

/// A set of byte positions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<(usize, usize)>);

impl Ranges {
    /// Adds the positions in `range`.
    pub fn insert(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        // Ranges that only touch are merged, too, so that covering a range means lying in a single one.
        let first = self.0.partition_point(|(_, end)| *end < range.start);
        let last = self.0.partition_point(|(start, _)| *start <= range.end);
        #[expect(clippy::indexing_slicing, reason = "the first is not after the last")]
        let merged = self.0[first..last].iter().fold((range.start, range.end), |all, one| {
            (all.0.min(one.0), all.1.max(one.1))
        });
        self.0.splice(first..last, [merged]);
    }

    /// Removes the positions from `keep` on.
    pub fn clip(&mut self, keep: usize) {
        self.0.retain(|(start, _)| *start < keep);
        if let Some((_, end)) = self.0.last_mut() {
            *end = keep.min(*end);
        }
    }

    /// Whether all of `range` is in the set.
    pub fn covers(&self, range: Range<usize>) -> bool {
        range.is_empty()
            || self
                .0
                .iter()
                .any(|(start, end)| *start <= range.start && range.end <= *end)
    }

    /// The parts of the set that lie in `window`, in order.
    pub fn within(&self, window: Range<usize>) -> impl Iterator<Item = Range<usize>> + '_ {
        let first = self.0.partition_point(|(_, end)| *end <= window.start);
        self.0
            .iter()
            .skip(first)
            .take_while(move |(start, _)| *start < window.end)
            .map(move |(start, end)| *start.max(&window.start)..*end.min(&window.end))
    }

    /// One past the last position, 0 for an empty set.
    pub fn end(&self) -> usize {
        self.0.last().map_or(0, |(_, end)| *end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_set_of_positions(
            steps in prop::collection::vec((any::<bool>(), 0_usize..40, 0_usize..12), 1..40),
        ) {
            let mut ranges = Ranges::default();
            let mut model = [false; 64];
            for (insert, start, len) in steps {
                if insert {
                    ranges.insert(start..start + len);
                    model.iter_mut().skip(start).take(len).for_each(|bit| *bit = true);
                } else {
                    ranges.clip(start);
                    model.iter_mut().skip(start).for_each(|bit| *bit = false);
                }
                let all: Vec<usize> = ranges.within(0..64).flatten().collect();
                let expected = model.iter().enumerate().filter(|(_, bit)| **bit);
                let expected: Vec<usize> = expected.map(|(at, _)| at).collect();
                prop_assert_eq!(&all, &expected);
                let part: Vec<usize> = ranges.within(7..23).flatten().collect();
                let expected: Vec<usize> = expected.into_iter().filter(|at| (7..23).contains(at)).collect();
                prop_assert_eq!(part, expected);
                prop_assert_eq!(ranges.covers(start..start + len), model.iter().skip(start).take(len).all(|bit| *bit));
                prop_assert_eq!(ranges.end(), all.last().map_or(0, |at| at + 1));
                for pair in ranges.0.windows(2) {
                    prop_assert!(matches!(pair, [(_, end), (start, _)] if end < start), "ranges touch: {:?}", pair);
                }
            }
        }
    }
}
