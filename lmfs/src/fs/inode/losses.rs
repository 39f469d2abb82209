//! Written data that had to be given up (errseq).

use crate::fs::error::{Error, Result};

/// Written data that had to be given up, and who knows. As the kernel does it (`Documentation/core-api/errseq_t.rst`):
/// each handle remembers how many losses it was told of, so that none takes the news from another.
#[derive(Debug, Default)]
pub struct Losses {
    count: u64,
    last: Option<Error>,
    told: bool,
}

impl Losses {
    /// One more.
    pub fn add(&mut self, error: Error) {
        self.count += 1;
        self.last = Some(error);
        self.told = false;
    }

    /// What a handle that is opened now was told of: all but the last if nobody knows of that yet.
    pub fn known(&self) -> u64 {
        self.count - u64::from(self.untold().is_some())
    }

    /// The last one, if nobody knows of it.
    pub fn untold(&self) -> Option<&Error> {
        self.last.as_ref().filter(|_| !self.told)
    }

    /// Tells somebody who was told of `seen` losses, and says of how many he knows now.
    pub fn tell(&mut self, seen: u64) -> (u64, Result<()>) {
        match &self.last {
            Some(error) if seen < self.count => {
                self.told = true;
                (self.count, Err(error.clone()))
            }
            _ => (seen, Ok(())),
        }
    }
}
