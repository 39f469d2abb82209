//! Tokens as binary decisions along the byte-sorted vocabulary.
//!
//! Every set of tokens that begin with given bits is a range of ranks. Coding a token halves such ranges until one
//! token is left: "does the token end here?" where one token is the beginning of others, otherwise the next bit that
//! is not the same for all. Bits that are the same for all cost nothing. Where each range divides does not depend on
//! probabilities, so it is computed once per vocabulary: a binary tree with one node less than there are tokens.

#![allow(
    clippy::indexing_slicing,
    reason = "nodes refer to nodes and ranks of the same tree, which is built here and never changed"
)]

use crate::entropy::frequencies::Frequencies;
use crate::entropy::range_coder::Coder;
use crate::model::{Token, Vocabulary};

/// What sees every decision between the language model and the coder, and may predict it better.
pub trait DecisionModel {
    /// The probability that the next bit of `lane` is 1, in units of 1/65536, given the language model's.
    fn predict(&mut self, lane: usize, lm: u32) -> u32;
    /// Learns the bit that [`predict`](Self::predict) was called for.
    fn update(&mut self, lane: usize, bit: bool);
    /// Notes a bit that had no alternative.
    fn skip(&mut self, lane: usize, bit: bool);
    /// The probability that the token of `lane` ends here, likewise; `rank` identifies the token so far.
    fn predict_end(&mut self, lane: usize, rank: u32, lm: u32) -> u32;
    /// Learns the decision that [`predict_end`](Self::predict_end) was called for.
    fn update_end(&mut self, lane: usize, end: bool);
    /// Notes that a token of `lane` is complete, by decision or because no token goes on from there.
    fn token(&mut self, lane: usize);
}

/// Leaves the language model's probabilities as they are.
#[derive(Debug)]
pub struct Passthrough;

impl DecisionModel for Passthrough {
    fn predict(&mut self, _: usize, lm: u32) -> u32 {
        lm
    }
    fn update(&mut self, _: usize, _: bool) {}
    fn skip(&mut self, _: usize, _: bool) {}
    fn predict_end(&mut self, _: usize, _: u32, lm: u32) -> u32 {
        lm
    }
    fn update_end(&mut self, _: usize, _: bool) {}
    fn token(&mut self, _: usize) {}
}

/// Child of a node that is a single token.
const TOKEN: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Node {
    /// First rank of the upper part.
    split: u32,
    /// Nodes of the two parts, or [`TOKEN`].
    lower: u32,
    upper: u32,
    /// Index of the bit that decides, from the token's start, most significant first.
    position: u32,
    /// Whether it is an end decision, made before the bit at `position`: the lower part is the token that ends.
    end: bool,
}

/// Where a token goes.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its lane.
    pub lane: usize,
    /// Bytes that the lane still lacks.
    pub left: usize,
}

/// The decisions of a vocabulary.
#[derive(Clone, Debug)]
pub struct TokenTree {
    nodes: Vec<Node>,
    ranks: u32,
}

fn bit_at(bytes: &[u8], position: usize) -> bool {
    bytes
        .get(position / 8)
        .is_some_and(|byte| byte >> (7 - position % 8) & 1 == 1)
}

impl TokenTree {
    /// Finds all divisions of a vocabulary.
    pub fn new(vocabulary: &Vocabulary) -> TokenTree {
        let sorted = vocabulary.sorted();
        let bytes = |rank: usize| vocabulary.bytes(sorted[rank]);
        let mut nodes: Vec<Node> = Vec::with_capacity(sorted.len());
        // Ranges still to divide, with the node and side that refers to them.
        let mut open = vec![(0, sorted.len(), None)];
        while let Some((lo, hi, parent)) = open.pop() {
            let mut index = TOKEN;
            if hi - lo > 1 {
                index = nodes.len() as u32;
                let (first, last) = (bytes(lo), bytes(hi - 1));
                let same = first.iter().zip(last).take_while(|(a, b)| a == b).count();
                let end = same == first.len();
                let (position, split) = match (first.get(same), last.get(same)) {
                    (Some(a), Some(b)) => {
                        let position = same * 8 + (a ^ b).leading_zeros() as usize;
                        let zeros = sorted[lo..hi].partition_point(|&t| !bit_at(vocabulary.bytes(t), position));
                        (position, lo + zeros)
                    }
                    _ => (same * 8, lo + 1),
                };
                nodes.push(Node {
                    split: split as u32,
                    lower: TOKEN,
                    upper: TOKEN,
                    position: position as u32,
                    end,
                });
                open.push((lo, split, Some((index, false))));
                open.push((split, hi, Some((index, true))));
            }
            if let Some((parent, upper)) = parent {
                let node = &mut nodes[parent as usize];
                *(if upper { &mut node.upper } else { &mut node.lower }) = index;
            }
        }
        TokenTree {
            nodes,
            ranks: sorted.len() as u32,
        }
    }

    /// Codes one token: an encoder writes `token`, a decoder ignores it and returns the one it reads. `None` if that
    /// is longer than what the lane has left: the stream is damaged, and `decisions` has seen no more bits than fit.
    #[inline]
    pub fn code<C: Coder, D: DecisionModel>(
        &self,
        vocabulary: &Vocabulary,
        distribution: &Frequencies,
        coder: &mut C,
        decisions: &mut D,
        place: Place,
        token: Token,
    ) -> Option<Token> {
        let Place { lane, left } = place;
        let wanted = vocabulary.bytes(token);
        let (mut lo, mut hi) = (0_u32, self.ranks);
        let (mut below, mut above) = (0, distribution.total());
        let (mut index, mut position) = (0, 0);
        while index != TOKEN {
            let node = self.nodes[index as usize];
            let some = vocabulary.bytes(vocabulary.sorted()[lo as usize]);
            if node.position as usize > left * 8 {
                return None;
            }
            for forced in position..node.position {
                decisions.skip(lane, bit_at(some, forced as usize));
            }
            position = node.position;
            let middle = distribution.below(node.split as usize);
            let lower = if node.end {
                let p = decisions.predict_end(lane, lo, quotient(middle - below, above - below));
                let end = coder.code(wanted.len() * 8 == position as usize, p);
                decisions.update_end(lane, end);
                end
            } else {
                if position as usize == left * 8 {
                    return None;
                }
                let p = decisions.predict(lane, quotient(above - middle, above - below));
                let bit = coder.code(bit_at(wanted, position as usize), p);
                decisions.update(lane, bit);
                position += 1;
                !bit
            };
            if lower {
                (hi, above, index) = (node.split, middle, node.lower);
            } else {
                (lo, below, index) = (node.split, middle, node.upper);
            }
        }
        assert_eq!(hi, lo + 1, "a path through the tree ends at one token");
        let found = vocabulary.sorted()[lo as usize];
        let bytes = vocabulary.bytes(found);
        if bytes.len() > left {
            return None;
        }
        for forced in position as usize..bytes.len() * 8 {
            decisions.skip(lane, bit_at(bytes, forced));
        }
        decisions.token(lane);
        Some(found)
    }
}

/// `part / whole` in units of 1/65536, neither 0 nor 1. Sums are below 2^44.
#[inline(always)]
fn quotient(part: u64, whole: u64) -> u32 {
    (((part << 16) / whole) as u32).clamp(1, 65535)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::entropy::range_coder::{Decoder, Encoder};
    use proptest::prelude::*;

    const AT: Place = Place { lane: 0, left: 100 };

    /// Checks the calls that a mixer sees: the bits of the lane are exactly the bytes of the tokens.
    #[derive(Default)]
    struct Watch {
        bits: Vec<bool>,
        ends: Vec<bool>,
    }

    impl DecisionModel for Watch {
        fn predict(&mut self, _: usize, lm: u32) -> u32 {
            lm
        }
        fn update(&mut self, _: usize, bit: bool) {
            self.bits.push(bit);
        }
        fn skip(&mut self, _: usize, bit: bool) {
            self.bits.push(bit);
        }
        fn predict_end(&mut self, _: usize, _: u32, lm: u32) -> u32 {
            lm
        }
        fn update_end(&mut self, _: usize, end: bool) {
            self.ends.push(end);
        }
        fn token(&mut self, _: usize) {
            assert_eq!(self.bits.len() % 8, 0);
        }
    }

    fn bytes_of(bits: &[bool]) -> Vec<u8> {
        bits.chunks(8)
            .map(|byte| byte.iter().fold(0, |value, &bit| value << 1 | u8::from(bit)))
            .collect()
    }

    proptest! {
        #[test]
        fn any_tokens_of_any_vocabulary_return(
            words in prop::collection::vec(prop::collection::vec(97_u8..100, 0..6), 0..60),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 1..80),
            seed in any::<u32>(),
        ) {
            let tokens: Vec<Vec<u8>> = words.into_iter().chain((0..=255).map(|byte| vec![byte])).collect();
            let vocabulary = Vocabulary::new(&tokens, None).unwrap();
            let tree = TokenTree::new(&vocabulary);
            prop_assert_eq!(tree.nodes.len(), vocabulary.sorted().len() - 1);
            let mut distribution = Frequencies::new(&vocabulary);
            let logits: Vec<f32> = (0..vocabulary.len() as u32)
                .map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 20) as f32 / 300.0).collect();
            distribution.set(&logits);

            let text: Vec<Token> = picks.iter().map(|pick| *pick.get(vocabulary.sorted())).collect();
            let (mut encoder, mut watch) = (Encoder::new(Vec::new()), Watch::default());
            for &token in &text {
                let coded = tree.code(&vocabulary, &distribution, &mut encoder, &mut watch, AT, token);
                prop_assert_eq!(coded, Some(token));
            }
            let payload = encoder.finish();
            let mut bytes = Vec::new();
            vocabulary.join(&text, &mut bytes);
            prop_assert_eq!(bytes_of(&watch.bits), bytes);

            let mut decoder = Decoder::new(&payload);
            for &token in &text {
                let coded = tree.code(&vocabulary, &distribution, &mut decoder, &mut Passthrough, AT, 0);
                prop_assert_eq!(coded, Some(token));
            }
            decoder.finish().unwrap();
        }
    }

    #[test]
    fn bits_cost_the_same_as_the_whole_token() {
        struct Cost(f64);
        impl Coder for Cost {
            fn code(&mut self, bit: bool, p1: u32) -> bool {
                let p = f64::from(if bit { p1 } else { 65536 - p1 }) / 65536.0;
                self.0 -= p.log2();
                bit
            }
        }
        let words = ["a", "an", "and", "the", "there", "the ", " the", "e", "the\u{e9}"];
        let tokens: Vec<Vec<u8>> = words
            .iter()
            .map(|w| w.as_bytes().to_vec())
            .chain((0..=255).map(|b| vec![b]))
            .collect();
        let vocabulary = Vocabulary::new(&tokens, None).unwrap();
        let (tree, mut distribution) = (TokenTree::new(&vocabulary), Frequencies::new(&vocabulary));
        let logits: Vec<f32> = (0..vocabulary.len()).map(|i| (i * 37 % 11) as f32 * 0.7).collect();
        distribution.set(&logits);
        for (rank, &token) in vocabulary.sorted().iter().enumerate() {
            let mut cost = Cost(0.0);
            tree.code(&vocabulary, &distribution, &mut cost, &mut Passthrough, AT, token);
            let whole = (distribution.below(rank + 1) - distribution.below(rank)) as f64;
            let ideal = -(whole / distribution.total() as f64).log2();
            assert!(
                (cost.0 - ideal).abs() < 0.01 + ideal * 0.001,
                "{token}: {} for {ideal}",
                cost.0
            );
        }
    }

    /// Damage once made the mixer write past the end of its lane.
    #[test]
    fn a_token_that_is_too_long_is_not_finished() {
        let tokens: Vec<Vec<u8>> = [b"abcdef".to_vec(), b"abcxyz".to_vec()]
            .into_iter()
            .chain((0..=255).map(|byte| vec![byte]))
            .collect();
        let vocabulary = Vocabulary::new(&tokens, None).unwrap();
        let (tree, mut distribution) = (TokenTree::new(&vocabulary), Frequencies::new(&vocabulary));
        distribution.set(&vec![0.0; vocabulary.len()]);
        for token in 0..2 {
            for left in 0..8 {
                let (mut encoder, mut watch) = (Encoder::new(Vec::new()), Watch::default());
                let place = Place { lane: 0, left };
                let found = tree.code(&vocabulary, &distribution, &mut encoder, &mut watch, place, token);
                assert_eq!(found, (left >= 6).then_some(token));
                assert!(watch.bits.len() <= left * 8, "{left} bytes, {} bits", watch.bits.len());
            }
        }
    }
}
