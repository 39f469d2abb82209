//! Whether the bytes of a block are numbers: samples of sound, or rows of pixels.

use super::form::Form;

/// Longest row looked for, in bytes, and how many bytes are compared for each length.
const LONGEST_ROW: usize = 16_384;
const COMPARED: usize = 2048;
const RUNS: usize = 8;
/// Mean distance of neighbouring pixels, at most: what differs more is no picture that prediction helps.
const MOST_DISTANCE: u64 = 28;

/// Shortest block that is looked at.
const LEAST: usize = 128;
/// Channels that may be equal, and how many changes of bytes are counted before most have to be at pixels' starts.
const EQUAL: [usize; 3] = [3, 4, 2];
const CHANGES: usize = 32;
/// Bytes that a file may have in front of its pixels.
const HEADER: usize = 256;
/// Distances in pixels at which little is left of what neighbours have in common.
const FAR: [usize; 3] = [37, 53, 89];

/// Forms that are worth a trial.
pub(super) fn candidates(raw: &[u8]) -> Vec<Form> {
    let mut found = Vec::new();
    if raw.len() < LEAST {
        return found;
    }
    let sound = |bits, channels, big_endian| Form {
        bits,
        rest: 0,
        channels,
        row: 0,
        big_endian,
    };
    let picture = |channels, row| Form {
        bits: 8,
        rest: 0,
        channels,
        row,
        big_endian: false,
    };
    let text = is_text(raw);
    if !text {
        for (number, big_endian) in [
            (i16::from_le_bytes as fn([u8; 2]) -> i16, false),
            (i16::from_be_bytes, true),
        ] {
            let samples: Vec<i32> = raw.as_chunks().0.iter().map(|pair| number(*pair).into()).collect();
            let channels = (1..=2).filter(|channels| is_sound(&samples, *channels));
            found.extend(channels.map(|channels| sound(16, channels, big_endian)));
        }
    }
    let even = Probe::even();
    if let Some(channels) = equal_channels(raw) {
        // Such pictures are flat in most places, which say nothing about rows.
        let row = Probe::of_changes(raw).row(raw, channels);
        found.extend(row.map(|row| picture(channels, row)));
    }
    let pixel = even.pixel(raw);
    let near = even.distance(raw, pixel);
    if near > MOST_DISTANCE * COMPARED as u64 {
        return found;
    }
    let far = FAR
        .map(|back| even.distance(raw, back * pixel))
        .into_iter()
        .max()
        .unwrap_or(0);
    // What could be text has to be smoother.
    let most = if text { far / 2 } else { far };
    if let Some(row) = even.row(raw, pixel)
        && near.min(even.distance(raw, row)) * 8 < most * 7
    {
        let form = picture(pixel, row);
        if !found.contains(&form) {
            found.push(form);
        }
    }
    if pixel <= 2 && near * 16 < most * 15 {
        found.push(sound(8, pixel, false));
    }
    found
}

/// Whether the bytes could be those of text: few or none that no text has.
pub(super) fn is_text(raw: &[u8]) -> bool {
    let control = |byte: &u8| *byte < 9 || (14..27).contains(byte) || (28..32).contains(byte);
    let high = raw.iter().filter(|byte| **byte >= 127).count();
    if raw.iter().any(control) {
        return false;
    }
    // A character may be cut at either end.
    let cut = raw.iter().take(3).take_while(|byte| **byte & 0xC0 == 0x80).count();
    let whole = match std::str::from_utf8(raw.get(cut..).unwrap_or_default()) {
        Ok(whole) => cut + whole.len(),
        Err(error) => cut + error.valid_up_to(),
    };
    high * 16 <= raw.len() || whole + 4 > raw.len()
}

/// Whether 16-bit samples are smaller by about a bit once their neighbours are known.
fn is_sound(samples: &[i32], channels: usize) -> bool {
    let bits = |value: i32| u64::from(32 - value.unsigned_abs().leading_zeros());
    let of_values: u64 = samples.iter().map(|sample| bits(*sample)).sum();
    let at = |i: usize, back: usize| {
        i.checked_sub(back * channels)
            .and_then(|i| samples.get(i))
            .copied()
            .unwrap_or(0)
    };
    let of_changes: u64 = (0..samples.len()).map(|i| bits(at(i, 0) - at(i, 1))).sum();
    let of_bends: u64 = (0..samples.len())
        .map(|i| bits(at(i, 0) - 2 * at(i, 1) + at(i, 2)))
        .sum();
    4 * of_changes.min(of_bends) < 4 * of_values - 2 * (samples.len() as u64).min(of_values)
}

/// The channels of a pixel, if they are equal: bytes change from one pixel to the next and nowhere else.
fn equal_channels(raw: &[u8]) -> Option<usize> {
    let start = HEADER.min(raw.len() / 8).max(1);
    let mut counts = [0_usize; 12];
    let best = |counts: &[usize; 12]| {
        let all: usize = counts.iter().sum();
        let at_starts = |channels: usize| {
            (0..channels)
                .map(|i| counts.iter().skip(i).step_by(channels).sum())
                .max()
        };
        EQUAL
            .into_iter()
            .find(|&channels| at_starts(channels).is_some_and(|most: usize| most * 16 >= all * 15))
    };
    let mut changes = 0;
    for i in (start..raw.len()).filter(|&i| raw[i] != raw[i - 1]) {
        counts[i % 12] += 1;
        changes += 1;
        // Nearly everything else ends here.
        if changes % CHANGES == 0 && best(&counts).is_none() {
            return None;
        }
    }
    best(&counts).filter(|_| changes >= CHANGES)
}

/// Where bytes are compared with those before them: [`RUNS`] runs of them.
struct Probe {
    /// Where the runs begin; all over the block if there are none.
    starts: Vec<usize>,
}

impl Probe {
    fn even() -> Probe {
        Probe { starts: Vec::new() }
    }

    /// Runs about places where bytes change, so many changes apart.
    fn of_changes(raw: &[u8]) -> Probe {
        let changes = || (1..raw.len()).filter(|&i| raw[i] != raw[i - 1]);
        let apart = (changes().count() / RUNS).max(1);
        let starts = changes().skip(apart / 2).step_by(apart).take(RUNS);
        Probe {
            starts: starts.map(|at| at.saturating_sub(COMPARED / RUNS / 2)).collect(),
        }
    }

    /// The sum of the distances of [`COMPARED`] bytes from those `back` before them.
    fn distance(&self, raw: &[u8], back: usize) -> u64 {
        let room = raw.len().saturating_sub(back);
        let run = (COMPARED / RUNS).min(room / RUNS);
        let mut sum = 0;
        for i in 0..RUNS {
            let start = match self.starts.get(i) {
                None => back + (room - run) / RUNS * i,
                Some(&start) => start.clamp(back, back + room - run),
            };
            let here = raw.get(start..start + run).unwrap_or_default();
            let there = raw.get(start - back..start - back + run).unwrap_or_default();
            sum += here
                .iter()
                .zip(there)
                .map(|(a, b)| u32::from(a.abs_diff(*b)))
                .sum::<u32>();
        }
        // As if the block were long enough.
        u64::from(sum) * (COMPARED as u64) / (run * RUNS).max(1) as u64
    }

    /// Bytes of a pixel: the distance at which bytes are closer than at one less and at one more.
    fn pixel(&self, raw: &[u8]) -> usize {
        let distances: Vec<u64> = (0..6).map(|back| self.distance(raw, back)).collect();
        [3, 4, 2]
            .into_iter()
            .find(|&back| distances[back] * 8 < distances[back - 1].min(distances[back + 1]) * 7)
            .unwrap_or(1)
    }

    /// Bytes of a row: the distance at which bytes are closest, beside those one pixel less and more.
    fn row(&self, raw: &[u8], pixel: usize) -> Option<usize> {
        let longest = LONGEST_ROW.min(raw.len() / 3) / pixel;
        let distances: Vec<u64> = (0..=longest + 1).map(|i| self.distance(raw, i * pixel)).collect();
        let sharp = |i: usize| {
            let beside = (distances[i - 1] + distances[i + 1]) / 2;
            beside * 1024 / (distances[i] + COMPARED as u64 / 16)
        };
        let best = (8..=longest).max_by_key(|&i| (sharp(i), std::cmp::Reverse(i)))?;
        (sharp(best) > 1024).then_some(best * pixel)
    }
}
