//! Packing in the background: whenever files have been left alone for long enough.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use lmfs_codec::Method;
use lmfs_indexer::{Change, Totals};
use parking_lot::{Condvar, Mutex};
use tracing::{debug, error, info, warn};

use super::Packer;
use super::error::Error;
use super::job::{Again, JobSpec};
use super::queue::Scope;
use super::run::run;
use super::status::{State, queue};
use crate::store::Tag;

/// How often the queue, one number, is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// With less than this packed, looking for dictionaries in all of a store is not worth it.
const LEAST_AGAIN: u64 = 256 << 10;

/// The meta row that says how many bytes were packed when all of the store was last looked at, in 8 bytes.
const LOOKED_AT: &[u8] = b"looked-at";

/// Bytes that the blocks decode to that predicting methods coded.
fn packed_bytes(totals: &Totals) -> u64 {
    let coded = |tag: u8| matches!(Tag(tag).method(), Some(Method::Mix | Method::Model));
    let tags = totals.by_tag.iter().filter(|(tag, _)| coded(**tag));
    tags.map(|(_, sum)| sum.raw_bytes).sum()
}

/// The background packer's thread. Dropping it stops the thread within a step of the model and waits for it.
pub struct Background {
    packer: Arc<Packer>,
    ended: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Packer {
    /// Packs idle files in the background until the returned handle is dropped.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn spawn_background(self: &Arc<Self>) -> std::io::Result<Background> {
        let ended = Arc::new((Mutex::new(false), Condvar::new()));
        let (packer, flag) = (Arc::clone(self), Arc::clone(&ended));
        self.statistics.lock().rest(State::Waiting);
        let thread = std::thread::Builder::new()
            .name("lmfs-packer".to_owned())
            .spawn(move || packer.watch(&flag))?;
        Ok(Background {
            packer: Arc::clone(self),
            ended,
            thread: Some(thread),
        })
    }

    fn watch(&self, ended: &(Mutex<bool>, Condvar)) {
        let mut pause = INTERVAL;
        let mut quiet = Duration::ZERO;
        loop {
            if wait(ended, pause) {
                return;
            }
            let totals = self.store.totals();
            if queue(&totals).0 > 0 {
                quiet = Duration::ZERO;
                pause = self.pass(ended, Again::Never);
                continue;
            }
            quiet += pause;
            pause = INTERVAL;
            if quiet >= self.options.idle && !self.environment.is_busy() && self.should_look_again(&totals) {
                quiet = Duration::ZERO;
                pause = self.pass(ended, Again::Learned);
            }
        }
    }

    /// Whether so much was packed since all of the store was last looked at that a new look may find better
    /// dictionaries.
    pub(super) fn should_look_again(&self, totals: &Totals) -> bool {
        let packed = packed_bytes(totals);
        if packed < LEAST_AGAIN {
            return false;
        }
        match self.store.meta(LOOKED_AT) {
            Ok(value) => {
                let before = value.and_then(|value| Some(u64::from_le_bytes(value.try_into().ok()?)));
                packed >= before.unwrap_or(0).saturating_mul(2)
            }
            Err(error) => {
                warn!(%error, "the store is not packed again");
                false
            }
        }
    }

    /// Notes that all of the store was looked at.
    pub(super) fn looked(&self) -> Result<(), Error> {
        let value = packed_bytes(&self.store.totals()).to_le_bytes().to_vec();
        let key = LOOKED_AT.to_vec();
        let _report = self.store.commit(vec![Change::PutMeta { key, value }])?;
        Ok(())
    }

    /// One run over the idle files; returns how long to wait before the next.
    fn pass(&self, ended: &(Mutex<bool>, Condvar), again: Again) -> Duration {
        let Some((_turn, stop)) = self.run_lock.for_background() else {
            return INTERVAL;
        };
        if *ended.0.lock() {
            return Duration::ZERO;
        }
        let now = self.environment.now();
        let spec = JobSpec {
            scope: &Scope::All,
            idle: Some((now, self.options.idle)),
            threads: self.options.threads(0),
            again,
            helpers: None,
        };
        let work = || {
            let run = run(self, &spec, &|_| (), &stop)?;
            match again {
                Again::Never => {}
                Again::Learned | Again::All => self.looked()?,
            }
            Ok(run)
        };
        let result = std::panic::catch_unwind(AssertUnwindSafe(work));
        match result {
            Ok(Ok(run)) => {
                let summary = run.summary;
                if summary.progress.done_bytes > 0 {
                    info!(
                        bytes = summary.progress.done_bytes,
                        before = summary.progress.before_bytes,
                        after = summary.progress.after_bytes,
                        seconds = summary.seconds,
                        "packed idle files"
                    );
                }
                // Nothing becomes idle sooner than the first of what is not idle yet, and what will be written from
                // now on takes longer still.
                let due = run.next_idle.map(|due| due.duration_since(now).unwrap_or_default());
                due.unwrap_or(self.options.idle).max(INTERVAL)
            }
            Ok(Err(Error::Interrupted)) => {
                debug!("packing in the background makes way");
                INTERVAL
            }
            Ok(Err(error)) => {
                warn!(%error, retry = ?self.options.retry, "packing in the background will try again");
                self.options.retry
            }
            Err(_) => {
                error!("the packer panicked; the store is as it was after the last batch");
                self.statistics.lock().panicked();
                self.options.retry
            }
        }
    }
}

/// Waits for `pause` or the end, and says whether it is the end.
fn wait((ended, wake): &(Mutex<bool>, Condvar), pause: Duration) -> bool {
    let mut ended = ended.lock();
    wake.wait_while_for(&mut ended, |ended| !*ended, pause);
    *ended
}

impl Drop for Background {
    fn drop(&mut self) {
        *self.ended.0.lock() = true;
        self.ended.1.notify_all();
        self.packer.run_lock.stop_background();
        if let Some(thread) = self.thread.take() {
            // The thread catches its panics, and there is nobody to tell here.
            let _ = thread.join();
        }
        self.packer.statistics.lock().rest(State::Off);
    }
}
