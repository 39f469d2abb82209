//! What a lane remembers of its own bytes, and the contexts made of it.

use super::math::hash;

/// Contexts whose bit histories are kept.
pub(super) const CONTEXTS: usize = 12;

/// One lane: a run of the block's bytes, predicted in order.
#[derive(Clone, Default)]
pub(super) struct Lane {
    /// First byte and the next byte to be predicted, as places in the block.
    pub(super) start: u32,
    pub(super) at: u32,
    /// The last eight bytes, the newest lowest; zeros before the start.
    pub(super) last: u64,
    /// Hash of the word so far (0 between words) and of the word before it.
    word: u64,
    word_before: u64,
    /// Where this line and the line before it start.
    line: u32,
    line_before: u32,
    /// Number of the field in its line.
    field: u32,
}

impl Lane {
    pub(super) fn new(start: u32) -> Self {
        Lane {
            start,
            at: start,
            line: start,
            line_before: start,
            ..Lane::default()
        }
    }

    /// The byte in the line before that is in this column, 0 if that line is shorter.
    #[inline(always)]
    pub(super) fn above(&self, block: &[u8]) -> u8 {
        let place = self.line_before + (self.at - self.line);
        if place < self.line {
            block[place as usize]
        } else {
            0
        }
    }

    /// Appends a byte.
    #[inline(always)]
    pub(super) fn push(&mut self, byte: u8) {
        self.at += 1;
        self.last = self.last << 8 | u64::from(byte);
        if byte.is_ascii_alphabetic() || byte >= 128 {
            self.word = hash(self.word, u64::from(byte.to_ascii_lowercase()) + 1);
        } else if self.word != 0 {
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
    }

    /// Hashes of the contexts of the next byte.
    #[inline(always)]
    pub(super) fn contexts(&self, block: &[u8], out: &mut [u64; CONTEXTS]) {
        let last = self.last;
        let above = u64::from(self.above(block));
        let field = u64::from(self.field);
        let o1 = last & 0xFF;
        let o2 = last & 0xFFFF;
        let contexts = [
            0,
            o1,
            o2,
            last & 0xFF_FFFF,
            last & 0xFFFF_FFFF,
            last & 0xFF_FFFF_FFFF,
            last & 0xFFFF_FFFF_FFFF,
            self.word ^ o1 << 56,
            self.word ^ self.word_before.rotate_left(20) ^ o1 << 56,
            above | o1 << 8 | field << 16,
            field | o2 << 32,
            above | o2 << 8,
        ];
        for i in 0..CONTEXTS {
            out[i] = hash(contexts[i], i as u64 + 1);
        }
    }
}
