//! A look at a block that takes microseconds and decides what is worth trying.

/// What a block looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Nothing tells it from random bytes: compressed or encrypted already, stored as it is.
    Dense,
    /// A fast zstd wins nothing, but the bytes are not random: the models are to be asked about a sample.
    Doubtful,
    /// What a fast zstd makes smaller.
    Compressible,
}

/// Blocks shorter than this are never called dense: chance alone makes them look like anything.
const LEAST: usize = 512;
/// A fast zstd that saves one byte in this many wins something.
const SAVING: usize = 200;
/// How far above chance a count may be, as a share: beyond that more than about 0.3 % can be won.
const TOLERANCE: f64 = 0.03;
/// Standard deviations that chance may reach: one random block in a million is taken for something else.
const DEVIATIONS: f64 = 5.0;
/// Bytes looked at for their neighbours.
const SAMPLE: usize = 8192;
/// Distances of bytes that samples and pixels of common sizes have: 8 to 64 bits, one to four channels, packed bits.
const STRIDES: [usize; 10] = [1, 2, 3, 4, 5, 6, 8, 10, 12, 16];

/// Classifies a block; `zstd_len` is what a fast zstd makes of it, `None` if not less.
pub(super) fn classify(raw: &[u8], zstd_len: Option<usize>) -> Content {
    let saved = zstd_len.map_or(0, |len| raw.len().saturating_sub(len));
    if raw.len() < LEAST || saved * SAVING >= raw.len() {
        return Content::Compressible;
    }
    let start = (raw.len() - SAMPLE.min(raw.len())) / 2;
    let sample = raw.get(start..start + SAMPLE).unwrap_or(raw);
    let random = is_flat(raw) && !STRIDES.iter().any(|&stride| is_smooth(sample, stride)) && !has_pairs(sample);
    if random { Content::Dense } else { Content::Doubtful }
}

/// Whether a count is above what chance makes of it, given its mean and variance by chance.
fn is_above(count: f64, mean: f64, variance: f64) -> bool {
    count - mean > (DEVIATIONS * variance.sqrt()).max(TOLERANCE * mean)
}

/// How many pairs of equal draws there are, given how often each value was drawn; and how many chance makes of them.
fn equal_pairs(counts: &[u32]) -> (f64, f64) {
    let pairs = |n: u64| n * n.saturating_sub(1) / 2;
    let equal: u64 = counts.iter().map(|&n| pairs(n.into())).sum();
    let all: u64 = counts.iter().map(|&n| u64::from(n)).sum();
    (equal as f64, pairs(all) as f64 / counts.len() as f64)
}

/// Whether all bytes are equally frequent.
fn is_flat(raw: &[u8]) -> bool {
    // Four tables, since a counter that was just written is not read again at once.
    let mut counts = [[0_u32; 256]; 4];
    let (fours, rest) = raw.as_chunks::<4>();
    let mut count = |table: usize, byte: u8| {
        if let Some(n) = counts
            .get_mut(table)
            .and_then(|counts| counts.get_mut(usize::from(byte)))
        {
            // A block has fewer bytes than this counts. Checked additions would take twice the time.
            *n = n.wrapping_add(1);
        }
    };
    for &[a, b, c, d] in fours {
        count(0, a);
        count(1, b);
        count(2, c);
        count(3, d);
    }
    rest.iter().for_each(|&byte| count(0, byte));
    let [mut sums, others @ ..] = counts;
    for other in others {
        sums.iter_mut().zip(other).for_each(|(sum, n)| *sum += n);
    }
    let (equal, mean) = equal_pairs(&sums);
    !is_above(equal, mean, mean)
}

/// Whether bytes are near those `stride` bytes before them more often than by chance: pixels, samples, numbers.
fn is_smooth(sample: &[u8], stride: usize) -> bool {
    /// Differences that count as near: -31 to 31.
    const NEAR: u8 = 31;
    let later = sample.get(stride..).unwrap_or_default();
    let (mut near, mut len) = (0_u64, 0_u64);
    // Counters of bytes, side by side, as long as they cannot overflow.
    for (now, before) in later.chunks(255 * 16).zip(sample.chunks(255 * 16)) {
        let mut counts = [0_u8; 16];
        for (now, before) in now.as_chunks::<16>().0.iter().zip(before.as_chunks::<16>().0) {
            for (count, (now, before)) in counts.iter_mut().zip(now.iter().zip(before)) {
                // At most 255 times. Checked additions would not become vectors.
                let near = now.wrapping_sub(*before).wrapping_add(NEAR) <= 2 * NEAR;
                *count = count.wrapping_add(u8::from(near));
            }
            len += 16;
        }
        near += counts.iter().map(|&count| u64::from(count)).sum::<u64>();
    }
    let chance = f64::from(2 * NEAR + 1) / 256.0;
    let mean = len as f64 * chance;
    is_above(near as f64, mean, mean * (1.0 - chance))
}

/// Whether bytes depend on the top bits of those before them.
fn has_pairs(sample: &[u8]) -> bool {
    /// Bytes looked at: as many as there are pairs of three bits and a byte, twice.
    const PAIRS: usize = 4096;
    let mut counts = [0_u32; 2048];
    for pair in sample.windows(2).take(PAIRS) {
        let &[before, now] = pair else { continue };
        if let Some(n) = counts.get_mut(usize::from(before >> 5) << 8 | usize::from(now)) {
            *n += 1;
        }
    }
    let (equal, mean) = equal_pairs(&counts);
    is_above(equal, mean, mean)
}

/// Whether a block is text in the widest sense, what a language model was trained on. All else is for the adaptive
/// models.
pub(super) fn is_text(raw: &[u8]) -> bool {
    let is_control = |byte: u8| byte < 32 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b);
    let odd = raw.iter().filter(|&&byte| is_control(byte) || byte >= 0xf5).count();
    let invalid: usize = raw.utf8_chunks().map(|chunk| chunk.invalid().len()).sum();
    (odd + invalid) * 20 <= raw.len()
}

/// `count` pieces of `len` bytes each, evenly spread; all of the block if it has no more.
pub(super) fn pieces(raw: &[u8], count: usize, len: usize) -> Vec<u8> {
    if raw.len() <= count * len {
        return raw.to_vec();
    }
    let between = (raw.len() - len) / count.saturating_sub(1).max(1);
    // Where numbers and pixels begin again.
    let starts = (0..count).map(|i| i * between / 48 * 48);
    starts
        .filter_map(|at| raw.get(at..at + len))
        .flatten()
        .copied()
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    fn noise(len: usize, seed: u64) -> Vec<u8> {
        let mut state = seed;
        std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .take(len)
        .collect()
    }

    #[test]
    fn random_bytes_of_all_lengths_are_dense() {
        let mut found = 0;
        for len in [512, 4096, 16_384, 65_536, 1 << 20] {
            for seed in 1..200 {
                found += usize::from(classify(&noise(len, seed * 77_777), None) != Content::Dense);
            }
        }
        assert_eq!(found, 0, "of 995 random blocks");
        assert_eq!(classify(&noise(4096, 1).repeat(4), Some(4200)), Content::Compressible);
        assert_eq!(classify(b"", None), Content::Compressible);
    }

    /// Regression: what has a flat histogram and no matches was stored raw, though `xz` took a third off it.
    #[test]
    fn smooth_noise_is_not_dense() {
        let noise = noise(1 << 17, 5);
        let walk = |step: i32| {
            let mut at = 0_i32;
            let steps = noise.iter().map(move |&byte| i32::from(byte) * step / 128 - step);
            steps.map(move |by| {
                at += by;
                at
            })
        };
        let wide = |numbers: Vec<i32>| {
            numbers
                .into_iter()
                .flat_map(|n| (n as i16).to_le_bytes())
                .collect::<Vec<u8>>()
        };
        let rows = |pixel: usize| {
            let mut picture = noise[..pixel].to_vec();
            for (at, byte) in noise[pixel..].iter().enumerate() {
                picture.push(picture[at].wrapping_add(byte % 96));
            }
            picture
        };
        for (what, bytes) in [
            ("8-bit samples", walk(40).map(|n| n as u8).collect()),
            ("16-bit samples", wide(walk(3000).collect())),
            ("pixels of three bytes", rows(3)),
            ("pixels of 16 bytes", rows(16)),
        ] {
            for len in [4096, 16_384, 65_536] {
                assert_eq!(classify(&bytes[..len], None), Content::Doubtful, "{what}: {len} bytes");
            }
        }
    }

    #[test]
    fn text_is_told_from_other_bytes() {
        let text = "Ein Text mit Umlauten: äöü, und \t Tabulatoren.\r\n".repeat(40);
        assert!(is_text(text.as_bytes()));
        assert!(
            is_text(&text.as_bytes()[19..]),
            "a code point cut at the edge is no binary"
        );
        assert!(is_text(b""));
        let table: Vec<u8> = (0_u32..4096).flat_map(|i| (i * i / 7).to_le_bytes()).collect();
        assert!(!is_text(&table));
    }

    #[test]
    fn pieces_are_spread_over_the_block() {
        let raw: Vec<u8> = (0..100_000_u32).map(|i| (i >> 8) as u8).collect();
        let spread = pieces(&raw, 4, 1000);
        assert_eq!(spread[..1000], raw[..1000]);
        assert_eq!(spread[3000..], raw[98_976..99_976]);
        assert_eq!(pieces(&raw[..3999], 4, 1000), raw[..3999]);
        assert!(pieces(&[], 4, 1000).is_empty());
    }
}
