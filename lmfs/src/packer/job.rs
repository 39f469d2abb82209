//! What a run of the packer is asked to do.

use std::time::{Duration, SystemTime};

use super::encode::Helpers;
use super::queue::Scope;

/// The longest that the background packer holds back for one block because readers wait.
pub(super) const COURTESY: Duration = Duration::from_secs(2);

/// What a run is to do.
pub(super) struct JobSpec<'a> {
    pub scope: &'a Scope,
    /// Only files that had not changed for so long at this time; a run of the background, which makes way for readers.
    pub idle: Option<(SystemTime, Duration)>,
    pub threads: usize,
    /// What is done about blocks that are packed already.
    pub again: Again,
    /// Others who encode blocks, too.
    pub helpers: Option<&'a dyn Helpers>,
}

/// Which blocks that are packed already are packed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// None.
    Never,
    /// Those of files that a new dictionary is for.
    Learned,
    /// All.
    All,
}
