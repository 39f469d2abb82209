//! Byte-level BPE as GGUF files of kind `gpt2` describe it, with the `qwen2` pre-tokenizer.
//!
//! Token ids equal llama.cpp's for the same text. Bytes that are not UTF-8 become single-byte tokens.

use super::error::{Error, Result};
use super::file::File;
use super::split::{Classes, words};
use crate::model::gguf::Value;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

const KIND_UNKNOWN: i128 = 2;
const KIND_CONTROL: i128 = 3;
const KIND_USER: i128 = 4;
const KIND_UNUSED: i128 = 5;

/// Turns text into tokens.
#[derive(Debug)]
pub struct Tokenizer {
    /// What two neighbours merge into: `(left, right) -> (rank, merged)`. A lower rank goes first.
    merges: HashMap<(u32, u32), (u32, u32)>,
    byte_tokens: [u32; 256],
}

/// The tokenizer of a file and the bytes of its tokens (none for tokens that stand for no text).
pub fn load(file: File<'_>) -> Result<(Tokenizer, Vec<Vec<u8>>)> {
    for (key, wanted) in [("tokenizer.ggml.model", "gpt2"), ("tokenizer.ggml.pre", "qwen2")] {
        let found = file.text(key);
        if found != Some(wanted) {
            return Err(Error::Unsupported(format!("`{key}` is {found:?}, not {wanted:?}")));
        }
    }
    let texts = file.array("tokenizer.ggml.tokens")?;
    let kinds = file.array("tokenizer.ggml.token_type").unwrap_or_default();
    let alphabet: HashMap<char, u8> = (0..=255).map(|b| (byte_to_char(b), b)).collect();
    let mut tokens = Vec::with_capacity(texts.len());
    for (id, text) in texts.iter().enumerate() {
        let Value::Text(text) = text else {
            return Err(Error::Key("tokenizer.ggml.tokens".into()));
        };
        let kind = match kinds.get(id) {
            Some(Value::Integer(k)) => *k,
            _ => 1,
        };
        tokens.push(match kind {
            KIND_UNKNOWN | KIND_CONTROL | KIND_UNUSED => Vec::new(),
            KIND_USER => text.clone(),
            _ => decode(text, &alphabet)
                .ok_or_else(|| Error::Unsupported(format!("token {id} is not written in the byte alphabet")))?,
        });
    }
    let tokenizer = Tokenizer::new(&tokens, file.array("tokenizer.ggml.merges")?, &alphabet)?;
    Ok((tokenizer, tokens))
}

impl Tokenizer {
    fn new(tokens: &[Vec<u8>], lines: &[Value], alphabet: &HashMap<char, u8>) -> Result<Self> {
        let bad = || Error::Key("tokenizer.ggml.merges".into());
        let mut ids = HashMap::new();
        for (id, bytes) in (0u32..).zip(tokens) {
            if !bytes.is_empty() {
                // Of tokens with the same bytes the last counts, as in the vocabulary.
                ids.insert(bytes.as_slice(), id);
            }
        }
        let mut byte_tokens = [0; 256];
        for (byte, slot) in (0u8..=255).zip(&mut byte_tokens) {
            *slot = *ids
                .get([byte].as_slice())
                .ok_or_else(|| Error::Unsupported(format!("the vocabulary has no token for byte {byte:#04x}")))?;
        }
        let mut merges = HashMap::with_capacity(lines.len());
        for (rank, line) in (0u32..).zip(lines) {
            let Value::Text(line) = line else {
                return Err(bad());
            };
            // The separator is the first space after the first character, which may be one itself in no alphabet.
            let cut = line.iter().skip(1).position(|&b| b == b' ').ok_or_else(bad)? + 1;
            let (left, right) = line.split_at_checked(cut).ok_or_else(bad)?;
            let left = decode(left, alphabet).ok_or_else(bad)?;
            let right = decode(right.get(1..).unwrap_or_default(), alphabet).ok_or_else(bad)?;
            let joined = [left.as_slice(), right.as_slice()].concat();
            let found = (
                ids.get(left.as_slice()),
                ids.get(right.as_slice()),
                ids.get(joined.as_slice()),
            );
            // A merge among texts that are no tokens cannot be the way to a token.
            if let (Some(&l), Some(&r), Some(&m)) = found {
                merges.entry((l, r)).or_insert((rank, m));
            }
        }
        Ok(Self { merges, byte_tokens })
    }

    /// The tokens of any bytes: of its UTF-8 runs as text, of the other bytes one by one.
    pub fn tokenize(&self, text: &[u8], classes: Classes) -> Vec<u32> {
        let mut out = Vec::with_capacity(text.len() / 2);
        let mut merger = Merger::default();
        for chunk in text.utf8_chunks() {
            for word in words(chunk.valid(), classes) {
                merger.start(word.bytes().map(|b| self.byte_token(b)));
                merger.run(&self.merges);
                merger.finish(&mut out);
            }
            out.extend(chunk.invalid().iter().map(|&b| self.byte_token(b)));
        }
        out
    }

    fn byte_token(&self, byte: u8) -> u32 {
        self.byte_tokens.get(usize::from(byte)).copied().unwrap_or_default()
    }
}

const NONE: u32 = u32::MAX;

/// A piece of the word: a link of a list. `token` is [`NONE`] once it is merged into its left neighbour.
#[derive(Clone, Copy)]
struct Piece {
    token: u32,
    prev: u32,
    next: u32,
}

/// A possible merge, ordered by rank, then place.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    rank: u32,
    left: u32,
    right: u32,
    pair: (u32, u32),
    merged: u32,
}

/// Merges the pieces of one word. Buffers are kept from word to word.
#[derive(Default)]
struct Merger {
    pieces: Vec<Piece>,
    queue: BinaryHeap<Reverse<Candidate>>,
}

impl Merger {
    fn start(&mut self, tokens: impl Iterator<Item = u32>) {
        self.pieces.clear();
        self.queue.clear();
        for (at, token) in (0u32..).zip(tokens) {
            self.pieces.push(Piece {
                token,
                prev: at.wrapping_sub(1),
                next: at + 1,
            });
        }
        if let Some(last) = self.pieces.last_mut() {
            last.next = NONE;
        }
    }

    fn piece(&self, at: u32) -> Option<Piece> {
        self.pieces.get(at as usize).copied()
    }

    fn offer(&mut self, left: u32, right: u32, merges: &HashMap<(u32, u32), (u32, u32)>) {
        let (Some(l), Some(r)) = (self.piece(left), self.piece(right)) else {
            return;
        };
        let pair = (l.token, r.token);
        if let Some(&(rank, merged)) = merges.get(&pair) {
            self.queue.push(Reverse(Candidate {
                rank,
                left,
                right,
                pair,
                merged,
            }));
        }
    }

    fn run(&mut self, merges: &HashMap<(u32, u32), (u32, u32)>) {
        for right in 1..u32::try_from(self.pieces.len()).unwrap_or(NONE) {
            self.offer(right - 1, right, merges);
        }
        while let Some(Reverse(c)) = self.queue.pop() {
            let (Some(l), Some(r)) = (self.piece(c.left), self.piece(c.right)) else {
                continue;
            };
            if l.next != c.right || (l.token, r.token) != c.pair {
                continue; // one of the two has merged with something else meanwhile
            }
            if let Some(left) = self.pieces.get_mut(c.left as usize) {
                *left = Piece {
                    token: c.merged,
                    next: r.next,
                    ..*left
                };
            }
            if let Some(right) = self.pieces.get_mut(c.right as usize) {
                right.token = NONE;
            }
            if let Some(after) = self.pieces.get_mut(r.next as usize) {
                after.prev = c.left;
            }
            self.offer(l.prev, c.left, merges);
            self.offer(c.left, r.next, merges);
        }
    }

    fn finish(&self, out: &mut Vec<u32>) {
        out.extend(self.pieces.iter().map(|p| p.token).filter(|&t| t != NONE));
    }
}

/// The printable character that stands for a byte in GPT-2's vocabulary files.
fn byte_to_char(byte: u8) -> char {
    // At most 255 bytes come before, and each number from 256 to 511 is a character.
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if printable(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|&b| !printable(b)).count();
    u32::try_from(before)
        .ok()
        .and_then(|n| char::from_u32(256 + n))
        .unwrap_or_default()
}

/// The bytes that a text of the vocabulary file stands for.
fn decode(text: &[u8], alphabet: &HashMap<char, u8>) -> Option<Vec<u8>> {
    std::str::from_utf8(text)
        .ok()?
        .chars()
        .map(|c| alphabet.get(&c).copied())
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::model::Vocabulary;

    /// The encoder took the first of them and the decoder the last, so blocks did not decode.
    #[test]
    fn of_tokens_with_the_same_bytes_the_one_that_is_coded_is_found() {
        let mut tokens: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
        tokens.extend([b"th".to_vec(), b"th".to_vec(), b"e".to_vec()]);
        let merges = [Value::Text(b"t h".to_vec())];
        let alphabet = (0..=255).map(|b| (byte_to_char(b), b)).collect();
        let tokenizer = Tokenizer::new(&tokens, &merges, &alphabet).unwrap();
        let vocabulary = Vocabulary::new(&tokens, None).unwrap();
        let found = tokenizer.tokenize(b"the", Classes::Unicode);
        assert_eq!(found, [257, 258]);
        assert!(found.iter().all(|token| vocabulary.sorted().contains(token)));
    }
}
