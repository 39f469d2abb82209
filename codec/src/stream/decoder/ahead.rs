//! What was read of an input and not used yet.

use std::io::{ErrorKind, Read};

use super::halt::{Halt, Halting};
use crate::Error;

/// Bytes asked of the input at a time; it may give fewer.
const PIECE: usize = 1 << 16;

/// An input with the bytes that were read ahead. Using bytes costs no copy of those behind them, so that an input is
/// read in time proportional to its length, whatever is in it.
pub(super) struct Ahead<R> {
    input: R,
    bytes: Vec<u8>,
    /// Bytes at the front that were used.
    at: usize,
    /// Bytes of the input used.
    used: u64,
    /// Bytes copied within memory, which tests hold against those of the input.
    moved: u64,
}

impl<R: Read> Ahead<R> {
    pub(super) fn new(input: R) -> Ahead<R> {
        Ahead {
            input,
            bytes: Vec::new(),
            at: 0,
            used: 0,
            moved: 0,
        }
    }

    /// Bytes of the input used so far.
    pub(super) fn used(&self) -> u64 {
        self.used
    }

    /// Bytes copied within memory so far.
    #[cfg(test)]
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    /// What is there.
    pub(super) fn get(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Reads until at least `len` bytes are there, or the input ends. Waits for no more than that.
    pub(super) fn fill(&mut self, len: usize) -> Halting<()> {
        while self.get().len() < len {
            let filled = self.bytes.len();
            self.bytes.resize(filled + PIECE, 0);
            // An empty buffer would look like the end of the input, so this must not fail silently.
            #[expect(clippy::indexing_slicing, reason = "the vector was just made longer than `filled`")]
            let space = &mut self.bytes[filled..];
            let read = self.input.read(space);
            self.bytes.truncate(filled + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(Halt::Paused(Error::io("reading the container", source))),
            }
        }
        Ok(())
    }

    /// Takes bytes from the front.
    pub(super) fn use_up(&mut self, len: usize) -> Vec<u8> {
        let taken = self.get().get(..len).unwrap_or(self.get()).to_vec();
        self.drop_front(taken.len());
        taken
    }

    /// Drops bytes up to the next that every magic begins with, at least one byte; returns how many.
    pub(super) fn skip(&mut self) -> usize {
        let next = self.get().iter().skip(1).position(|&byte| byte == 0xb5);
        let skip = next.map_or(self.get().len(), |at| at + 1);
        self.drop_front(skip);
        skip
    }

    fn drop_front(&mut self, len: usize) {
        self.used += len as u64;
        self.at += len;
        // Moves no more bytes than were used since it was done last.
        if self.at >= PIECE && self.at * 2 >= self.bytes.len() {
            self.moved += (self.bytes.len() - self.at) as u64;
            self.bytes.drain(..self.at);
            self.at = 0;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_come_once_and_in_order() {
        let all: Vec<u8> = (0..300_000_u32).map(|i| (i * 7 % 251) as u8).collect();
        let (mut ahead, mut out) = (Ahead::new(&all[..]), Vec::new());
        for len in (0..).map(|i| i * i % 5000 + 1) {
            assert!(ahead.fill(len).is_ok());
            let taken = ahead.use_up(len);
            if taken.is_empty() {
                break;
            }
            out.extend(taken);
        }
        assert_eq!(out, all);
        assert_eq!(ahead.used(), all.len() as u64);
        assert!(ahead.bytes.capacity() < 4 * PIECE, "what was used is let go");
    }
}
