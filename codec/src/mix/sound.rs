//! 16-bit sound as what a linear predictor did not expect.
//!
//! Each channel has a normalized least-mean-squares filter (Widrow and Hoff, 1960) over its last 16 samples, in
//! integers. A sample is replaced by its difference from the prediction, folded to an unsigned number (0, -1, 1, -2,
//! ...), high byte first, so that the byte that is hard to predict comes last. The mapping keeps the length; a last odd
//! byte stays.

const TAPS: usize = 16;
/// Digits after the point of a filter weight.
const FRACTION: u32 = 20;

/// The predictor of one channel.
struct Filter {
    weights: [i64; TAPS],
    /// Past samples, the newest first.
    past: [i64; TAPS],
}

impl Filter {
    fn new() -> Self {
        // Starts as a straight line through the last two samples.
        let mut weights = [0; TAPS];
        weights[0] = 2 << FRACTION;
        weights[1] = -1 << FRACTION;
        Filter {
            weights,
            past: [0; TAPS],
        }
    }

    fn predict(&self) -> i64 {
        let sum = self
            .weights
            .iter()
            .zip(&self.past)
            .fold(0i64, |sum, (w, x)| sum.wrapping_add(w.wrapping_mul(*x)));
        (sum >> FRACTION).clamp(-32768, 32767)
    }

    fn learn(&mut self, sample: i64, prediction: i64) {
        let energy: i64 = self.past.iter().map(|x| x * x).sum::<i64>() + 64;
        let gain = ((sample - prediction) << 30) / energy;
        for (w, x) in self.weights.iter_mut().zip(&self.past) {
            // A step of 1/256 of the whole correction, within ±8.
            *w = (*w + (gain.wrapping_mul(*x) >> 18)).clamp(-8 << FRACTION, 8 << FRACTION);
        }
        self.past.copy_within(..TAPS - 1, 1);
        self.past[0] = sample;
    }
}

/// Little-endian samples of `channels` interleaved channels to folded differences.
pub(super) fn forward(raw: &[u8], channels: usize) -> Vec<u8> {
    let mut out = raw.to_vec();
    let mut filters: Vec<Filter> = (0..channels).map(|_| Filter::new()).collect();
    for (i, pair) in out.as_chunks_mut::<2>().0.iter_mut().enumerate() {
        let filter = &mut filters[i % channels];
        let sample = i16::from_le_bytes(*pair);
        let prediction = filter.predict();
        let difference = sample.wrapping_sub(prediction as i16);
        // The sign goes to the lowest bit, so that small differences of either sign have a high byte of zero.
        *pair = ((difference << 1 ^ difference >> 15) as u16).to_be_bytes();
        filter.learn(i64::from(sample), prediction);
    }
    out
}

/// The inverse of [`forward`].
pub(super) fn inverse(mut bytes: Vec<u8>, channels: usize) -> Vec<u8> {
    let mut filters: Vec<Filter> = (0..channels).map(|_| Filter::new()).collect();
    for (i, pair) in bytes.as_chunks_mut::<2>().0.iter_mut().enumerate() {
        let filter = &mut filters[i % channels];
        let folded = u16::from_be_bytes(*pair);
        let difference = (folded >> 1) as i16 ^ -((folded & 1) as i16);
        let prediction = filter.predict();
        let sample = difference.wrapping_add(prediction as i16);
        *pair = sample.to_le_bytes();
        filter.learn(i64::from(sample), prediction);
    }
    bytes
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_bytes_return(raw: Vec<u8>, channels in 1_usize..3) {
            assert_eq!(inverse(forward(&raw, channels), channels), raw);
        }

        #[test]
        fn loud_noise_returns(seed: u32, channels in 1_usize..3) {
            let mut x = seed | 1;
            let raw: Vec<u8> = (0..4000).flat_map(|_| {
                x ^= x << 13;
                x ^= x >> 17;
                x ^= x << 5;
                (if x & 7 == 0 { i16::MIN } else { (x >> 16) as i16 }).to_le_bytes()
            }).collect();
            assert_eq!(inverse(forward(&raw, channels), channels), raw);
        }
    }

    #[test]
    fn a_tone_almost_vanishes() {
        let tone: Vec<u8> = (0..8000_i32)
            .flat_map(|i| {
                // Two sines by recurrence would do; a triangle wave is enough to see the prediction work.
                let phase = i % 200;
                ((if phase < 100 { phase } else { 200 - phase } * 100) as i16).to_le_bytes()
            })
            .collect();
        let high = forward(&tone, 1).iter().step_by(2).filter(|&&b| b != 0).count();
        assert!(high < 400, "{high} of 8000 high bytes are not zero");
    }
}
