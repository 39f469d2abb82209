//! Sound of 24 and 32 bits in the order in which it is coded, and how blocks of it are recognised.
//!
//! A block may begin anywhere in a sample. The bytes before its first whole moment are coded last, behind those of a
//! last one that is cut.

use super::form::Form;

/// How the samples of a block lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WideSound {
    /// Bytes of a sample, 3 or 4.
    pub bytes: u8,
    /// 1 or 2.
    pub channels: u8,
    /// Whether the high byte comes first.
    pub big_endian: bool,
    /// Bytes before the first whole moment: fewer than one has.
    pub before: u8,
}

impl WideSound {
    /// Bytes of a moment: a sample of each channel.
    fn moment(self) -> u8 {
        self.bytes.saturating_mul(self.channels)
    }

    /// The two bytes of the layout in front of a payload.
    pub(super) fn to_bytes(self) -> [u8; 2] {
        let code = u8::from(self.channels == 2) | u8::from(self.big_endian) << 1 | u8::from(self.bytes == 4) << 2;
        [code, self.before]
    }

    /// The inverse of [`to_bytes`](Self::to_bytes).
    pub(super) fn parse(code: u8, before: u8) -> Option<WideSound> {
        let wide = WideSound {
            bytes: 3 + (code >> 2 & 1),
            channels: 1 + (code & 1),
            big_endian: code & 2 != 0,
            before,
        };
        (code < 8 && before < wide.moment()).then_some(wide)
    }

    /// The layout of the same samples in a block that begins `start` bytes later.
    pub(super) fn from(self, start: usize) -> WideSound {
        let moment = usize::from(self.moment().max(1));
        let before = (usize::from(self.before) + moment - start % moment) % moment;
        WideSound {
            before: before as u8,
            ..self
        }
    }

    /// The layout of a block in which this one begins at `start`.
    fn starting(self, start: usize) -> WideSound {
        let before = (usize::from(self.before) + start) % usize::from(self.moment().max(1));
        WideSound {
            before: before as u8,
            ..self
        }
    }

    /// How its numbers lie.
    pub(super) fn form(self) -> Form {
        Form {
            bits: 24,
            rest: u32::from(self.bytes == 4),
            channels: usize::from(self.channels),
            row: 0,
            big_endian: self.big_endian,
        }
    }

    /// Bytes of a block of `len` that lie in whole samples.
    fn whole(self, len: usize) -> usize {
        let samples = len.saturating_sub(self.before.into());
        samples - samples % usize::from(self.bytes.max(1))
    }

    /// One sample turned around: little-endian and signed into big-endian and unsigned.
    fn turn(self, sample: &mut [u8]) {
        if !self.big_endian {
            sample.reverse();
        }
        if let Some(high) = sample.first_mut() {
            *high ^= 0x80;
        }
    }

    /// Samples high byte first, counted from the lowest one, and then the bytes of no whole sample.
    pub(super) fn forward(self, raw: &[u8]) -> Vec<u8> {
        let mut out = raw.to_vec();
        out.rotate_left(usize::from(self.before).min(raw.len()));
        let whole = self.whole(raw.len());
        for sample in out[..whole].chunks_exact_mut(self.bytes.into()) {
            self.turn(sample);
        }
        out
    }

    /// The inverse of [`forward`](Self::forward).
    pub(super) fn inverse(self, mut bytes: Vec<u8>) -> Vec<u8> {
        let whole = self.whole(bytes.len());
        for sample in bytes[..whole].chunks_exact_mut(self.bytes.into()) {
            if let Some(high) = sample.first_mut() {
                *high ^= 0x80;
            }
            if !self.big_endian {
                sample.reverse();
            }
        }
        let before = usize::from(self.before).min(bytes.len());
        bytes.rotate_right(before);
        bytes
    }
}

/// Bytes of a block that are looked at.
pub(super) const LOOKED_AT: usize = 12 * 1024;
/// Shortest block that is looked at.
const LEAST: usize = 512;
/// Costs are in eighths of a bit.
const BIT: u64 = 8;

/// The samples in some bytes, if they lie like this.
fn samples(raw: &[u8], wide: WideSound) -> Vec<i64> {
    let whole = raw.get(usize::from(wide.before)..).unwrap_or_default();
    let number = |sample: &[u8]| {
        let mut number = [0; 4];
        for (to, from) in number.iter_mut().zip(sample) {
            *to = *from;
        }
        i64::from(i32::from_be_bytes(number))
    };
    let samples = whole.chunks_exact(wide.bytes.into());
    if wide.big_endian {
        samples.map(number).collect()
    } else {
        samples
            .map(|sample| {
                let mut sample = sample.to_vec();
                sample.reverse();
                number(&sample)
            })
            .collect()
    }
}

/// How many eighths of bits a sample takes as it is or as a difference from its neighbours, whichever is less. Low bits
/// that are always zero do not count.
pub(super) fn cost(samples: &[i64], channels: usize) -> u64 {
    let used = samples.iter().fold(0, |all, sample| all | sample);
    let zeros = if used == 0 { 0 } else { used.trailing_zeros() };
    let bits = |value: i64| u64::from(64 - (value >> zeros).unsigned_abs().leading_zeros());
    let (mut values, mut changes, mut bends) = (0, 0, 0);
    for moment in samples.windows(2 * channels + 1) {
        let at = |back: usize| moment.get(back * channels).copied().unwrap_or_default();
        values += bits(at(2));
        changes += bits(at(2) - at(1));
        bends += bits(at(2) - 2 * at(1) + at(0));
    }
    let count = samples.len().saturating_sub(2 * channels).max(1) as u64;
    values.min(changes).min(bends) * BIT / count
}

/// How samples of 24 or 32 bits may lie in a block, if it seems to have any: as they take much less than they would if
/// they began at other bytes. `start`: where [`LOOKED_AT`] bytes begin that tell most.
pub(super) fn find(raw: &[u8], start: usize) -> Vec<WideSound> {
    if raw.len() < LEAST {
        return Vec::new();
    }
    let rest = raw.get(start..).unwrap_or_default();
    let looked_at = rest.get(..LOOKED_AT).unwrap_or(rest);
    let mut found = Vec::new();
    for bytes in 3..=4_u8 {
        let mut guesses: Vec<(u64, WideSound)> = Vec::new();
        for before in 0..bytes {
            for big_endian in [false, true] {
                let mono = WideSound {
                    bytes,
                    channels: 1,
                    big_endian,
                    before,
                };
                let samples = samples(looked_at, mono);
                let (one, two) = (cost(&samples, 1), cost(&samples, 2));
                let channels = if two < one { 2 } else { 1 };
                guesses.push((one.min(two), WideSound { channels, ..mono }));
            }
        }
        guesses.sort_by_key(|(cost, _)| *cost);
        let [(best, wide), ..] = *guesses else { continue };
        let median = guesses.get(guesses.len() / 2).map_or(0, |(cost, _)| *cost);
        if best + 2 * BIT > median {
            continue;
        }
        // Two samples of 16 bits begin at every other byte, too.
        let twin = guesses
            .iter()
            .skip(1)
            .find(|(_, guess)| guess.before.abs_diff(wide.before) == 2 && guess.big_endian == wide.big_endian);
        if bytes == 4 && twin.is_some_and(|(cost, _)| *cost < best + 2 * BIT) {
            continue;
        }
        // Where the upper bytes are small, either order of the others may be the right one.
        let near = guesses.iter().take(2).filter(|(cost, _)| *cost < best + BIT);
        found.extend(near.map(|(_, wide)| wide.starting(start)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = WideSound> {
        (0..8).flat_map(|code| (0..8).filter_map(move |before| WideSound::parse(code, before)))
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_return(raw: Vec<u8>) {
            for wide in all() {
                assert_eq!(wide.inverse(wide.forward(&raw)), raw, "{wide:?}");
            }
        }
    }

    #[test]
    fn layouts_are_read_as_they_are_written() {
        assert_eq!(all().count(), 2 * (3 + 6 + 4 + 8));
        for wide in all() {
            let [code, before] = wide.to_bytes();
            assert_eq!(WideSound::parse(code, before), Some(wide));
        }
        assert_eq!(WideSound::parse(8, 0), None);
        assert_eq!(WideSound::parse(0, 3), None);
        assert_eq!(WideSound::parse(5, 8), None);
    }

    /// Samples of a resonance that noise keeps going, in the bytes of a layout.
    fn resonance(wide: WideSound) -> Vec<u8> {
        let (mut noise, mut past) = (1_u32, [0_i64; 2]);
        let mut raw = vec![0; wide.before.into()];
        for _ in 0..20_000 {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let next = (past[0] * 245 - past[1] * 126) / 128 + i64::from(noise >> 15) - 65_536;
            past = [next.clamp(-8_000_000, 8_000_000), past[0]];
            for sample in [past[0], -past[1] / 2].into_iter().take(wide.channels.into()) {
                // Samples of 32 bits have eight low ones that are zero.
                let [a, b, c, ..] = sample.to_le_bytes();
                let mut sample = if wide.bytes == 3 {
                    vec![a, b, c]
                } else {
                    vec![0, a, b, c]
                };
                if wide.big_endian {
                    sample.reverse();
                }
                raw.extend(sample);
            }
        }
        raw
    }

    #[test]
    fn samples_keep_their_order() {
        for wide in all().filter(|wide| wide.bytes == 3 && wide.before == 0) {
            let samples = [-8_388_608_i32, -2, -1, 0, 1, 300, 8_388_607];
            let raw: Vec<u8> = samples
                .iter()
                .flat_map(|sample| {
                    let [a, b, c, _] = sample.to_le_bytes();
                    if wide.big_endian { [c, b, a] } else { [a, b, c] }
                })
                .collect();
            assert!(wide.forward(&raw).as_chunks::<3>().0.is_sorted(), "{wide:?}");
        }
    }

    #[test]
    fn they_are_found_wherever_a_block_begins() {
        for wide in all().filter(|wide| wide.before == 0) {
            let raw = resonance(wide);
            for cut in [0, 1, 2, 3, 5, 44, 16_384] {
                let found = find(&raw[cut..], 10_000);
                let want = wide.from(cut);
                // Which channel comes first is no matter.
                let same = |found: &WideSound| {
                    let apart = want.before.abs_diff(found.before);
                    apart.is_multiple_of(want.bytes)
                        && WideSound {
                            before: want.before,
                            ..*found
                        } == want
                };
                assert!(found.iter().any(same), "{want:?} {found:?}");
            }
        }
    }

    #[test]
    fn what_is_no_sound_is_not_taken_for_it() {
        let noise: Vec<u8> = (0..40_000_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761).rotate_left(9).wrapping_mul(i | 1) >> 24) as u8)
            .collect();
        assert_eq!(find(&noise, 0), []);
        assert_eq!(find(&vec![0; 40_000], 0), []);
        assert_eq!(find(&[], 0), []);
        let words: Vec<u8> = (0..20_000_i32)
            .flat_map(|i| ((i * 37 % 1000 - 500) * 8 + (i * i) % 7).to_le_bytes()[..2].to_vec())
            .collect();
        assert_eq!(find(&words, 0), []);
    }
}
