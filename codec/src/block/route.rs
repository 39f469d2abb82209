//! A look at a block that takes microseconds and decides what is worth trying.

/// What a block looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Compressed or encrypted already: stored as it is.
    Dense,
    /// Text in the widest sense: what a language model was trained on.
    Text,
    /// Anything else: adaptive models alone.
    Binary,
}

/// Bits a byte above which a histogram says nothing can be won, if matches (zstd) win nothing either.
const DENSE: f64 = 7.8;

/// Classifies a block; `zstd_len` is what a fast zstd makes of it, `None` if not less.
pub(super) fn classify(raw: &[u8], zstd_len: Option<usize>) -> Content {
    let mut counts = [0_u32; 256];
    for &byte in raw {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let total = raw.len().max(1) as f64;
    let entropy: f64 = counts
        .iter()
        .filter(|&&count| count > 0)
        .map(|&count| f64::from(count) / total)
        .map(|p| -p * p.log2())
        .sum();
    let saved = zstd_len.map_or(0, |len| raw.len().saturating_sub(len));
    // Of few bytes a histogram is flat by chance: log2(n) bits at most.
    let flat = entropy > DENSE.min((total.log2() - 0.6).max(0.0)) && raw.len() >= 512;
    if flat && saved * 50 < raw.len() {
        return Content::Dense;
    }
    let is_control = |byte: u8| byte < 32 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b);
    let odd: u32 = (0_u8..=255)
        .zip(&counts)
        .filter(|(byte, _)| is_control(*byte) || *byte >= 0xf5)
        .map(|(_, n)| n)
        .sum();
    let invalid: usize = raw.utf8_chunks().map(|chunk| chunk.invalid().len()).sum();
    match (odd as usize + invalid) * 20 <= raw.len() {
        true => Content::Text,
        false => Content::Binary,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u64;
        std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .take(len)
        .collect()
    }

    #[test]
    fn kinds_are_told_apart() {
        let text = "Ein Text mit Umlauten: äöü, und \t Tabulatoren.\r\n".repeat(40);
        assert_eq!(classify(text.as_bytes(), Some(200)), Content::Text);
        let cut = &text.as_bytes()[19..];
        assert_eq!(
            classify(cut, Some(200)),
            Content::Text,
            "a code point cut at the edge is no binary"
        );
        assert_eq!(classify(&noise(65_536), None), Content::Dense);
        assert_eq!(classify(&noise(4096), None), Content::Dense);
        let table: Vec<u8> = (0_u32..4096).flat_map(|i| (i * i / 7).to_le_bytes()).collect();
        assert_eq!(classify(&table, Some(9000)), Content::Binary);
        assert_ne!(
            classify(&noise(4096).repeat(4), Some(4200)),
            Content::Dense,
            "matches count, too"
        );
        assert_eq!(classify(b"", None), Content::Text);
    }
}
