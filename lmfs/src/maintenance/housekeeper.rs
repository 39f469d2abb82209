//! Garbage collection and checkpoints in the background of a mount, and parity for what was sealed meanwhile.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lmfs_codec::Stop;
use lmfs_indexer::{Error, Store};

use super::gc_policy::{Effort, collect_garbage};

/// How often the housekeeper looks whether something is due. Looking costs one lookup.
const INTERVAL: Duration = Duration::from_secs(30);

/// The thread. Dropping it ends it at its next step and waits for it.
#[derive(Debug)]
pub struct Housekeeper {
    stop: Stop,
    /// Dropped to wake the thread.
    awake: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Housekeeper {
    /// Starts it.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(store: Arc<Store>) -> std::io::Result<Housekeeper> {
        Housekeeper::every(INTERVAL, store)
    }

    fn every(interval: Duration, store: Arc<Store>) -> std::io::Result<Housekeeper> {
        let stop = Stop::new();
        let (awake, sleep) = mpsc::channel();
        let flag = stop.clone();
        let thread = thread::Builder::new().name("lmfs-housekeep".into()).spawn(move || {
            let (mut gc_trouble, mut parity_trouble) = (String::new(), String::new());
            while sleep.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                gc_trouble = collect(&store, &flag, gc_trouble);
                parity_trouble = make_parity(&store, &flag, parity_trouble);
            }
        })?;
        Ok(Housekeeper {
            stop,
            awake: Some(awake),
            thread: Some(thread),
        })
    }
}

impl Drop for Housekeeper {
    fn drop(&mut self) {
        self.stop.set();
        drop(self.awake.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was logged by the runtime.
            let _ = thread.join();
        }
    }
}

/// Collects what is due. Returns what is wrong, which is logged only when it is not what was wrong `before`.
fn collect(store: &Store, stop: &Stop, before: String) -> String {
    // So that opening after a crash need not replay everything that ever happened.
    match store.checkpoint_if_due() {
        Ok(true) => tracing::info!("wrote a checkpoint"),
        Ok(false) => {}
        Err(error) => tracing::debug!("cannot write a checkpoint, will try again: {error}"),
    }
    match collect_garbage(store, Effort::Background, stop, &mut |_| ()) {
        Ok(done) => {
            if done.deleted_segments > 0 {
                tracing::info!(
                    freed_bytes = done.freed_bytes,
                    segments = done.deleted_segments,
                    "collected garbage"
                );
            }
            let trouble = done.damaged.join("; ");
            if !trouble.is_empty() && trouble != before {
                tracing::warn!("garbage collection left alone what it could not read or delete: {trouble}");
            }
            trouble
        }
        Err(Error::Interrupted) => before,
        Err(error) => {
            let trouble = error.to_string();
            if trouble != before {
                tracing::warn!("cannot collect garbage, will try again: {trouble}");
            }
            trouble
        }
    }
}

/// Makes the parity of segments that were sealed since. Returns why it could not, which is logged only when it is not
/// why it could not `before`.
fn make_parity(store: &Store, stop: &Stop, before: String) -> String {
    match store.make_parity(&mut |_| !stop.is_set()) {
        Ok(done) => {
            // Each is named once by the store.
            done.refused
                .iter()
                .for_each(|why| tracing::error!("{why}; run `lmfs check --data`"));
            String::new()
        }
        Err(Error::Interrupted) => before,
        Err(error) => {
            let trouble = error.to_string();
            if trouble != before {
                tracing::warn!("cannot make parity, will try again: {trouble}");
            }
            trouble
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use lmfs_indexer::io::{Fault, FaultIo};
    use lmfs_indexer::{Change, CreateOptions, MIN_SEGMENT, MemIo, OpenOptions};

    use super::*;
    use crate::testing::logged;

    /// It was logged every half a minute.
    #[test]
    fn why_no_parity_can_be_made_is_logged_once() {
        let io = Arc::new(FaultIo::new(Arc::new(MemIo::new())));
        let mut create = CreateOptions::new([1; 16]);
        create.segment_size = MIN_SEGMENT;
        let store = Store::create(io.clone(), create).unwrap();
        for block in 0..4u8 {
            let _r = store.append_block(&[block; 3000]).unwrap();
        }
        store.close().unwrap();
        let options = OpenOptions {
            parity: 5,
            segment_size: MIN_SEGMENT,
            ..OpenOptions::default()
        };
        let (store, _) = Store::open(io.clone(), options).unwrap();
        let (stop, mut trouble) = (Stop::new(), String::new());
        let mut run = |times| {
            logged(|| (0..times).for_each(|_| trouble = make_parity(&store, &stop, std::mem::take(&mut trouble))))
        };
        io.fail(Fault::NoSpace, 0, u64::MAX);
        let said = run(3);
        assert_eq!(said.matches("cannot make parity").count(), 1, "{said}");
        io.mend();
        assert_eq!(run(1), "");
        assert!(store.totals().parity_bytes > 0);
        io.fail(Fault::NoSpace, 0, u64::MAX);
        assert_eq!(run(1), "", "there is nothing to make");
    }

    #[test]
    fn what_is_deleted_gives_its_space_back_by_itself() {
        let store = super::super::gc_policy::tests::store(80);
        let housekeeper = Housekeeper::every(Duration::from_millis(5), store.clone()).unwrap();
        let before = store.totals().log_bytes;
        let _cut = store.commit(vec![Change::TruncateExtents { ino: 5, from: 8 }]).unwrap();
        store.sync().unwrap();
        crate::testing::until("the space is given back", || store.totals().log_bytes <= before / 2);
        drop(housekeeper);
        let extent = store.extent(5, 7).unwrap().unwrap();
        assert_eq!(store.read_block(&extent).unwrap(), vec![7; 1 << 16]);
    }
}
