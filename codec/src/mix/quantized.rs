//! Samples of 32 bits that hold fewer: each is a whole number times a step, rounded to what such a sample can be.
//!
//! So programs keep recordings of 8, 16 or 24 bits in integers or floats of 32, also with another volume. Only the
//! numbers are coded, in as many bytes as they need. A few bytes before and behind the samples may be anything.

use super::form::Form;

/// Bytes of a sample.
pub(super) const SAMPLE: usize = 4;

/// What a sample of 32 bits is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SampleKind {
    /// An IEEE binary32 number instead of a signed integer.
    pub float: bool,
    /// Whether the high byte comes first.
    pub big_endian: bool,
}

impl SampleKind {
    fn bits(self, sample: [u8; SAMPLE]) -> u32 {
        if self.big_endian {
            u32::from_be_bytes(sample)
        } else {
            u32::from_le_bytes(sample)
        }
    }

    fn to_bytes(self, bits: u32) -> [u8; SAMPLE] {
        if self.big_endian {
            bits.to_be_bytes()
        } else {
            bits.to_le_bytes()
        }
    }

    /// The sample next to a value, the even one of two. Integers stop at the least and the greatest one.
    fn nearest(self, value: f64) -> [u8; SAMPLE] {
        self.to_bytes(if self.float {
            (value as f32).to_bits()
        } else {
            (value.round_ties_even() as i32).cast_unsigned()
        })
    }

    /// What a sample stands for.
    pub(super) fn value(self, sample: [u8; SAMPLE]) -> f64 {
        let bits = self.bits(sample);
        if self.float {
            f32::from_bits(bits).into()
        } else {
            bits.cast_signed().into()
        }
    }

    /// How far at most what a sample was rounded from is from its value.
    pub(super) fn rounding(self, value: f64) -> f64 {
        if self.float {
            let value = value.abs() as f32;
            f64::from(value.next_up() - value) / 2.0
        } else {
            0.5
        }
    }
}

/// How the samples of a block lie, and what they are multiples of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quantized {
    /// What a sample is.
    pub kind: SampleKind,
    /// 1 or 2.
    pub channels: u8,
    /// Bytes of a number, 1 to 3.
    pub bytes: u8,
    /// The bits of the step, an IEEE binary64 number.
    pub step: u64,
    /// Bytes before the first sample.
    pub before: u16,
    /// How many samples there are.
    pub samples: u32,
}

/// The lower bits of a step that is written as its upper two bytes alone.
const LOWER_BITS: u64 = (1 << 48) - 1;

impl Quantized {
    /// The bytes of the layout in front of a payload.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let long = self.step & LOWER_BITS != 0;
        let code = u8::from(self.channels == 2)
            | u8::from(self.kind.big_endian) << 1
            | u8::from(self.kind.float) << 2
            | u8::from(long) << 3
            | self.bytes.min(15) << 4;
        let step = self.step.to_be_bytes();
        let [a, b, c, _] = self.samples.to_le_bytes();
        let step = if long { &step[..] } else { &step[..2] };
        [&[code], step, &self.before.to_le_bytes(), &[a, b, c]].concat()
    }

    /// The inverse of [`to_bytes`](Self::to_bytes), and what follows.
    pub(super) fn parse(head: &[u8]) -> Option<(Quantized, &[u8])> {
        let (&code, rest) = head.split_first()?;
        let mut step = [0; 8];
        let (written, rest) = rest.split_at_checked(if code & 8 == 0 { 2 } else { 8 })?;
        step[..written.len()].copy_from_slice(written);
        let (&[low, high, a, b, c], rest) = rest.split_first_chunk()?;
        let quantized = Quantized {
            kind: SampleKind {
                float: code & 4 != 0,
                big_endian: code & 2 != 0,
            },
            channels: 1 + (code & 1),
            bytes: code >> 4,
            step: u64::from_be_bytes(step),
            before: u16::from_le_bytes([low, high]),
            samples: u32::from_le_bytes([a, b, c, 0]),
        };
        let is_layout = (1..=3).contains(&quantized.bytes) && quantized.step().is_normal();
        is_layout.then_some((quantized, rest))
    }

    fn step(self) -> f64 {
        f64::from_bits(self.step)
    }

    /// The layout of the same samples in `len` bytes that begin `start` bytes later.
    pub(super) fn from(self, start: usize, len: usize) -> Quantized {
        let before = usize::from(self.before);
        let skipped = start.saturating_sub(before).div_ceil(SAMPLE);
        let before = (before + skipped * SAMPLE).saturating_sub(start).min(len);
        let samples = (self.samples as usize).saturating_sub(skipped);
        Quantized {
            before: before as u16,
            samples: samples.min(len.saturating_sub(before) / SAMPLE) as u32,
            ..self
        }
    }

    /// How its numbers lie.
    pub(super) fn form(self) -> Form {
        Form {
            bits: 8 * u32::from(self.bytes),
            rest: 0,
            channels: usize::from(self.channels),
            row: 0,
            big_endian: false,
        }
    }

    /// The number that stands for 0: numbers are coded without a sign.
    fn middle(self) -> i32 {
        1 << (8 * u32::from(self.bytes) - 1)
    }

    /// Bytes that are coded for a block of `len`, if it has so many samples.
    pub(super) fn coded_len(self, len: usize) -> Option<usize> {
        let samples = self.samples as usize;
        let others = len.checked_sub(samples * SAMPLE)?;
        (others >= self.before.into()).then_some(others + samples * usize::from(self.bytes))
    }

    fn sample(self, number: i32) -> [u8; SAMPLE] {
        self.kind.nearest(f64::from(number) * self.step())
    }

    /// The number whose sample this is, if there is one.
    fn number(self, sample: [u8; SAMPLE]) -> Option<i32> {
        let number = (self.kind.value(sample) / self.step()).round_ties_even();
        let middle = f64::from(self.middle());
        if !(-middle..middle).contains(&number) {
            return None;
        }
        // A number has no sign of 0.
        let number = number as i32;
        (self.sample(number) == sample).then_some(number)
    }

    /// The numbers of the samples in a block, if each has one.
    pub(super) fn numbers(self, raw: &[u8]) -> Option<Vec<i32>> {
        let samples = raw.get(self.before.into()..)?.get(..self.samples as usize * SAMPLE)?;
        let numbers = samples.as_chunks().0.iter().map(|sample| self.number(*sample));
        numbers.collect()
    }

    /// The numbers high byte first, counted from the lowest one, then the bytes behind and those before the samples.
    /// Nothing if some sample has no number.
    pub(super) fn forward(self, raw: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(self.coded_len(raw.len())?);
        for number in self.numbers(raw)? {
            let number = (number + self.middle()).to_be_bytes();
            out.extend(&number[SAMPLE - usize::from(self.bytes)..]);
        }
        let (front, rest) = raw.split_at(self.before.into());
        out.extend(&rest[self.samples as usize * SAMPLE..]);
        out.extend(front);
        Some(out)
    }

    /// The inverse of [`forward`](Self::forward).
    pub(super) fn inverse(self, bytes: &[u8]) -> Vec<u8> {
        let numbers = self.samples as usize * usize::from(self.bytes);
        let (numbers, others) = bytes.split_at(numbers.min(bytes.len()));
        let (back, front) = others.split_at(others.len().saturating_sub(self.before.into()));
        let mut out = front.to_vec();
        out.reserve(self.samples as usize * SAMPLE + back.len());
        for number in numbers.chunks(self.bytes.into()) {
            let number = number.iter().fold(0, |number, byte| number << 8 | i32::from(*byte));
            out.extend(self.sample(number - self.middle()));
        }
        out.extend(back);
        out
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::BTreeSet;

    use super::*;

    const KINDS: [(bool, bool); 4] = [(false, false), (false, true), (true, false), (true, true)];

    fn quantized(float: bool, big_endian: bool, bytes: u8, step: f64, samples: usize) -> Quantized {
        Quantized {
            kind: SampleKind { float, big_endian },
            channels: 1,
            bytes,
            step: step.to_bits(),
            before: 0,
            samples: samples as u32,
        }
    }

    fn floats() -> Quantized {
        quantized(true, false, 2, 1.0 / 32_768.0, 1)
    }

    /// All numbers near the least, the greatest and zero.
    fn edges(bytes: u8) -> BTreeSet<i32> {
        let middle = 1 << (8 * bytes - 1);
        [-middle..300 - middle, -300..300, middle - 300..middle]
            .into_iter()
            .flatten()
            .filter(|number| (-middle..middle).contains(number))
            .collect()
    }

    #[test]
    fn numbers_near_the_edges_return() {
        let steps = [
            1.0_f64,
            1.0 / 32_768.0,
            1.0 / 32_767.0,
            0.7,
            -1.0,
            3.7,
            256.0,
            1e30,
            1e-30,
        ];
        for ((float, big_endian), bytes) in KINDS
            .into_iter()
            .flat_map(|kind| (1..=3).map(move |bytes| (kind, bytes)))
        {
            for step in steps
                .into_iter()
                .filter(|step| float || (1.0..=256.0).contains(&step.abs()))
            {
                let all = quantized(float, big_endian, bytes, step, edges(bytes).len());
                let raw: Vec<u8> = edges(bytes).into_iter().flat_map(|number| all.sample(number)).collect();
                assert_eq!(all.numbers(&raw).unwrap(), Vec::from_iter(edges(bytes)), "{all:?}");
                let coded = all.forward(&raw).unwrap();
                assert_eq!(coded.len(), all.coded_len(raw.len()).unwrap());
                assert!(coded.chunks(bytes.into()).is_sorted());
                assert_eq!(all.inverse(&coded), raw, "{all:?}");
            }
        }
    }

    #[test]
    fn what_is_no_multiple_has_no_number() {
        let is_number = |bits: u32| floats().number(bits.to_le_bytes()).is_some();
        for value in [0.0_f32, 1.0 / 32_768.0, -1.0, 32_767.0 / 32_768.0] {
            let bits = value.to_bits();
            assert!(is_number(bits), "{value}");
            assert!(!is_number(bits + 1), "behind {value}");
            assert!(!is_number(bits.wrapping_sub(1)), "before {value}");
        }
        for value in [
            -0.0,
            1.0,
            -1.0 - 1.0 / 32_768.0,
            f32::NAN,
            f32::INFINITY,
            f32::MIN,
            f32::MAX,
        ] {
            assert!(!is_number(value.to_bits()), "{value}");
        }
        let turned = quantized(true, false, 2, -1.0 / 32_768.0, 1);
        assert_eq!(turned.number((-0.0_f32).to_le_bytes()), Some(0));
        assert_eq!(turned.number(0.0_f32.to_le_bytes()), None);
        let words = quantized(false, false, 2, 65_536.0, 1);
        assert_eq!(words.number(i32::MIN.to_le_bytes()), Some(-32_768));
        assert_eq!(words.number(i32::MAX.to_le_bytes()), None);
        assert_eq!(words.number(1_i32.to_le_bytes()), None);
    }

    proptest::proptest! {
        #[test]
        fn any_samples_return_or_do_not_fit(bits: Vec<u32>, kind in 0..4_usize, bytes in 1..=3_u8, step: u64) {
            let (float, big_endian) = KINDS[kind];
            for step in [f64::from_bits(step), 1.0 / 32_768.0, 1.0, 256.0] {
                let all = quantized(float, big_endian, bytes, step, bits.len());
                let raw: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
                if let Some(coded) = all.forward(&raw) {
                    assert_eq!(all.inverse(&coded), raw);
                }
            }
        }

        #[test]
        fn any_bytes_may_be_about_the_samples(front: Vec<u8>, numbers: Vec<i16>, back: Vec<u8>) {
            let all = Quantized { before: front.len() as u16, ..quantized(true, true, 2, 0.1, numbers.len()) };
            let samples = numbers.iter().flat_map(|number| all.sample((*number).into()));
            let raw: Vec<u8> = front.iter().copied().chain(samples).chain(back.iter().copied()).collect();
            let coded = all.forward(&raw).unwrap();
            assert_eq!(coded.len(), front.len() + 2 * numbers.len() + back.len());
            assert_eq!(all.inverse(&coded), raw);
            // Any part of it, too.
            for start in 0..raw.len() {
                let part = &raw[start..raw.len() - start / 2 % (raw.len() - start)];
                let all = all.from(start, part.len());
                assert_eq!(all.inverse(&all.forward(part).unwrap()), part);
            }
        }
    }

    #[test]
    fn heads_are_read_as_they_are_written() {
        for step in [1.0, -1.0, 1.0 / 32_768.0, 0.7, f64::MAX] {
            for (float, big_endian) in KINDS {
                let written = Quantized {
                    channels: 2,
                    before: 58,
                    ..quantized(float, big_endian, 3, step, 70_000)
                };
                let head = [&written.to_bytes()[..], &[1, 2]].concat();
                assert_eq!(Quantized::parse(&head), Some((written, &[1, 2][..])));
                for len in 0..head.len() - 2 {
                    assert_eq!(Quantized::parse(&head[..len]), None);
                }
            }
        }
    }

    #[test]
    fn heads_that_cannot_be_are_refused() {
        for step in [0.0, -0.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE / 2.0] {
            let head = quantized(true, false, 2, step, 1).to_bytes();
            assert_eq!(Quantized::parse(&head), None, "{step}");
        }
        for bytes in [0, 4, 5, 15, 255] {
            let head = quantized(true, false, bytes, 1.0, 1).to_bytes();
            assert_eq!(Quantized::parse(&head), None, "{bytes}");
        }
        let two = Quantized {
            before: 3,
            ..quantized(true, false, 2, 1.0, 2)
        };
        assert_eq!(two.coded_len(10), None);
        assert_eq!(two.coded_len(11), Some(7));
        assert_eq!(two.coded_len(15), Some(11));
    }
}
