//! One run at a time. A run of the background makes way for one that a user asked for.

use lmfs_codec::Stop;
use parking_lot::{Condvar, Mutex};

/// Whose turn it is.
#[derive(Default)]
pub(super) struct RunLock {
    state: Mutex<State>,
    over: Condvar,
}

#[derive(Default)]
struct State {
    taken: bool,
    /// Users who wait. The background begins no run while there are any.
    users: usize,
    /// Ends the background's run.
    background: Stop,
}

/// The right to run, as long as this lives.
pub(super) struct RunGuard<'a>(&'a RunLock);

impl RunLock {
    /// A user's turn. A run of the background is stopped for it, and another user's is waited for. None if `stop` is
    /// set before it comes.
    pub fn for_user(&self, stop: &Stop) -> Option<RunGuard<'_>> {
        let mut state = self.state.lock();
        state.users += 1;
        state.background.set();
        while state.taken && !stop.is_set() {
            self.over.wait_for(&mut state, Stop::TICK);
        }
        state.users -= 1;
        self.take(&mut state)
    }

    /// The background's turn, and what stops it. None while somebody else has it or waits for it.
    pub fn for_background(&self) -> Option<(RunGuard<'_>, Stop)> {
        let mut state = self.state.lock();
        if state.users > 0 {
            return None;
        }
        let turn = self.take(&mut state)?;
        state.background = Stop::new();
        Some((turn, state.background.clone()))
    }

    /// Stops the background's run, if it has the turn.
    pub fn stop_background(&self) {
        self.state.lock().background.set();
    }

    fn take(&self, state: &mut State) -> Option<RunGuard<'_>> {
        let is_free = !std::mem::replace(&mut state.taken, true);
        // Not `then_some`: a turn that is made and not given would end somebody else's.
        is_free.then(|| RunGuard(self))
    }
}

impl Drop for RunGuard<'_> {
    fn drop(&mut self) {
        self.0.state.lock().taken = false;
        self.0.over.notify_all();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::testing::until;

    #[test]
    fn a_user_stops_the_background_and_comes_before_its_next_run() {
        let lock = RunLock::default();
        let (background, stop) = lock.for_background().unwrap();
        std::thread::scope(|scope| {
            let user = scope.spawn(|| lock.for_user(&Stop::new()).is_some());
            until("the background is stopped", || stop.is_set());
            assert!(lock.for_background().is_none());
            drop(background);
            assert!(user.join().unwrap());
        });
        assert!(lock.for_background().is_some());
    }

    #[test]
    fn a_user_who_waits_for_another_can_give_up() {
        let lock = RunLock::default();
        let first = lock.for_user(&Stop::new());
        let stop = Stop::new();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| lock.for_user(&stop).is_none());
            stop.set();
            assert!(second.join().unwrap());
        });
        drop(first);
        assert!(lock.for_background().is_some());
    }
}
