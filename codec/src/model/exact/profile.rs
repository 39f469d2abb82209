//! Where the time of a step goes, for benches.

use std::fmt;
use std::time::{Duration, Instant};

/// A part of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Embedding rows and rotations.
    Embed,
    /// Norms, SwiGLU, quantization.
    Elementwise,
    /// Matrix products of the layers.
    Product,
    /// Keys and values into the rings.
    Remember,
    /// Attention.
    Attend,
    /// The output head.
    Head,
}

const STAGES: [(Stage, &str); 6] = [
    (Stage::Embed, "embed"),
    (Stage::Elementwise, "elementwise"),
    (Stage::Product, "products"),
    (Stage::Remember, "remember"),
    (Stage::Attend, "attention"),
    (Stage::Head, "head"),
];

/// Time by stage; prints as microseconds a token.
#[derive(Clone, Debug)]
pub struct Profile {
    spent: [Duration; STAGES.len()],
    since: Instant,
    tokens: usize,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            spent: Default::default(),
            since: Instant::now(),
            tokens: 0,
        }
    }
}

impl Profile {
    /// A step of `tokens` begins.
    pub(super) fn start(&mut self, tokens: usize) {
        self.tokens += tokens;
        self.since = Instant::now();
    }

    /// The time since the last mark went into `stage`.
    pub(super) fn mark(&mut self, stage: Stage) {
        let now = Instant::now();
        for ((s, _), spent) in STAGES.iter().zip(&mut self.spent) {
            if *s == stage {
                *spent += now - self.since;
            }
        }
        self.since = now;
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_token = |d: Duration| d.as_secs_f64() * 1e6 / self.tokens.max(1) as f64;
        for ((_, name), &spent) in STAGES.iter().zip(&self.spent) {
            write!(f, "{name} {:.2}, ", per_token(spent))?;
        }
        write!(f, "sum {:.2}", per_token(self.spent.iter().sum()))
    }
}
