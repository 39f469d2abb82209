//! How long each side waits for the other.

use std::time::Duration;

/// How long each side waits for the other.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Who has nothing else to say shows so often that it is there.
    pub alive: Duration,
    /// Who has not shown for so long who it is, is sent away.
    pub greeting: Duration,
    /// Who has said nothing for so long is gone.
    pub silence: Duration,
    /// The longest that one message may take to be sent or received.
    pub message: Duration,
    /// The longest that a worker may take for one block.
    pub lease: Duration,
    /// The longest that a worker tries to reach a packer.
    pub patience: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            alive: Duration::from_secs(5),
            greeting: Duration::from_secs(10),
            silence: Duration::from_secs(30),
            message: Duration::from_secs(60),
            lease: Duration::from_secs(30 * 60),
            patience: Duration::from_secs(5 * 60),
        }
    }
}
