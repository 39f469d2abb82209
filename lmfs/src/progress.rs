//! How far something is that takes time.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// How far something is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done, for people: `packing`.
    pub stage: String,
    /// Bytes done.
    pub done: u64,
    /// Bytes to do; 0 if nobody knows.
    pub total: u64,
    /// Anything else worth showing, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl Progress {
    /// So many bytes of all are done.
    #[must_use]
    pub fn new(stage: &str, done: u64, total: u64) -> Progress {
        Progress {
            stage: stage.to_owned(),
            done,
            total,
            note: String::new(),
        }
    }
}

/// How often it is worth telling.
const TICK: Duration = Duration::from_millis(100);

/// What hears of every record or row need not tell of each.
#[derive(Debug, Default)]
pub struct Pulse(Option<Instant>);

impl Pulse {
    /// Whether it is time to tell again.
    pub fn due(&mut self) -> bool {
        let due = self.0.is_none_or(|last| last.elapsed() >= TICK);
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }
}
