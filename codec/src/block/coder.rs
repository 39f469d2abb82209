//! A block's lanes, predicted side by side and coded into one stream.
//!
//! A block is cut into contiguous runs of bytes, the lanes. All of them take one token per position; after each step
//! of the model the tokens of all lanes that have not ended are coded in lane order. Encoding runs the same steps, so
//! it cannot disagree with decoding about anything but the grouping of known tokens into longer runs, which
//! [`Lanes`] promises to be without influence.

use crate::entropy::frequencies::Frequencies;
use crate::entropy::range_coder::{Coder, Decoder, Encoder};
use crate::entropy::token_tree::{DecisionModel, Place, TokenTree};
use crate::model::{Lanes, LanguageModel, Token, Vocabulary};
use crate::{Error, Result, Stop};

/// Lengths of `lanes` runs of `len` bytes, as equal as possible, the longer ones first.
pub(crate) fn lane_lens(len: usize, lanes: usize) -> Vec<usize> {
    let (short, longer) = (len / lanes.max(1), len % lanes.max(1));
    (0..lanes).map(|lane| short + usize::from(lane < longer)).collect()
}

/// One side of the coder.
pub(super) trait Side: Coder {
    /// Whether more was read than any encoder writes: what follows would be garbage.
    fn is_exhausted(&self) -> bool;
}

impl Side for Encoder {
    fn is_exhausted(&self) -> bool {
        false
    }
}

impl Side for Decoder<'_> {
    fn is_exhausted(&self) -> bool {
        Decoder::is_exhausted(self)
    }
}

/// What every block of a model has in common.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) tree: TokenTree,
    pub(super) distribution: Frequencies,
    /// What is fed first to every lane.
    start: Token,
}

impl Tables {
    pub(super) fn new(vocabulary: &Vocabulary) -> Tables {
        Tables {
            tree: TokenTree::new(vocabulary),
            distribution: Frequencies::new(vocabulary),
            // A model without a start token was trained on text that starts anywhere; after a line end is likeliest.
            start: vocabulary.bos().unwrap_or_else(|| vocabulary.byte_token(b'\n')),
        }
    }
}

/// A lane under way.
struct Lane {
    /// The start token and then the tokens coded so far; all of them from the beginning when encoding.
    tokens: Vec<Token>,
    /// Index in `tokens` of the next one to feed.
    next: usize,
    /// Bytes still to come.
    left: usize,
    out: Vec<u8>,
}

/// Cuts `raw` into the tokens of its lanes.
pub(super) fn tokenize(model: &dyn LanguageModel, raw: &[u8], lanes: usize) -> Result<Vec<Vec<Token>>> {
    let mut rest = raw;
    let mut all = Vec::with_capacity(lanes);
    for len in lane_lens(raw.len(), lanes) {
        // Each lane is tokenized alone: a token must not reach into the next lane.
        let (text, after) = rest.split_at_checked(len).unwrap_or((rest, &[]));
        rest = after;
        let tokens = model.tokenize(text)?;
        let mut joined = Vec::with_capacity(len);
        model.vocabulary().join(&tokens, &mut joined);
        // A tokenizer may normalize text. A block must return byte by byte.
        if joined != text {
            return Err(Error::Verification("the tokenizer's tokens are not the text".into()));
        }
        all.push(tokens);
    }
    Ok(all)
}

/// A block to be coded.
pub(super) struct Job<'a> {
    pub(super) model: &'a dyn LanguageModel,
    /// Bytes of the block.
    pub(super) len: usize,
    /// Encoding: the tokens of all lanes.
    pub(super) known: Option<&'a [Vec<Token>]>,
    pub(super) stop: &'a Stop,
}

/// Codes a block and returns its bytes. `lanes` must have been reset.
pub(super) fn code<S: Side, D: DecisionModel>(
    job: &Job<'_>,
    tables: &mut Tables,
    lanes: &mut dyn Lanes,
    side: &mut S,
    decisions: &mut D,
) -> Result<Vec<u8>> {
    let Job {
        model,
        len,
        known,
        stop,
    } = *job;
    let vocabulary = model.vocabulary();
    let run = if known.is_some() { lanes.max_run().max(1) } else { 1 };
    let none = Vec::new();
    let mut states: Vec<Lane> = (0..)
        .zip(lane_lens(len, lanes.lanes()))
        .map(|(lane, left): (usize, usize)| {
            let known = known.and_then(|known| known.get(lane)).unwrap_or(&none);
            let tokens = [tables.start].iter().chain(known).copied().collect();
            Lane {
                tokens,
                next: 0,
                left,
                out: Vec::with_capacity(left),
            }
        })
        .collect();

    while states.iter().any(|lane| lane.left > 0) {
        stop.check()?;
        // A damaged stream would decode for as long as the lane is. It ends here instead.
        if side.is_exhausted() {
            return Err(Error::damaged("block", "its coded stream ends early"));
        }
        // Who encodes knows the tokens and feeds many at once. Who decodes knows the last one only.
        let runs: Vec<&[Token]> = states.iter().map(|lane| lane.run(run)).collect();
        lanes.step(&runs)?;
        let left = left_of(&states);
        for i in 0..run {
            for (index, lane) in states.iter_mut().enumerate().filter(|(_, lane)| lane.left > 0) {
                // The exact engine has its logits in byte order already, which saves gathering them.
                let ranked = lanes.ranked(index, i);
                let logits = ranked.unwrap_or_else(|| lanes.logits(index, i));
                let wanted = ranked.map_or(vocabulary.len(), |_| vocabulary.sorted().len());
                if logits.len() != wanted {
                    let found = logits.len();
                    return Err(Error::Engine {
                        engine: model.identity().engine,
                        reason: format!("{found} logits where the vocabulary has {wanted} tokens"),
                    });
                }
                if ranked.is_some() {
                    tables.distribution.set_ranked(logits);
                } else {
                    tables.distribution.set(logits);
                }
                lane.next += 1;
                // A decoder has none yet, and takes no notice of the one that it is given.
                let token = lane.tokens.get(lane.next).copied().unwrap_or_default();
                let place = Place {
                    lane: index,
                    left: lane.left,
                };
                let token = tables
                    .tree
                    .code(vocabulary, &tables.distribution, side, decisions, place, token);
                let Some(token) = token else {
                    return Err(Error::damaged(
                        "block",
                        "its coded stream holds a token longer than its lane",
                    ));
                };
                lane.take(token, vocabulary.bytes(token));
            }
        }
        stop.count((left - left_of(&states)) as u64);
    }
    Ok(states.into_iter().flat_map(|lane| lane.out).collect())
}

/// Bytes still to come in all lanes.
fn left_of(lanes: &[Lane]) -> usize {
    lanes.iter().map(|lane| lane.left).sum()
}

impl Lane {
    /// The tokens of the next step: none once the lane is complete.
    fn run(&self, most: usize) -> &[Token] {
        let end = self.tokens.len().min(self.next + most);
        match self.left {
            0 => &[],
            _ => self.tokens.get(self.next..end).unwrap_or_default(),
        }
    }

    fn take(&mut self, token: Token, bytes: &[u8]) {
        self.left -= bytes.len();
        self.out.extend_from_slice(bytes);
        // Decoding appends what it found. Encoding has all tokens from the start.
        if self.next == self.tokens.len() {
            self.tokens.push(token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_cover_the_block() {
        for (len, lanes) in [(0, 1), (1, 16), (65_536, 16), (65_537, 16), (100, 7)] {
            let lens = lane_lens(len, lanes);
            assert_eq!(lens.len(), lanes);
            assert_eq!(lens.iter().sum::<usize>(), len);
            assert!(lens.is_sorted_by(|a, b| a >= b));
        }
    }
}
