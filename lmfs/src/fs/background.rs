//! The thread that flushes and syncs what nobody asked to be synced.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::Filesystem;

/// How often it looks.
const TICK: Duration = Duration::from_secs(1);

/// How long written bytes stay in memory. With a tick and the sync after it, they are on the disk within five seconds.
const AGE: Duration = Duration::from_millis(2500);

/// The thread, and how to end it.
#[derive(Default)]
pub struct Background {
    shared: Arc<(Mutex<bool>, Condvar)>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Background {
    /// Starts the thread. It ends with [`Background::stop`], or when the filesystem is dropped.
    pub fn start(&self, fs: &Arc<Filesystem>) -> std::io::Result<()> {
        if fs.options.read_only {
            return Ok(());
        }
        let shared = self.shared.clone();
        let fs = Arc::downgrade(fs);
        let work = move || {
            let (stopped, wake) = &*shared;
            loop {
                let mut stopped = stopped.lock();
                if !*stopped {
                    wake.wait_for(&mut stopped, TICK);
                }
                if *stopped {
                    return;
                }
                drop(stopped);
                match fs.upgrade() {
                    Some(fs) => fs.settle(),
                    None => return,
                }
            }
        };
        let thread = std::thread::Builder::new().name("lmfs-flush".into()).spawn(work)?;
        *self.thread.lock() = Some(thread);
        Ok(())
    }

    /// Ends the thread and waits for it.
    pub fn stop(&self) {
        *self.shared.0.lock() = true;
        self.shared.1.notify_all();
        if let Some(thread) = self.thread.lock().take()
            && thread.thread().id() != std::thread::current().id()
        {
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

impl Filesystem {
    fn settle(&self) {
        self.flush_older(AGE);
        if self.unsynced.load(Ordering::SeqCst)
            && let Err(error) = self.sync_log()
        {
            tracing::error!("cannot make the log durable: {error}");
        }
    }
}
