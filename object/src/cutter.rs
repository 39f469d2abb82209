//! Content that arrives in pieces of any size, cut into pieces of one size.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Bytes in the order in which they came.
#[derive(Debug, Default)]
pub struct Cutter {
    pieces: VecDeque<Bytes>,
    len: usize,
}

impl Cutter {
    pub fn push(&mut self, piece: Bytes) {
        self.len += piece.len();
        if !piece.is_empty() {
            self.pieces.push_back(piece);
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// All of it, piece by piece.
    pub fn into_pieces(self) -> impl Iterator<Item = Bytes> {
        self.pieces.into_iter()
    }

    /// The next `len` bytes, or all if there are fewer. Copies only what lies in several pieces.
    pub fn take(&mut self, len: usize) -> Bytes {
        let len = len.min(self.len);
        self.len -= len;
        match self.pieces.front_mut() {
            Some(first) if first.len() > len => return first.split_to(len),
            Some(first) if first.len() == len => {
                let whole = std::mem::take(first);
                self.pieces.pop_front();
                return whole;
            }
            _ => {}
        }
        let mut out = BytesMut::with_capacity(len);
        while out.len() < len
            && let Some(first) = self.pieces.front_mut()
        {
            let part = first.split_to(first.len().min(len - out.len()));
            out.extend_from_slice(&part);
            if first.is_empty() {
                self.pieces.pop_front();
            }
        }
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_size_become_pieces_of_one() {
        let content: Vec<u8> = (0..=255).collect();
        for given in [1, 7, 64, 100, 256] {
            for wanted in [1, 10, 64, 255, 256, 300] {
                let mut cutter = Cutter::default();
                content
                    .chunks(given)
                    .for_each(|piece| cutter.push(Bytes::copy_from_slice(piece)));
                let mut out = Vec::new();
                while cutter.len() > 0 {
                    let piece = cutter.take(wanted);
                    assert!(piece.len() == wanted || cutter.len() == 0);
                    out.extend_from_slice(&piece);
                }
                assert_eq!(out, content);
            }
        }
    }
}
