//! Group commit: threads that ask for durability at the same time share one fdatasync.

use super::Position;
use crate::{Error, Result};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
struct State {
    durable: Position,
    running: bool,
    /// The first failed sync. The kernel may have dropped what it could not write, and a second fdatasync would
    /// say "fine": so nothing is promised any more.
    failed: Option<String>,
}

/// Up to where the log is durable, and who is making it so.
#[derive(Default)]
pub(crate) struct Durability {
    state: Mutex<State>,
    done: Condvar,
}

impl Durability {
    pub(crate) fn new(durable: Position) -> Self {
        Self {
            state: Mutex::new(State {
                durable,
                ..State::default()
            }),
            done: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn durable(&self) -> Position {
        self.lock().durable
    }

    /// An error once a sync has failed.
    pub(crate) fn check(&self) -> Result<()> {
        match &self.lock().failed {
            Some(why) => Err(Error::WritesFailed(why.clone())),
            None => Ok(()),
        }
    }

    pub(crate) fn fail(&self, why: String) -> Error {
        tracing::error!("{why}: nothing more is written to this store");
        let mut state = self.lock();
        let why = state.failed.get_or_insert(why).clone();
        self.done.notify_all();
        Error::WritesFailed(why)
    }

    /// Notes that all up to `position` is durable.
    pub(crate) fn advance(&self, position: Position) {
        let mut state = self.lock();
        state.durable = state.durable.max(position);
        self.done.notify_all();
    }

    /// Returns when all up to `target` is durable. `flush` makes the log durable and says up to where; one thread at a
    /// time runs it, for all that wait.
    pub(crate) fn reach(&self, target: Position, flush: impl Fn() -> Result<Position>) -> Result<()> {
        let mut state = self.lock();
        loop {
            if let Some(why) = &state.failed {
                return Err(Error::WritesFailed(why.clone()));
            }
            if state.durable >= target {
                return Ok(());
            }
            if state.running {
                state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.running = true;
            drop(state);
            let flushed = flush();
            state = self.lock();
            state.running = false;
            match flushed {
                Ok(position) => state.durable = state.durable.max(position),
                Err(e) => {
                    drop(state);
                    self.fail(e.to_string());
                    state = self.lock();
                }
            }
            self.done.notify_all();
        }
    }
}
