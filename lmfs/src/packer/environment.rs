//! What the packer asks of the program around it: the time, and whether somebody waits.

use std::time::{Duration, SystemTime};

/// The surroundings of a packer. A test's clock stands still until it is told to go.
pub trait Environment: Send + Sync {
    /// The time that change times of files are compared with.
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    /// Whether readers wait for blocks to be decoded.
    fn is_busy(&self) -> bool {
        false
    }

    /// Waits while readers wait for blocks to be decoded, for at most `at_most`, and until `is_over`: whoever makes
    /// that true calls [`Environment::wake`].
    fn wait_for_readers(&self, at_most: Duration, is_over: &dyn Fn() -> bool) {
        let _ = (at_most, is_over);
    }

    /// Has everybody in [`Environment::wait_for_readers`] look whether it is over.
    fn wake(&self) {}
}

/// Nobody else uses the store.
pub struct Offline;

impl Environment for Offline {}
