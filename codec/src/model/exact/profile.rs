//! Where the time of a step goes, for benches.

use std::fmt;
use std::time::Instant;

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

/// Time by stage and step. On a machine that others use too, the steps that nothing disturbed tell the cost, so it
/// prints the 10 % quantile over the steps, as microseconds a token.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// Microseconds a token, by stage.
    steps: Vec<[f64; STAGES.len()]>,
    since: Option<Instant>,
    tokens: usize,
}

impl Profile {
    /// A step of `tokens` begins.
    pub(super) fn start(&mut self, tokens: usize) {
        self.tokens = tokens;
        self.steps.push(Default::default());
        self.since = Some(Instant::now());
    }

    /// The time since the last mark went into `stage`.
    pub(super) fn mark(&mut self, stage: Stage) {
        let now = Instant::now();
        if let (Some(since), Some(step)) = (self.since, self.steps.last_mut()) {
            for ((s, _), spent) in STAGES.iter().zip(step) {
                if *s == stage {
                    *spent += (now - since).as_secs_f64() * 1e6 / self.tokens.max(1) as f64;
                }
            }
        }
        self.since = Some(now);
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quantile = |mut times: Vec<f64>| {
            times.sort_by(f64::total_cmp);
            times.get(times.len() / 10).copied().unwrap_or_default()
        };
        for (i, (_, name)) in STAGES.iter().enumerate() {
            let times = self.steps.iter().filter_map(|step| step.get(i).copied());
            write!(f, "{name} {:.2}, ", quantile(times.collect()))?;
        }
        let sums = self.steps.iter().map(|step| step.iter().sum());
        write!(f, "whole step {:.2}", quantile(sums.collect()))
    }
}
