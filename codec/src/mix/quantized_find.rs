//! Whether the samples of a block are multiples of a step, and of which one.

use super::quantized::{Quantized, SAMPLE, SampleKind};
use super::wide_sound::cost;

/// Samples of a block that a step is guessed from, and the shortest block that is looked at.
const LOOKED_AT: usize = 512;
const LEAST: usize = 512;
/// Numbers have at most 24 bits with their sign.
const MOST: f64 = (1 << 23) as f64;
/// How many times the step the least difference of two values is at most.
const MOST_TIMES: u32 = 256;
/// A guess is no use if rounding makes more of it than this share.
const ROUNDING_SHARE: f64 = 1.0 / 16.0;

/// What a step lies between.
#[derive(Clone, Copy)]
struct Bounds {
    low: f64,
    high: f64,
}

impl Bounds {
    /// What is left of the bounds if this value, not below 0, is a multiple of the step up to so much of rounding.
    fn narrowed(self, value: f64, rounding: f64) -> Option<Bounds> {
        let number = (value * 2.0 / (self.low + self.high)).round();
        if number < 1.0 {
            return (value == 0.0).then_some(self);
        }
        if number > MOST || value.is_nan() {
            return None;
        }
        let low = self.low.max((value - rounding) / number);
        let high = self.high.min((value + rounding) / number);
        (low <= high).then_some(Bounds { low, high })
    }

    /// The step with the fewest binary digits that is not near a bound.
    fn simplest(self) -> f64 {
        let margin = (self.high - self.low) / 8.0;
        let (low, high) = ((self.low + margin).to_bits(), (self.high - margin).to_bits());
        let rounded = |digits: u32| high >> digits << digits;
        let step = (0..52).rev().map(rounded).find(|step| *step >= low);
        f64::from_bits(step.unwrap_or(high))
    }
}

/// The step that these values are rounded multiples of, if the least difference of two is one that is small.
fn common_step(kind: SampleKind, mut values: Vec<f64>) -> Option<Bounds> {
    values.sort_by(f64::total_cmp);
    let with_rounding = |value: f64| (value.abs(), kind.rounding(value));
    let difference = |pair: &[f64]| (pair[1] - pair[0], kind.rounding(pair[0]) + kind.rounding(pair[1]));
    let mut differences: Vec<(f64, f64)> = values.windows(2).map(difference).collect();
    differences.retain(|(difference, _)| *difference > 0.0);
    let mut values: Vec<(f64, f64)> = values.into_iter().map(with_rounding).collect();
    for multiples in [&mut differences, &mut values] {
        multiples.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    }
    let (least, rounding) = *differences.first()?;
    let guesses = (1..=MOST_TIMES).map(f64::from);
    // What is small narrows the bounds enough that larger multiples tell which ones they are.
    guesses
        .take_while(|times| rounding * times < least * ROUNDING_SHARE)
        .find_map(|times| {
            let bounds = Bounds {
                low: (least - rounding) / times,
                high: (least + rounding) / times,
            };
            let mut multiples = differences.iter().chain(&values);
            multiples.try_fold(bounds, |bounds, (value, rounding)| bounds.narrowed(*value, *rounding))
        })
}

/// The power of two that these values are exact multiples of.
fn common_power(values: &[f64]) -> Bounds {
    let lowest = |value: &f64| {
        let bits = value.abs().to_bits();
        (bits >> 52) as i32 - 1023 - 52 + bits.trailing_zeros().min(52) as i32
    };
    let lowest = values.iter().filter(|value| **value != 0.0).map(lowest).min();
    let power = 2_f64.powi(lowest.unwrap_or_default());
    Bounds {
        low: power,
        high: power,
    }
}

/// Steps that these values may be multiples of, the larger one first.
fn guesses(kind: SampleKind, values: Vec<f64>) -> Vec<Bounds> {
    let most = values.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
    if !most.is_normal() || values.iter().any(|value| !value.is_finite()) {
        return Vec::new();
    }
    let power = common_power(&values);
    let mut found: Vec<Bounds> = common_step(kind, values).into_iter().chain([power]).collect();
    found.retain(|bounds| most <= bounds.low * MOST);
    found
}

/// The layout of the samples about `start` that are multiples of a step within these bounds, if they are most of the
/// block, and what a number costs.
fn layout(raw: &[u8], start: usize, kind: SampleKind, mut bounds: Bounds) -> Option<(u64, Quantized)> {
    let (before, behind) = raw.split_at_checked(start)?;
    let mut fits = |sample: &[u8; SAMPLE]| {
        let value = kind.value(*sample);
        let narrowed = bounds.narrowed(value.abs(), kind.rounding(value));
        bounds = narrowed.unwrap_or(bounds);
        narrowed.is_some()
    };
    let after = behind.as_chunks().0.iter().take_while(|sample| fits(sample)).count();
    let earlier = before
        .as_rchunks()
        .1
        .iter()
        .rev()
        .take_while(|sample| fits(sample))
        .count();
    let samples = earlier + after;
    if samples * SAMPLE < raw.len() / 4 * 3 {
        return None;
    }
    let quantized = Quantized {
        kind,
        channels: 1,
        bytes: 3,
        step: bounds.simplest().to_bits(),
        before: u16::try_from(start - earlier * SAMPLE).ok()?,
        samples: samples as u32,
    };
    // Programs that turn the sign of a float turn that of 0.
    let turned = Quantized {
        step: (-bounds.simplest()).to_bits(),
        ..quantized
    };
    [quantized, turned]
        .into_iter()
        .find_map(|quantized| with_numbers(raw, quantized))
}

/// The layout with as many channels and bytes as its numbers need, if there are such, and what one costs.
fn with_numbers(raw: &[u8], quantized: Quantized) -> Option<(u64, Quantized)> {
    let numbers = quantized.numbers(raw)?;
    let wide: Vec<i64> = numbers.iter().map(|number| i64::from(*number)).collect();
    let (mono, stereo) = (cost(&wide, 1), cost(&wide, 2));
    let channels = if stereo < mono { 2 } else { 1 };
    let used = numbers.iter().fold(0, |used, number| used | (number ^ number >> 31));
    let bytes = (33 - used.leading_zeros()).div_ceil(8) as u8;
    let found = Quantized {
        channels,
        bytes,
        ..quantized
    };
    Some((mono.min(stereo), found))
}

/// How the samples of a block may be multiples of a step, if they seem to be.
pub(super) fn find(raw: &[u8]) -> Option<Quantized> {
    if raw.len() < LEAST {
        return None;
    }
    // What is no sample is at most a quarter of the block, so none of it is between the quarters. Much of that may be
    // silence.
    let start = raw.len() / 4;
    let apart = (raw.len() / 2 / LOOKED_AT).max(1).next_multiple_of(SAMPLE);
    let mut found = Vec::new();
    for code in 0..16 {
        let place = start + code / 4;
        let kind = SampleKind {
            float: code & 1 != 0,
            big_endian: code & 2 != 0,
        };
        let between = raw.get(place..raw.len() - start).unwrap_or_default();
        let looked_at = between.chunks(apart).filter_map(|part| part.first_chunk());
        let values: Vec<f64> = looked_at.map(|sample| kind.value(*sample)).collect();
        let guesses = guesses(kind, values).into_iter();
        found.extend(guesses.filter_map(|bounds| layout(raw, place, kind, bounds)).next());
    }
    let least = found
        .into_iter()
        .min_by_key(|(cost, quantized)| (*cost, quantized.before));
    // Tables of numbers without a sign have other layouts.
    least
        .map(|(_, quantized)| quantized)
        .filter(|quantized| quantized.numbers(raw).is_some_and(|numbers| swings(&numbers)))
}

/// Whether a sixteenth of the numbers at least are below zero, and as many above.
fn swings(numbers: &[i32]) -> bool {
    let below = numbers.iter().filter(|number| **number < 0).count();
    let above = numbers.iter().filter(|number| **number > 0).count();
    below.min(above) * 16 >= numbers.len()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use super::*;

    /// A resonance that noise keeps going, in two channels or one, as loud as numbers of so many bytes can be.
    fn resonance(channels: u8, bytes: u8, moments: usize) -> Vec<f64> {
        let (mut noise, mut past) = (1_u32, [0.0_f64; 2]);
        let loud = f64::from(1 << (8 * bytes - 8));
        let mut numbers = Vec::new();
        for _ in 0..moments {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let next = past[0] * 1.914 - past[1] * 0.984 + f64::from(noise >> 16) / 32_768.0 - 1.0;
            past = [next.clamp(-60.0, 60.0), past[0]];
            let both = [past[0] * loud, -past[0] * loud / 2.0];
            numbers.extend(
                both.map(|number| number.round() + 0.0)
                    .into_iter()
                    .take(channels.into()),
            );
        }
        numbers
    }

    fn samples(kind: SampleKind, numbers: &[f64], sample: impl Fn(f64) -> f64) -> Vec<u8> {
        let bytes = |number: &f64| {
            let value = sample(*number);
            let mut bytes = if kind.float {
                (value as f32).to_le_bytes()
            } else {
                (value.round() as i32).to_le_bytes()
            };
            if kind.big_endian {
                bytes.reverse();
            }
            bytes
        };
        numbers.iter().flat_map(bytes).collect()
    }

    fn kinds() -> impl Iterator<Item = SampleKind> {
        [false, true].into_iter().flat_map(|float| {
            [false, true]
                .into_iter()
                .map(move |big_endian| SampleKind { float, big_endian })
        })
    }

    #[test]
    fn steps_are_found_wherever_samples_begin() {
        type Write = fn(f64) -> f64;
        let of_floats: [(Write, u8); 6] = [
            (|n| n / 32_768.0, 2),
            (|n| n / 32_767.0, 2),
            (|n| f64::from((n / 32_768.0) as f32 * 0.7), 2),
            (|n| -n / 32_768.0, 2),
            (|n| n / 8_388_608.0, 3),
            (|n| n, 1),
        ];
        let of_words: [(Write, u8); 6] = [
            (|n| n * 256.0 * 0.7, 3),
            (|n| n * 65_536.0, 2),
            (|n| n * 65_536.0 * 0.7, 2),
            (|n| n * 256.0, 3),
            (|n| n * 1_048_576.0, 1),
            (|n| n, 2),
        ];
        for (kind, channels) in kinds().flat_map(|kind| [(kind, 1), (kind, 2)]) {
            let ways: &[(Write, u8)] = if kind.float { &of_floats } else { &of_words };
            for (way, (write, bytes)) in ways.iter().enumerate() {
                let numbers = resonance(channels, *bytes, 4000);
                let sound = samples(kind, &numbers, write);
                for (front, back) in [(0, 0), (44, 0), (58, 1), (3, 700)] {
                    let raw = [&vec![b'x'; front][..], &sound, &vec![b'y'; back]].concat();
                    let found = find(&raw).unwrap_or_else(|| panic!("{kind:?} {way} {front}"));
                    let rest = Quantized { step: 0, ..found };
                    let wanted = Quantized {
                        kind,
                        channels,
                        bytes: *bytes,
                        step: 0,
                        before: front as u16,
                        samples: numbers.len() as u32,
                    };
                    assert_eq!(rest, wanted, "{way}");
                    assert_eq!(found.inverse(&found.forward(&raw).unwrap()), raw);
                }
            }
        }
    }

    #[test]
    fn steps_are_as_simple_as_they_can_be() {
        let kind = SampleKind {
            float: true,
            big_endian: false,
        };
        let raw = samples(kind, &resonance(1, 2, 4000), |n| n / 32_768.0);
        assert_eq!(f64::from_bits(find(&raw).unwrap().step), 1.0 / 32_768.0);
        let raw = samples(kind, &resonance(1, 1, 4000), |n| -n / 32_768.0);
        let turned = raw.as_chunks::<4>().0.contains(&(-0.0_f32).to_le_bytes());
        assert!(turned);
        assert_eq!(f64::from_bits(find(&raw).unwrap().step), -1.0 / 32_768.0);
        for len in [LEAST, LEAST + 1, 1023, 1024, 5000] {
            assert_eq!(
                f64::from_bits(find(&raw[..len]).unwrap().step),
                -1.0 / 32_768.0,
                "{len}"
            );
        }
        assert_eq!(find(&raw[..LEAST - 1]), None);
        // So they are in front of silence, where most bytes change.
        let raw = [raw, (-0.0_f32).to_le_bytes().repeat(5000)].concat();
        assert_eq!(f64::from_bits(find(&raw).unwrap().step), -1.0 / 32_768.0);
    }

    #[test]
    fn what_is_no_multiple_is_not_taken_for_one() {
        let noise: Vec<u8> = (0..40_000_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761).rotate_left(9).wrapping_mul(i | 1) >> 24) as u8)
            .collect();
        assert_eq!(find(&noise), None);
        assert_eq!(find(&vec![0; 40_000]), None);
        assert_eq!(find(&[]), None);
        let silence = [0, 0, 0, 0x80].repeat(10_000);
        assert_eq!(find(&silence), None);
        let ascending: Vec<u8> = (0..10_000_u32).flat_map(|i| (i * 50 + i % 7).to_le_bytes()).collect();
        assert_eq!(find(&ascending), None);
        for kind in kinds() {
            // Nothing is rounded here but to 32 bits.
            let wave = samples(kind, &resonance(1, 3, 4000), |n| {
                (n / 9e7).sin() * if kind.float { 1.0 } else { 2e9 }
            });
            assert_eq!(find(&wave), None, "{kind:?}");
            // One in fifty samples is none.
            let mut mixed = samples(kind, &resonance(1, 2, 4000), |n| n * 65_536.0 * 0.7);
            for sample in mixed.as_chunks_mut::<4>().0.iter_mut().step_by(50) {
                sample[if kind.big_endian { 3 } else { 0 }] ^= 1;
            }
            assert_eq!(find(&mixed), None, "{kind:?}");
        }
    }
}
