//! The threads that flush and sync what nobody asked to be synced.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::Filesystem;

/// How often they look.
const TICK: Duration = Duration::from_secs(1);

/// How long written bytes stay in memory. With a tick and the sync after it, they are on the disk within five seconds.
const AGE: Duration = Duration::from_millis(2500);

/// The threads, and how to end them. There are two, because a flush may have to wait for decodes, and what was committed
/// must not wait for that.
#[derive(Default)]
pub struct Background {
    shared: Arc<(Mutex<bool>, Condvar)>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Background {
    /// Starts the threads. They end with [`Background::stop`], or when the filesystem is dropped.
    pub fn start(&self, fs: &Arc<Filesystem>) -> std::io::Result<()> {
        if fs.options.read_only {
            return Ok(());
        }
        self.every_tick("lmfs-flush", fs, |fs| fs.flush_older(AGE))?;
        self.every_tick("lmfs-sync", fs, Filesystem::sync_if_due)
    }

    fn every_tick(&self, name: &str, fs: &Arc<Filesystem>, act: fn(&Filesystem)) -> std::io::Result<()> {
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
                    Some(fs) => act(&fs),
                    None => return,
                }
            }
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(work)?;
        self.threads.lock().push(thread);
        Ok(())
    }

    /// Ends the threads and waits for them.
    pub fn stop(&self) {
        *self.shared.0.lock() = true;
        self.shared.1.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock());
        let me = std::thread::current().id();
        for thread in threads.into_iter().filter(|thread| thread.thread().id() != me) {
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
    fn sync_if_due(&self) {
        if self.unsynced.load(Ordering::SeqCst) {
            // Counted and logged there, and tried again here.
            let _ = self.sync_log();
        }
    }
}
