//! A rate limit (`--max-rate`) on how fast the log is read, shared by all threads that read it.

use std::thread;
use std::time::{Duration, Instant};

use lmfs_codec::Stop;
use parking_lot::Mutex;

/// Bytes a second, or as many as there are.
#[derive(Debug)]
pub struct Pace {
    per_second: Option<u64>,
    /// When the next byte may be read.
    next: Mutex<Instant>,
}

impl Pace {
    /// At most `per_second` bytes; none or 0: no limit.
    #[must_use]
    pub fn new(per_second: Option<u64>) -> Pace {
        Pace {
            per_second: per_second.filter(|n| *n > 0),
            next: Mutex::new(Instant::now()),
        }
    }

    /// Bytes that may be read in `time`.
    #[must_use]
    pub fn within(&self, time: Duration) -> Option<u64> {
        Some((self.per_second? as f64 * time.as_secs_f64()) as u64)
    }

    /// Waits until `bytes` may be read.
    pub fn take(&self, bytes: u64, stop: &Stop) {
        let Some(rate) = self.per_second else { return };
        let start = {
            let mut next = self.next.lock();
            let start = (*next).max(Instant::now());
            *next = start + Duration::from_secs_f64(bytes as f64 / rate as f64);
            start
        };
        loop {
            let left = start.saturating_duration_since(Instant::now());
            if left.is_zero() || stop.is_set() {
                return;
            }
            thread::sleep(left.min(Stop::TICK));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_allowed_and_a_stop_ends_the_wait() {
        let pace = Pace::new(Some(1_000_000));
        let begun = Instant::now();
        let stop = Stop::new();
        for _ in 0..11 {
            pace.take(10_000, &stop);
        }
        // The first goes at once, each of the others 10 ms later.
        assert!(begun.elapsed() >= Duration::from_millis(100));
        pace.take(1 << 40, &stop);
        stop.set();
        pace.take(1, &stop);
        Pace::new(None).take(u64::MAX, &Stop::new());
    }
}
