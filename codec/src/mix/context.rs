//! What a lane remembers of its own bytes, and the contexts made of it.

use super::layout::{CONTEXTS, salt};
use super::math::{context_hash, hash};
use super::numerals::{Columns, KEYS, Numeral};
use crate::simd::WAYS;

/// One lane: a run of the block's bytes, predicted in order.
#[derive(Clone)]
pub(super) struct Lane {
    /// First byte and the next byte to be predicted, as places in the block.
    pub(super) start: u32,
    pub(super) at: u32,
    /// The last eight bytes, the newest lowest; zeros before the start.
    pub(super) last: u64,
    /// Hash of the last ten bytes: an older one is shifted out.
    pub(super) long: u32,
    /// Hash of the word so far (0 between words) and of the two words before it.
    word: u64,
    word_before: u64,
    word_before2: u64,
    /// Where this line and the line before it start.
    line: u32,
    line_before: u32,
    /// Number of the field in its line.
    field: u32,
    /// The numeral under way.
    pub(super) numeral: Numeral,
    /// Bytes of the language model's token so far, and hashes of it and of the token before.
    pub(super) token_len: u32,
    pub(super) token: u64,
    pub(super) token_before: u64,
}

impl Lane {
    pub(super) fn new(start: u32) -> Self {
        Lane {
            start,
            at: start,
            last: 0,
            long: 0,
            word: 0,
            word_before: 0,
            word_before2: 0,
            line: start,
            line_before: start,
            field: 0,
            numeral: Numeral::NONE,
            token_len: 0,
            token: 0,
            token_before: 0,
        }
    }

    /// The columns of a numeral that the next byte begins.
    #[inline(always)]
    fn columns(&self) -> [u8; KEYS] {
        let word = if self.word != 0 { self.word } else { self.word_before };
        Columns::keys(self.last, word, self.field)
    }

    /// The byte in the line before that is in this column, 0 if that line is shorter.
    #[inline(always)]
    pub(super) fn above(&self, block: &[u8]) -> u8 {
        let place = self.line_before + (self.at - self.line);
        if place < self.line { block[place as usize] } else { 0 }
    }

    /// How many bits of the lane are known, if those of the next byte are `of_byte`.
    #[inline(always)]
    pub(super) fn bits(&self, of_byte: u32) -> u64 {
        u64::from(self.at - self.start) * 8 + u64::from(of_byte)
    }

    /// Appends a byte, and gives the columns of a numeral that it begins. `columns`: those of this lane.
    #[inline(always)]
    pub(super) fn push(&mut self, byte: u8, block: &[u8], columns: &Columns) -> Option<[u8; KEYS]> {
        let began = self.numeral.begins_with(byte).then(|| self.columns());
        if let Some(keys) = began {
            self.numeral.begin(columns.above(keys));
        }
        self.numeral.push(byte, block);
        self.at += 1;
        self.token_len += 1;
        self.token = self.token << 8 ^ self.token >> 56 ^ u64::from(byte);
        self.last = self.last << 8 | u64::from(byte);
        self.long = (self.long.wrapping_add(u32::from(byte) + 1)).wrapping_mul(0x2F0B_4C47 << 3);
        if byte.is_ascii_alphabetic() || byte >= 128 {
            self.word = hash(self.word, u64::from(byte.to_ascii_lowercase()) + 1);
        } else if self.word != 0 {
            self.word_before2 = self.word_before;
            self.word_before = self.word;
            self.word = 0;
        }
        match byte {
            b'\n' => {
                self.line_before = self.line;
                self.line = self.at;
                self.field = 0;
            }
            b',' | b'\t' | b' ' | b'"' | b':' | b';' => self.field += 1,
            _ => {}
        }
        began
    }

    /// A token of the language model is complete.
    pub(super) fn end_token(&mut self) {
        self.token_before = hash(self.token, u64::from(self.token_len));
        self.token = 0;
        self.token_len = 0;
    }

    /// What comes next is the first token.
    pub(super) fn start_tokens(&mut self) {
        (self.token, self.token_len, self.token_before) = (0, 0, 0);
    }

    /// The byte `distance` before the next one, 0 before the start.
    #[inline(always)]
    pub(super) fn back(&self, block: &[u8], distance: u32) -> u64 {
        if self.at - self.start >= distance {
            u64::from(block[(self.at - distance) as usize])
        } else {
            0
        }
    }

    /// Hashes of the contexts of the next byte, followed by zeros.
    #[inline(always)]
    pub(super) fn contexts(&self, block: &[u8], stride: u32) -> [u32; WAYS] {
        let last = self.last;
        let o1 = last & 0xFF;
        let o2 = last & 0xFFFF;
        let o3 = last & 0xFF_FFFF;
        let contexts: [u64; CONTEXTS] = if stride == 0 {
            let above = u64::from(self.above(block));
            let field = u64::from(self.field);
            let place = above | o1 << 8 | field << 16;
            let [a, b, c] = self.numeral.contexts(block, o1).unwrap_or([
                self.word ^ self.word_before2.rotate_left(20) ^ o1 << 56,
                self.word ^ o1 << 56,
                above | o2 << 8,
            ]);
            [0, o1, o2, o3, last & 0xFFFF_FFFF, a, b, place, c]
        } else {
            let column = u64::from((self.at - self.start) % stride);
            let above = self.back(block, stride);
            let above2 = self.back(block, 2 * stride);
            let above3 = self.back(block, 3 * stride);
            let right = self.back(block, stride - 1);
            [
                column,
                o1,
                o2,
                o3,
                above | above2 << 8 | above3 << 16 | o1 << 24,
                above | right << 8 | o1 << 16,
                above | above2 << 8 | column << 16,
                last & 0xFF_FFFF_FFFF,
                last & 0xFFFF_FFFF,
            ]
        };
        // What a language model's token may begin with depends on the token that ended, so beginnings are kept apart.
        let salt = if self.token_len == 0 {
            salt::CONTEXT_AT_START
        } else {
            salt::CONTEXT
        };
        let mut hashes = [0; WAYS];
        for i in 0..CONTEXTS {
            hashes[i] = context_hash(contexts[i], i as u64 + salt);
        }
        hashes
    }
}
