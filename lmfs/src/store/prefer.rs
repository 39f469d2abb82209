//! Whether blocks are to be small or quick to read: how much the language model has to save.

use std::fmt;
use std::str::FromStr;

use lmfs_codec::Options;
use serde::{Deserialize, Serialize};

/// What a store prefers where a smaller block is one that is read more slowly. It only says how blocks are made: each
/// is read as it says itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Prefer {
    /// Never ask the language model.
    Speed,
    /// Ask the language model where it saves much for the time that reading then takes.
    #[default]
    Balanced,
    /// Take the smallest block.
    Size,
}

impl Prefer {
    const ALL: [Prefer; 3] = [Prefer::Speed, Prefer::Balanced, Prefer::Size];

    /// Sets what the codec is to do.
    pub fn apply(self, options: &mut Options) {
        match self {
            Prefer::Speed => options.model = false,
            Prefer::Balanced => options.model_worth = BALANCED,
            Prefer::Size => options.model_worth = 0,
        }
    }
}

/// Bytes of each KiB that the language model must save: about 2,000 for each second of reading. docs/BENCHMARKS.md has
/// what other numbers give.
const BALANCED: u32 = 40;

/// Text that names no [`Prefer`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' cannot be preferred: speed, balanced and size can")]
pub struct UnknownPreference(String);

impl FromStr for Prefer {
    type Err = UnknownPreference;

    fn from_str(text: &str) -> Result<Prefer, UnknownPreference> {
        let found = Prefer::ALL.into_iter().find(|prefer| prefer.to_string() == text);
        found.ok_or_else(|| UnknownPreference(text.to_owned()))
    }
}

impl fmt::Display for Prefer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Prefer::Speed => "speed",
            Prefer::Balanced => "balanced",
            Prefer::Size => "size",
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_each_asks_the_model_less() {
        for prefer in Prefer::ALL {
            assert_eq!(prefer.to_string().parse::<Prefer>().unwrap(), prefer);
            assert_eq!(serde_json::to_string(&prefer).unwrap(), format!("\"{prefer}\""));
        }
        assert!("fast".parse::<Prefer>().is_err());
        let [speed, balanced, size] = Prefer::ALL.map(|prefer| {
            let mut options = Options::default();
            prefer.apply(&mut options);
            (options.model, options.model_worth)
        });
        assert!(!speed.0 && balanced.0 && size.0);
        assert!(balanced.1 > size.1 && size.1 == 0);
    }
}
