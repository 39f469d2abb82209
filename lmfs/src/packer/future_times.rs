//! Files whose last change lies ahead of the clock, as after a clock that was wrong or in a store from another machine.

use std::collections::HashMap;
use std::time::SystemTime;

use lmfs_indexer::Time;

/// When this process first saw such a change: from then on its own clock tells how long the file has been left alone.
/// One per packer; each look at all files makes it anew, with what it still finds.
#[derive(Clone, Debug, Default)]
pub(super) struct FutureTimes(HashMap<u64, (Time, SystemTime)>);

impl FutureTimes {
    /// When the change of `ino` at `changed` was first seen, which is `now` unless `before` knows better.
    pub fn first_seen(&mut self, before: &FutureTimes, ino: u64, changed: Time, now: SystemTime) -> SystemTime {
        let known = before
            .0
            .get(&ino)
            .filter(|(then, seen)| *then == changed && *seen <= now);
        let seen = known.map_or(now, |(_, seen)| *seen);
        self.0.insert(ino, (changed, seen));
        seen
    }
}
