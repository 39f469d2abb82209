//! A cheap look at whether a dictionary is of the kind of a block.

/// Buckets of trigrams.
const BUCKETS: usize = 4096;
/// Units of a binary logarithm.
const SCALE: f64 = 8.0;

/// How frequent trigrams are in a text: their binary logarithm in units of 1/8, in hashed buckets.
#[derive(Clone)]
pub struct Sketch(Box<[i8; BUCKETS]>);

impl std::fmt::Debug for Sketch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sketch")
    }
}

fn bucket(trigram: &[u8; 3]) -> usize {
    let [a, b, c] = trigram.map(u32::from);
    (((a << 16 | b << 8 | c).wrapping_mul(0x9E37_79B1)) >> 20) as usize
}

fn trigrams(text: &[u8], step: usize) -> impl Iterator<Item = usize> {
    text.windows(3)
        .step_by(step)
        .filter_map(|window| window.first_chunk())
        .map(bucket)
}

impl Sketch {
    /// Bytes of a sketch.
    pub const LEN: usize = BUCKETS;

    /// The sketch of a text.
    pub fn of(text: &[u8]) -> Sketch {
        let mut counts = vec![0_u32; BUCKETS];
        for bucket in trigrams(text, 1) {
            if let Some(count) = counts.get_mut(bucket) {
                *count += 1;
            }
        }
        // Half an occurrence for each bucket, so that what was never seen is improbable and not impossible.
        let total = text.len().saturating_sub(2) as f64 + 0.5 * BUCKETS as f64;
        let mut logs = Box::new([0; BUCKETS]);
        for (log, count) in logs.iter_mut().zip(counts) {
            let share = (f64::from(count) + 0.5) * BUCKETS as f64 / total;
            *log = (share.log2() * SCALE).round() as i8;
        }
        Sketch(logs)
    }

    /// A sketch from its bytes.
    pub fn from_bytes(bytes: &[u8; BUCKETS]) -> Sketch {
        Sketch(Box::new(bytes.map(u8::cast_signed)))
    }

    /// Its bytes.
    pub fn to_bytes(&self) -> [u8; BUCKETS] {
        self.0.map(i8::cast_unsigned)
    }

    /// How much more probable a block's trigrams are in this text than in any text: the mean binary logarithm, in units
    /// of 1/1024.
    pub fn score(&self, block: &[u8]) -> i64 {
        /// Blocks longer than this are looked at in places.
        const LOOK: usize = 8192;
        let (mut sum, mut count) = (0_i64, 0_i64);
        for bucket in trigrams(block, block.len().div_ceil(LOOK).max(1)) {
            sum += i64::from(self.0.get(bucket).copied().unwrap_or_default());
            count += 1;
        }
        sum * (1024 / SCALE as i64) / count.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_kind_scores_higher() {
        let prose = "It was the best of times, it was the worst of times, it was the age of wisdom. ".repeat(20);
        let code = "for (int i = 0; i < n; i++) { sum += values[i]; }\n".repeat(20);
        let sketches = [Sketch::of(prose.as_bytes()), Sketch::of(code.as_bytes())];
        let of = |text: &str| sketches.each_ref().map(|sketch| sketch.score(text.as_bytes()));
        let [prose, code] = of("it was the season of Light, it was the season of Darkness");
        assert!(prose > code, "{prose} {code}");
        let [prose, code] = of("for (int k = 0; k < len; k++) { total += numbers[k]; }");
        assert!(code > prose, "{prose} {code}");
        assert_eq!(Sketch::of(b"").score(b""), 0);
    }

    #[test]
    fn a_sketch_survives_a_round_trip() {
        let sketch = Sketch::of(b"some text");
        assert_eq!(Sketch::from_bytes(&sketch.to_bytes()).to_bytes(), sketch.to_bytes());
    }
}
