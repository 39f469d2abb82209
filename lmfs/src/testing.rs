//! What several modules' tests need.

use std::time::{Duration, Instant};

/// Waits until `condition` holds, a minute at most.
#[track_caller]
pub fn until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
