//! Group commit: threads that ask for durability at the same time share one fdatasync.

use super::Position;
use crate::{Error, Result};
use parking_lot::{Condvar, Mutex, MutexGuard};

/// Why nothing is promised any more.
#[derive(Clone, Debug)]
enum Failure {
    /// A sync failed. The kernel may have dropped what it could not write, and a second fdatasync would say "fine".
    Sync(String),
    /// The files are no longer those that this process writes to.
    Replaced(String),
}

impl Failure {
    fn error(&self) -> Error {
        match self {
            Failure::Sync(why) => Error::WritesFailed(why.clone()),
            Failure::Replaced(why) => Error::Replaced(why.clone()),
        }
    }
}

#[derive(Default)]
struct State {
    durable: Position,
    running: bool,
    /// The first failure; it is final.
    failed: Option<Failure>,
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
        self.state.lock()
    }

    pub(crate) fn durable(&self) -> Position {
        self.lock().durable
    }

    /// An error once a sync has failed.
    pub(crate) fn check(&self) -> Result<()> {
        match &self.lock().failed {
            Some(failure) => Err(failure.error()),
            None => Ok(()),
        }
    }

    /// Notes a failed sync.
    pub(crate) fn fail(&self, why: String) -> Error {
        self.stop(Failure::Sync(why))
    }

    /// Notes that the files were replaced.
    pub(crate) fn replaced(&self, why: String) -> Error {
        self.stop(Failure::Replaced(why))
    }

    fn stop(&self, failure: Failure) -> Error {
        let mut state = self.lock();
        if state.failed.is_none() {
            tracing::error!("{}", failure.error());
        }
        let error = state.failed.get_or_insert(failure).error();
        self.done.notify_all();
        error
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
            if let Some(failure) = &state.failed {
                return Err(failure.error());
            }
            if state.durable >= target {
                return Ok(());
            }
            if state.running {
                self.done.wait(&mut state);
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
