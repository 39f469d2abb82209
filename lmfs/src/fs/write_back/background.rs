//! The threads that store, and make durable, what nobody asked for.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::WriteBack;
use super::flush::Cold;
use crate::fs::journal::Journal;
use crate::task::wait;

/// How often a round begins.
const TICK: Duration = Duration::from_secs(1);

/// How long written bytes stay in memory. With a tick and the sync after it, they are on the disk within five seconds.
const AGE: Duration = Duration::from_millis(2500);

/// The threads, and how to end them.
#[derive(Default)]
pub struct Background {
    shared: Arc<(Mutex<bool>, Condvar)>,
    journal: Mutex<Option<Arc<Journal>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Background {
    /// Starts the threads. They end with [`Background::stop`], or when this is dropped.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn start(&self, write_back: &Arc<WriteBack>, journal: &Arc<Journal>) -> std::io::Result<()> {
        let (shared, write_back) = (self.shared.clone(), write_back.clone());
        self.thread("lmfs-flush", move || {
            while !ended(&shared) {
                // Failures are logged and counted there, and tried again at the next round.
                let _ = wait(write_back.round(AGE, Cold::Decode));
            }
        })?;
        *self.journal.lock() = Some(journal.clone());
        let journal = journal.clone();
        self.thread("lmfs-sync", move || journal.run())
    }

    fn thread(&self, name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        let thread = std::thread::Builder::new().name(name.into()).spawn(work)?;
        self.threads.lock().push(thread);
        Ok(())
    }

    /// Ends the threads and waits for them.
    pub fn stop(&self) {
        *self.shared.0.lock() = true;
        self.shared.1.notify_all();
        if let Some(journal) = self.journal.lock().take() {
            journal.stop();
        }
        for thread in std::mem::take(&mut *self.threads.lock()) {
            // A panic there was logged by the runtime; the final sync follows in any case.
            let _ = thread.join();
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Waits for a tick or the end, and says whether it is the end.
fn ended((stopped, wake): &(Mutex<bool>, Condvar)) -> bool {
    let mut stopped = stopped.lock();
    if !*stopped {
        wake.wait_for(&mut stopped, TICK);
    }
    *stopped
}
