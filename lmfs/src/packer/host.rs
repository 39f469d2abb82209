//! What the packer asks of the program around it: the time, and whether somebody waits.

use std::time::SystemTime;

/// The surroundings of a packer. A test's clock stands still until it is told to go.
pub trait Host: Send + Sync {
    /// The time that change times of files are compared with.
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    /// Whether readers wait for blocks to be decoded: the background packer holds back while they do.
    fn is_busy(&self) -> bool {
        false
    }
}

/// Nobody else uses the store.
pub struct Unattended;

impl Host for Unattended {}
