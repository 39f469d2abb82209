//! Makes a dictionary of samples.
//!
//! The text is put together of segments of the samples. Each next one is the segment whose shingles (runs of
//! [`SHINGLE`] bytes) occur in the most samples while not yet being in the dictionary. This is the greedy cover of
//! Liao, Petri, Moffat and Wirth ("Effective Construction of Relative Lempel-Ziv Dictionaries", 2016), counted by
//! samples instead of occurrences, so that what repeats within one file only does not count for many. What suits the
//! data best comes last, next to the block.

use std::collections::HashMap;

/// Bytes of a shingle.
const SHINGLE: usize = 6;
/// Bytes of a segment.
const SEGMENT: usize = 512;
/// Shingles are counted in this many buckets.
const BUCKETS_LOG2: u32 = 22;

fn bucket(shingle: &[u8]) -> usize {
    let value = shingle.iter().fold(0_u64, |value, &byte| value << 8 | u64::from(byte));
    (value.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - BUCKETS_LOG2)) as usize
}

/// A dictionary of at most `size` bytes made of segments of the samples. Samples that are shorter than a shingle are
/// left out.
pub fn train<S: AsRef<[u8]>>(samples: &[S], size: usize) -> Vec<u8> {
    let size = size.min(super::MAX_DICTIONARY);
    let total: usize = samples.iter().map(|sample| sample.as_ref().len()).sum();
    if total <= size {
        return samples.iter().flat_map(|sample| sample.as_ref()).copied().collect();
    }
    let mut value = values(samples);
    let segments: Vec<&[u8]> = samples
        .iter()
        .flat_map(|sample| sample.as_ref().chunks(SEGMENT))
        .collect();
    // The samples are cut into as many epochs as the dictionary has segments, and each gives its best: one pass over
    // the samples, and every part of them has a chance.
    // Segments of small samples are short, so more of them are wanted.
    let wanted = (size * segments.len() / total).max(1);
    let epoch = segments.len().div_ceil(wanted);
    let mut chosen: Vec<(u64, &[u8])> = Vec::with_capacity(wanted);
    for epoch in segments.chunks(epoch.max(1)) {
        let scored = epoch.iter().map(|segment| (score(segment, &value), *segment));
        let Some((score, best)) = scored.max_by_key(|(score, _)| *score) else {
            continue;
        };
        for shingle in best.windows(SHINGLE) {
            if let Some(value) = value.get_mut(bucket(shingle)) {
                *value = 0;
            }
        }
        chosen.push((score, best));
    }
    chosen.sort_by_key(|(score, _)| *score);
    let mut text = chosen
        .into_iter()
        .flat_map(|(_, segment)| segment)
        .copied()
        .collect::<Vec<u8>>();
    let surplus = text.len().saturating_sub(size);
    text.drain(..surplus);
    text
}

/// In how many samples each shingle occurs besides the first.
fn values<S: AsRef<[u8]>>(samples: &[S]) -> Vec<u16> {
    let mut value = vec![0_u16; 1 << BUCKETS_LOG2];
    let mut seen: HashMap<usize, ()> = HashMap::new();
    let mut first = vec![false; 1 << BUCKETS_LOG2];
    for sample in samples {
        seen.clear();
        for shingle in sample.as_ref().windows(SHINGLE) {
            let bucket = bucket(shingle);
            if seen.insert(bucket, ()).is_some() {
                continue;
            }
            match (first.get_mut(bucket), value.get_mut(bucket)) {
                (Some(first), _) if !*first => *first = true,
                (_, Some(value)) => *value = value.saturating_add(1),
                _ => {}
            }
        }
    }
    value
}

/// The sum of the values of a segment's different shingles. The root keeps what occurs everywhere from outweighing the
/// rest.
fn score(segment: &[u8], value: &[u16]) -> u64 {
    let mut buckets: Vec<usize> = segment.windows(SHINGLE).map(bucket).collect();
    buckets.sort_unstable();
    buckets.dedup();
    buckets
        .into_iter()
        .map(|bucket| u64::from(value.get(bucket).copied().unwrap_or_default()).isqrt())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_samples_share_is_chosen() {
        let samples: Vec<Vec<u8>> = (0..200_u32)
            .map(|i| {
                let noise = (0..800_u32)
                    .map(|j| (i.wrapping_mul(2_654_435_761).wrapping_add((j * j).wrapping_mul(40_503)) >> 13) as u8);
                let shared = b"every one of the samples has this sentence somewhere, and it is worth keeping; ";
                noise.chain(shared.iter().copied()).collect()
            })
            .collect();
        let text = train(&samples, 4096);
        assert!(text.len() <= 4096 && text.len() > 2048, "{}", text.len());
        assert!(
            text.windows(30)
                .any(|window| window == b"every one of the samples has t")
        );
        assert_eq!(train(&samples, 4096), text, "the same samples make the same dictionary");
    }

    #[test]
    fn few_samples_are_kept_whole() {
        assert_eq!(train(&[&b"abc"[..], b"def"], 100), b"abcdef");
        assert_eq!(train::<&[u8]>(&[], 100), b"");
    }
}
