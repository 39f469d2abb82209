//! Any bytes to tokens: the model's own tokenizer where it gives the bytes back, single bytes elsewhere.

use llama_cpp_2::model::LlamaModel;

use crate::model::{Token, Vocabulary};

/// Longest piece handed to the tokenizer. Some of llama.cpp's tokenizers take quadratic time in a piece, and some
/// of its regular expressions recurse along it.
const PIECE: usize = 2048;

/// Pieces that do not come back are halved down to this length, then spelt in bytes.
const SMALLEST: usize = 16;

/// In front of a piece for vocabularies that put a space before every text (SentencePiece with `add_space_prefix`):
/// what they then make of it ends in a token boundary, and is cut off again.
const SENTINEL: u8 = b'\n';

/// How a vocabulary's tokenizer is to be called.
pub(super) struct Tokenizer {
    adds_space: bool,
}

impl Tokenizer {
    pub(super) fn new(model: &LlamaModel, vocabulary: &Vocabulary) -> Tokenizer {
        let mut tokens = Vec::new();
        call(model, b"a", &mut tokens);
        let mut bytes = Vec::new();
        vocabulary.join(&tokens, &mut bytes);
        Tokenizer {
            adds_space: bytes == b" a",
        }
    }

    pub(super) fn tokenize(&self, model: &LlamaModel, vocabulary: &Vocabulary, text: &[u8]) -> Vec<Token> {
        let mut tokens = Vec::with_capacity(text.len() / 2);
        for chunk in text.utf8_chunks() {
            let mut valid = chunk.valid();
            while !valid.is_empty() {
                let (piece, rest) = valid.split_at(cut(valid, PIECE));
                self.piece(model, vocabulary, piece, &mut tokens);
                valid = rest;
            }
            spell(vocabulary, chunk.invalid(), &mut tokens);
        }
        tokens
    }

    fn piece(&self, model: &LlamaModel, vocabulary: &Vocabulary, piece: &str, out: &mut Vec<Token>) {
        let start = out.len();
        if self.adds_space {
            let text = [&[SENTINEL], piece.as_bytes()].concat();
            call(model, &text, out);
            let mut front = &[b' ', SENTINEL][..];
            let fresh = out.get(start..).unwrap_or_default();
            let in_front = fresh.iter().take_while(|&&token| {
                let rest = front
                    .strip_prefix(vocabulary.bytes(token))
                    .filter(|_| !front.is_empty());
                rest.inspect(|rest| front = rest).is_some()
            });
            let in_front = in_front.count();
            out.drain(start..start + in_front);
        } else {
            call(model, piece.as_bytes(), out);
        }
        if gives_back(vocabulary, out.get(start..).unwrap_or_default(), piece.as_bytes()) {
            vocabulary.canonicalize(out.get_mut(start..).unwrap_or_default());
            return;
        }
        out.truncate(start);
        if piece.len() <= SMALLEST {
            spell(vocabulary, piece.as_bytes(), out);
            return;
        }
        let (left, right) = piece.split_at(cut(piece, piece.len().div_ceil(2)));
        self.piece(model, vocabulary, left, out);
        self.piece(model, vocabulary, right, out);
    }
}

fn call(model: &LlamaModel, text: &[u8], out: &mut Vec<Token>) {
    let native = model.vocab().tokenize(text, false, false);
    out.extend(native.iter().filter_map(|token| Token::try_from(token.0).ok()));
}

/// Where to end a piece of at most `limit` bytes: after the last line or before the last space of its second half,
/// where tokens rarely cross, otherwise at the last character boundary. Never 0 for text that is not empty.
fn cut(text: &str, limit: usize) -> usize {
    if text.len() <= limit {
        return text.len();
    }
    let longest = (1..=limit.max(4)).rev().find(|&at| text.is_char_boundary(at));
    let end = longest.unwrap_or(text.len());
    let bytes = text.as_bytes().get(..end).unwrap_or_default();
    let half = end / 2;
    let line = bytes.iter().rposition(|&byte| byte == b'\n').map(|at| at + 1);
    let space = bytes.iter().rposition(|&byte| byte == b' ');
    line.filter(|&at| at > half)
        .or(space.filter(|&at| at > half))
        .unwrap_or(end)
}

fn gives_back(vocabulary: &Vocabulary, tokens: &[Token], mut text: &[u8]) -> bool {
    for &token in tokens {
        let bytes = vocabulary.bytes(token);
        match text.strip_prefix(bytes) {
            Some(rest) if !bytes.is_empty() => text = rest,
            _ => return false,
        }
    }
    text.is_empty()
}

fn spell(vocabulary: &Vocabulary, bytes: &[u8], out: &mut Vec<Token>) {
    out.extend(bytes.iter().map(|&byte| vocabulary.byte_token(byte)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_at_character_boundaries_and_advance() {
        for text in [
            "aaaaaaaaaaaaaaaa",
            "ééééééééééé",
            "𝄞𝄞𝄞𝄞𝄞",
            "a b c d e f g h",
            "aaaaaaaa\nbbbb cccc",
        ] {
            for limit in 1..20 {
                let at = cut(text, limit);
                assert!(at > 0 && text.is_char_boundary(at), "{text:?} {limit} {at}");
            }
        }
        assert_eq!(cut("aaaaaaaa\nbb cc", 12), 9);
        assert_eq!(cut("aaaaaaaa bb cc", 12), 11);
    }
}
