//! Chance: reproducible by its seed.

use lmfs_codec::entropy::range_coder::{Coder, PROBABILITY_BITS};

/// Draws bits and choices at a temperature. At 1 they have the probabilities they are said to have, below they are
/// likelier the likelier they were, and at 0 the likeliest is certain.
#[derive(Clone, Debug)]
pub struct Sampler {
    state: u64,
    temperature: f64,
}

impl Sampler {
    /// The same seed draws the same.
    #[must_use]
    pub fn new(seed: u64, temperature: f64) -> Sampler {
        Sampler {
            state: seed,
            temperature,
        }
    }

    /// A number from 0 to 1, 1 excluded: SplitMix64 (Steele, Lea, Flood, 2014).
    fn uniform(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ z >> 31) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A bit that is one with probability `p1 / 65536`.
    pub fn bit(&mut self, p1: u32) -> bool {
        let one = f64::from(p1) / f64::from(1 << PROBABILITY_BITS);
        let one = match self.temperature {
            1.0 => one,
            0.0 => return one >= 0.5,
            t => 1.0 / (1.0 + ((1.0 - one) / one).powf(1.0 / t)),
        };
        self.uniform() < one
    }

    /// The index of one of several choices that cost so many bits each.
    pub fn choose(&mut self, bits: &[f64]) -> usize {
        let least = bits.iter().copied().fold(f64::INFINITY, f64::min);
        let weight = |bits: f64| match self.temperature {
            0.0 => f64::from(u8::from(bits <= least)),
            t => ((least - bits) / t).exp2(),
        };
        let weights: Vec<f64> = bits.iter().map(|&bits| weight(bits)).collect();
        let mut left = self.uniform() * weights.iter().sum::<f64>();
        let chosen = weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        // Rounding may leave a little after the last.
        chosen.unwrap_or(weights.len().saturating_sub(1))
    }
}

/// One side of the coder, which is first told what stands there, and then asked.
pub trait Pen: Coder {
    /// From now on nothing is known.
    fn go_on_alone(&mut self);

    /// So many bytes are complete.
    fn complete(&mut self, _bytes: usize) {}
}

/// Follows what is known, and draws what is not.
pub struct Draw<'a> {
    sampler: &'a mut Sampler,
    alone: bool,
}

impl Draw<'_> {
    /// Draws with `sampler`.
    pub fn new(sampler: &mut Sampler) -> Draw<'_> {
        Draw { sampler, alone: false }
    }
}

impl Coder for Draw<'_> {
    fn code(&mut self, bit: bool, p1: u32) -> bool {
        if self.alone { self.sampler.bit(p1) } else { bit }
    }
}

impl Pen for Draw<'_> {
    fn go_on_alone(&mut self) {
        self.alone = true;
    }
}

/// Adds up what decisions cost: the length of a coded stream, to the fraction of a bit.
#[derive(Debug, Default)]
pub struct Cost {
    /// Bits so far.
    pub bits: f64,
}

impl Coder for Cost {
    fn code(&mut self, bit: bool, p1: u32) -> bool {
        let one = f64::from(p1) / f64::from(1 << PROBABILITY_BITS);
        self.bits -= if bit { one } else { 1.0 - one }.log2();
        bit
    }
}

impl Pen for Cost {
    fn go_on_alone(&mut self) {}
}

/// What every byte costs. The bytes of a token share what it costs.
#[derive(Debug, Default)]
pub struct Costs {
    open: Cost,
    /// Bits, byte by byte.
    pub bits: Vec<f64>,
}

impl Coder for Costs {
    fn code(&mut self, bit: bool, p1: u32) -> bool {
        self.open.code(bit, p1)
    }
}

impl Pen for Costs {
    fn go_on_alone(&mut self) {}

    fn complete(&mut self, bytes: usize) {
        let share = std::mem::take(&mut self.open).bits / bytes.max(1) as f64;
        self.bits.extend(std::iter::repeat_n(share, bytes));
    }
}
