//! Binary arithmetic coder: a range coder with carry, 32-bit range, 16-bit probabilities.
//!
//! `low` and `range` describe the interval `[low, low + range)` of numbers that begin with the bytes
//! written so far. A decision splits it in proportion to its probability; whenever the range falls
//! below 2^24 a byte leaves. A carry out of `low` runs into the bytes already written, so nothing is
//! lost to straddling intervals (Martin, "Range encoding", 1979). The split is computed with a 64-bit
//! product, so its error is below 2^-8 of the least probability at the least range: well under 0.1 %
//! of the ideal length for any mix of probabilities.
//!
//! The stream has no terminator: [`Encoder::finish`] writes the fewest bytes that name a number inside the last
//! interval, and the decoder reads zeros after the end. docs/FORMAT.md, "Mixing and coding", is normative.

use std::hint::black_box;

/// Binary digits of a probability: probabilities are `p / 65536` with `0 < p < 65536`.
pub const PROBABILITY_BITS: u32 = 16;
/// Smallest range kept between decisions; below it a byte is shifted out.
const RENORMALIZE: u32 = 1 << 24;
/// Bytes of `low` and of the decoder's window.
const WINDOW: usize = 4;

/// A coded stream whose length does not fit what was decoded from it: it is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamEnd {
    /// Bytes are missing.
    #[error("the coded stream ends early: it has {len} bytes, at least {needed} are needed")]
    Short {
        /// Bytes there are.
        len: usize,
        /// Least number of bytes that an encoder writes for these decisions.
        needed: usize,
    },
    /// Bytes follow the last decision.
    #[error("the coded stream has {surplus} bytes too many")]
    Long {
        /// Bytes that were not read.
        surplus: usize,
    },
}

/// A direction of coding: both sides run one and the same procedure over it, so they cannot disagree about the
/// order of decisions.
pub trait Coder {
    /// Codes one decision whose probability of being `true` is `p1 / 65536`. An encoder writes `bit` and returns it;
    /// a decoder ignores `bit` and returns what it reads. `p1` outside `1..=65535` is clamped.
    fn code(&mut self, bit: bool, p1: u32) -> bool;
}

/// The part of the interval that stands for `true`; at least 1 and less than `range`.
#[inline(always)]
fn split(range: u32, p1: u32) -> u32 {
    let p = p1.clamp(1, (1 << PROBABILITY_BITS) - 1);
    // range >= 2^24, so the product is at least 2^24 and the quotient at least 2^8.
    ((u64::from(range) * u64::from(p)) >> PROBABILITY_BITS) as u32
}

/// Writes decisions to a byte vector.
#[derive(Debug)]
pub struct Encoder {
    out: Vec<u8>,
    low: u32,
    range: u32,
}

impl Encoder {
    /// An encoder that appends to `out`; what `out` already holds is left alone.
    pub fn new(out: Vec<u8>) -> Self {
        Encoder {
            out,
            low: 0,
            range: u32::MAX,
        }
    }

    /// Encodes `bit`, which had probability `p1 / 65536` of being `true`.
    #[inline]
    pub fn encode(&mut self, bit: bool, p1: u32) {
        let bound = split(self.range, p1);
        if bit {
            self.range = bound;
        } else {
            let (low, carry) = self.low.overflowing_add(bound);
            self.low = low;
            self.range -= bound;
            if carry {
                self.carry();
            }
        }
        while self.range < RENORMALIZE {
            self.out.push((self.low >> 24) as u8);
            self.low <<= 8;
            self.range <<= 8;
        }
    }

    /// Adds one to the number written so far. The interval never leaves `[0, 1)`, so the carry stops inside the
    /// bytes of this stream.
    #[cold]
    fn carry(&mut self) {
        for byte in self.out.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                break;
            }
        }
    }

    /// Bytes in the vector so far; at most `WINDOW` more follow at the end.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether the vector holds no bytes yet.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Writes the shortest ending and returns the vector.
    pub fn finish(mut self) -> Vec<u8> {
        // The number with the most trailing zero bytes inside [low, low + range); zeros need not be written.
        let end = u64::from(self.low) + u64::from(self.range);
        for kept in 0..=WINDOW {
            let unit = 1u64 << (8 * (WINDOW - kept));
            let value = u64::from(self.low).div_ceil(unit) * unit;
            if value < end {
                if value > u64::from(u32::MAX) {
                    self.carry();
                }
                self.out.extend((value as u32).to_be_bytes().iter().take(kept));
                break;
            }
        }
        self.out
    }
}

impl Coder for Encoder {
    #[inline]
    fn code(&mut self, bit: bool, p1: u32) -> bool {
        self.encode(bit, p1);
        bit
    }
}

/// Reads decisions from a byte slice. Any slice is accepted: damage yields wrong decisions, which the block's
/// checksum finds, never a panic.
#[derive(Debug)]
pub struct Decoder<'a> {
    input: &'a [u8],
    /// Bytes taken, counting the zeros that follow the end.
    taken: usize,
    /// The number read, less the low end of the interval.
    code: u32,
    range: u32,
}

impl<'a> Decoder<'a> {
    /// A decoder of the stream that is the whole of `input`.
    pub fn new(input: &'a [u8]) -> Self {
        let mut decoder = Decoder {
            input,
            taken: 0,
            code: 0,
            range: u32::MAX,
        };
        for _ in 0..WINDOW {
            decoder.code = decoder.code << 8 | decoder.next();
        }
        decoder
    }

    #[inline]
    fn next(&mut self) -> u32 {
        let byte = self.input.get(self.taken).copied().unwrap_or(0);
        self.taken = self.taken.saturating_add(1);
        u32::from(byte)
    }

    /// Decodes a decision that had probability `p1 / 65536` of being `true`.
    #[inline]
    pub fn decode(&mut self, p1: u32) -> bool {
        let bound = split(self.range, p1);
        // Opaque in each branch, so that what follows starts from the branch that the CPU expects and does not wait for
        // `bound`.
        let bit = if self.code < bound {
            self.range = bound;
            black_box(true)
        } else {
            self.code -= bound;
            self.range -= bound;
            black_box(false)
        };
        while self.range < RENORMALIZE {
            self.code = self.code << 8 | self.next();
            self.range <<= 8;
        }
        bit
    }

    /// Whether more has been read than any encoder leaves out: the stream was cut short, and a long decode can stop.
    pub fn is_exhausted(&self) -> bool {
        self.taken > self.input.len().saturating_add(WINDOW)
    }

    /// Checks, after the last decision, that the stream was neither cut short nor longer than what was decoded.
    pub fn finish(self) -> Result<(), StreamEnd> {
        if self.is_exhausted() {
            Err(StreamEnd::Short {
                len: self.input.len(),
                needed: self.taken - WINDOW,
            })
        } else if self.taken < self.input.len() {
            Err(StreamEnd::Long {
                surplus: self.input.len() - self.taken,
            })
        } else {
            Ok(())
        }
    }
}

impl Coder for Decoder<'_> {
    #[inline]
    fn code(&mut self, _bit: bool, p1: u32) -> bool {
        self.decode(p1)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(decisions: &[(bool, u32)]) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new());
        for &(bit, p) in decisions {
            encoder.encode(bit, p);
        }
        encoder.finish()
    }

    fn check(decisions: &[(bool, u32)]) -> usize {
        let bytes = encode(decisions);
        let mut decoder = Decoder::new(&bytes);
        for (i, &(bit, p)) in decisions.iter().enumerate() {
            assert_eq!(decoder.decode(p), bit, "decision {i} of {}", decisions.len());
        }
        decoder.finish().unwrap();
        bytes.len()
    }

    fn ideal_bits(decisions: &[(bool, u32)]) -> f64 {
        decisions
            .iter()
            .map(|&(bit, p)| -(f64::from(if bit { p } else { 65536 - p }) / 65536.0).log2())
            .sum()
    }

    /// A fixed pseudo-random sequence (xorshift64*), so that a failure repeats.
    struct Random(u64);
    impl Random {
        fn next(&mut self) -> u32 {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 40) as u32
        }
    }

    #[test]
    fn empty_stream_is_empty() {
        assert_eq!(check(&[]), 0);
    }

    #[test]
    fn length_is_within_a_tenth_of_a_percent_of_ideal() {
        let mut random = Random(1);
        for p in [1, 2, 7, 100, 3000, 32768, 60000, 65000, 65529, 65534, 65535] {
            let n = if (1000..64000).contains(&p) { 200_000 } else { 3_000_000 };
            let decisions: Vec<_> = (0..n).map(|_| ((random.next() & 0xFFFF) < p, p)).collect();
            let ideal = ideal_bits(&decisions) / 8.0;
            let real = check(&decisions) as f64;
            assert!(real <= ideal * 1.001 + 1.5, "p {p}: {real} bytes, ideal {ideal:.2}");
        }
        let decisions: Vec<_> = (0..400_000)
            .map(|i| {
                let p = match i % 3 {
                    0 => 1 + random.next() % 40,
                    1 => 65535 - random.next() % 40,
                    _ => 1 + random.next() % 65535,
                };
                ((random.next() & 0xFFFF) < p, p)
            })
            .collect();
        let ideal = ideal_bits(&decisions) / 8.0;
        assert!(check(&decisions) as f64 <= ideal * 1.001 + 1.5);
    }

    #[test]
    fn carries_run_through_many_bytes() {
        // Always the upper end of the interval: low fills with ones, then one last step carries.
        let mut random = Random(7);
        for length in 1..200 {
            let mut decisions = vec![(false, 65535); length];
            decisions.extend((0..8).map(|_| (random.next() & 1 == 0, 1 + random.next() % 65535)));
            check(&decisions);
        }
        let mut encoder = Encoder::new(vec![0xFF, 0xFF]);
        for i in 0..5000 {
            encoder.encode(i % 5 == 4, if i % 2 == 0 { 65535 } else { 1 });
        }
        assert_eq!(
            encoder.finish()[..2],
            [0xFF, 0xFF],
            "bytes before the stream are left alone"
        );
    }

    #[test]
    fn certain_decisions_cost_almost_nothing() {
        assert!(check(&vec![(true, 65535); 16 << 20]) < 60);
    }

    #[test]
    fn cut_and_long_streams_are_noticed() {
        let decisions: Vec<_> = (0..4000u32).map(|i| (i % 3 == 0, 20000)).collect();
        let bytes = encode(&decisions);
        for wrong in [bytes[..bytes.len() - 20].to_vec(), [&bytes[..], &[1; 9]].concat()] {
            let mut decoder = Decoder::new(&wrong);
            for &(_, p) in &decisions {
                decoder.decode(p);
            }
            assert!(decoder.finish().is_err());
        }
    }

    proptest! {
        #[test]
        fn any_decisions_return(decisions in prop::collection::vec((any::<bool>(), 1u32..65536), 0..3000)) {
            let length = check(&decisions) as f64;
            prop_assert!(length <= ideal_bits(&decisions) / 8.0 * 1.001 + 1.5);
        }

        #[test]
        fn skewed_decisions_return(seed in 1u64.., n in 0usize..3000) {
            let mut random = Random(seed);
            let decisions: Vec<_> = (0..n).map(|_| {
                let p = if random.next() & 1 == 0 { 1 + random.next() % 3 } else { 65535 - random.next() % 3 };
                (random.next() & 7 != 0, p)
            }).collect();
            check(&decisions);
        }

        #[test]
        fn garbage_decodes_to_something(bytes in prop::collection::vec(any::<u8>(), 0..100), p in any::<u32>()) {
            let mut decoder = Decoder::new(&bytes);
            for i in 0..2000u32 {
                decoder.decode(p.wrapping_mul(i));
            }
            let _ = decoder.finish();
        }
    }
}
