//! Waiting for what another process does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Far above what anything waited for takes, on a busy machine too.
const DEADLINE: Duration = Duration::from_secs(120);

/// How often it is looked.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits until `condition` holds; fails the test when that takes two minutes.
#[track_caller]
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    assert!(happens(condition), "not in {DEADLINE:?}: {what}");
}

/// Waits two minutes at most for `condition`, and returns whether it held: for who has to tidy up before failing.
pub fn happens(condition: impl FnMut() -> bool) -> bool {
    within(DEADLINE, condition)
}

/// Sets its flag when it is dropped, also by a panic: threads that work until the flag is set end then. Without that a
/// test that fails would wait for them for ever.
pub struct SetOnDrop<'a>(pub &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Waits so long at most for `condition`, and returns whether it held.
pub(crate) fn within(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if begun.elapsed() > deadline {
            return false;
        }
        std::thread::sleep(PAUSE);
    }
}
