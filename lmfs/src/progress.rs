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

/// How often progress is reported.
const INTERVAL: Duration = Duration::from_millis(100);

/// Limits how often progress is reported by what handles every record or row.
#[derive(Debug, Default)]
pub struct Throttle(Option<Instant>);

impl Throttle {
    /// Whether it is time to report again.
    pub fn is_due(&mut self) -> bool {
        let due = self.0.is_none_or(|last| last.elapsed() >= INTERVAL);
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }
}
