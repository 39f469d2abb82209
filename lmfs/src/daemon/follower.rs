//! Follows HEAD of the bucket that a mounted store lies in.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::bucket::replica::Replica;
use crate::error_chain::explain;
use crate::fs::Filesystem;

/// How often it is looked whether a reader found an object gone.
const GLANCE: Duration = Duration::from_millis(500);

/// A thread that follows. It ends when this is dropped.
pub struct Follower {
    stop: Option<mpsc::Sender<()>>,
    replica: Arc<Replica>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Looks at HEAD every `poll`, and at once when an object is gone.
    ///
    /// # Errors
    /// A system that gives no threads.
    pub fn start(replica: Arc<Replica>, fs: &Arc<Filesystem>, poll: Duration) -> io::Result<Follower> {
        let (stop, stopped) = mpsc::channel();
        let fs = Arc::downgrade(fs);
        let followed = Arc::clone(&replica);
        let follow = move || follow(&followed, &fs, poll, &stopped);
        let thread = thread::Builder::new().name("follow".into()).spawn(follow)?;
        Ok(Follower {
            stop: Some(stop),
            replica,
            thread: Some(thread),
        })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop = None;
        self.replica.stop();
        if let Some(thread) = self.thread.take() {
            // It logs what goes wrong, and has nothing else to say.
            let _ = thread.join();
        }
    }
}

fn follow(replica: &Replica, fs: &Weak<Filesystem>, poll: Duration, stopped: &mpsc::Receiver<()>) {
    let mut looked = Instant::now();
    let (mut failing, mut behind, mut in_vain) = (false, false, false);
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(GLANCE.min(poll)) {
        behind |= replica.was_behind();
        // If nothing newer came, asking more often does not help.
        if (!behind || in_vain) && looked.elapsed() < poll {
            continue;
        }
        looked = Instant::now();
        let Some(fs) = fs.upgrade() else { return };
        let followed = replica.follow(|| Ok(fs.reload()?));
        in_vain = behind && !matches!(followed, Ok(true));
        match followed {
            Ok(is_new) => {
                if is_new {
                    tracing::info!("up to transaction {}", fs.store().seq());
                } else if behind {
                    tracing::error!("HEAD names objects that are gone, and there is no newer one");
                }
                failing = false;
            }
            Err(_) if stopped.try_recv() == Err(TryRecvError::Disconnected) => return,
            Err(error) if !failing => {
                tracing::warn!(
                    "cannot follow the bucket, and what was there stays mounted: {}",
                    explain(&error)
                );
                failing = true;
            }
            Err(_) => {}
        }
        behind = false;
    }
}
