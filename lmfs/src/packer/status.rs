//! What the packer tells of itself.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use lmfs_indexer::{BlockRef, Extent, Totals};
use serde::{Deserialize, Serialize};

use super::error::Error;
use crate::store::Tag;

/// What the packer does now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nobody asked for anything: packing in the background is off.
    #[default]
    Off,
    /// The background packer waits for files to be left alone.
    Waiting,
    /// Blocks are being packed.
    Packing,
    /// The disk is full; the background packer will try again.
    DiskFull,
    /// The last run failed; [`Status::last_error`] says why.
    Failed,
}

/// How far a run is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Bytes that the run found waiting.
    pub total_bytes: u64,
    /// Bytes of the blocks that it is done with.
    pub done_bytes: u64,
    /// Bytes that these blocks took as they were staged.
    pub before_bytes: u64,
    /// Bytes that they take now.
    pub after_bytes: u64,
    /// Bytes a second over the whole run.
    pub bytes_per_second: f64,
    /// Workers on other machines that help now.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub workers: u64,
    /// Bytes of the blocks that they encoded.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub worker_bytes: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a run did.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Summary {
    /// How far it came.
    #[serde(flatten)]
    pub progress: Progress,
    /// Blocks that became smaller.
    pub blocks_packed: u64,
    /// Blocks that need no room of their own any more, because another stored block has the same bytes.
    pub blocks_shared: u64,
    /// Blocks for which nothing smaller was found than they were staged as.
    pub blocks_kept: u64,
    /// Blocks that were written while they were packed, and so stayed as they are.
    pub blocks_changed: u64,
    /// Blocks that could not be read or encoded; the log names them.
    pub blocks_failed: u64,
    /// Dictionaries that were learned.
    #[serde(default)]
    pub dictionaries_learned: u64,
    /// Bytes of the log that the collection of garbage gave back.
    pub freed_bytes: u64,
    /// How long it took.
    pub seconds: f64,
}

/// The packer as `lmfs status` shows it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    /// What it does now.
    pub state: State,
    /// The run under way, or else the last one.
    pub run: Summary,
    /// Blocks packed since the store was opened.
    pub blocks_packed: u64,
    /// Blocks since the store was opened that could not be read or encoded.
    pub blocks_failed: u64,
    /// Why the last run ended early, if it did.
    pub last_error: Option<String>,
}

/// Where the runs write down what they do.
#[derive(Default)]
pub(super) struct Statistics {
    state: State,
    /// The state to go back to after a run.
    pub resting: State,
    run: Summary,
    /// Bytes that are done of the blocks under way.
    under_way: u64,
    begun: Option<Instant>,
    past: Summary,
    last_error: Option<String>,
    /// Blocks that failed: they are not tried again until the store is opened the next time.
    pub failed: HashSet<BlockRef>,
}

/// What became of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It became smaller: bytes of the block now.
    Packed(u64),
    /// Another stored block has the same bytes.
    Shared,
    /// It is smallest as it was staged.
    Kept,
    /// It is gone or was written anew.
    Changed,
    /// It could not be read or encoded.
    Failed,
}

impl Statistics {
    pub fn begin(&mut self, total_bytes: u64) {
        self.past.blocks_packed += self.run.blocks_packed;
        self.past.blocks_failed += self.run.blocks_failed;
        self.run = Summary::default();
        self.run.progress.total_bytes = total_bytes;
        self.under_way = 0;
        self.begun = Some(Instant::now());
        self.state = State::Packing;
    }

    /// So many dictionaries were made, and so many bytes are to be packed now.
    pub fn learned(&mut self, dictionaries: u64, total_bytes: u64) {
        self.run.dictionaries_learned = dictionaries;
        self.run.progress.total_bytes = total_bytes;
    }

    /// So many bytes are done of the blocks under way.
    pub fn under_way(&mut self, bytes: u64) {
        self.under_way = bytes;
    }

    /// So many help now.
    pub fn helpers(&mut self, count: usize) {
        self.run.progress.workers = count as u64;
    }

    /// One of them encoded a block of `raw` bytes.
    pub fn helped(&mut self, raw: u64) {
        self.run.progress.worker_bytes += raw;
    }

    /// The run is done with a block of `raw` bytes, whatever became of it.
    pub fn worked(&mut self, raw: u64) {
        self.run.progress.done_bytes += raw;
    }

    /// Counts what became of the block at `first`.
    pub fn count(&mut self, first: &Extent, outcome: Outcome) {
        let before = u64::from(first.location.len);
        let (counter, after) = match outcome {
            Outcome::Packed(after) => (&mut self.run.blocks_packed, after),
            Outcome::Shared => (&mut self.run.blocks_shared, 0),
            Outcome::Kept => (&mut self.run.blocks_kept, before),
            Outcome::Changed => (&mut self.run.blocks_changed, before),
            Outcome::Failed => (&mut self.run.blocks_failed, before),
        };
        *counter += 1;
        self.run.progress.before_bytes += before;
        self.run.progress.after_bytes += after;
    }

    pub fn freed(&mut self, bytes: u64) {
        self.run.freed_bytes += bytes;
    }

    /// How far the run is.
    pub fn progress(&self) -> Progress {
        let seconds = self.elapsed().as_secs_f64();
        let run = &self.run.progress;
        let done_bytes = (run.done_bytes + self.under_way).min(run.total_bytes.max(run.done_bytes));
        Progress {
            done_bytes,
            bytes_per_second: done_bytes as f64 / seconds.max(1e-3),
            ..run.clone()
        }
    }

    fn elapsed(&self) -> Duration {
        self.begun.map_or(Duration::ZERO, |begun| begun.elapsed())
    }

    pub fn end(&mut self, result: &Result<(), Error>) -> Summary {
        self.under_way = 0;
        self.run.progress = self.progress();
        self.run.seconds = self.elapsed().as_secs_f64();
        self.begun = None;
        self.state = self.resting;
        match result {
            Ok(()) => self.last_error = None,
            Err(Error::Interrupted) => {}
            Err(error) => self.fail(error),
        }
        self.run.clone()
    }

    fn fail(&mut self, error: &Error) {
        self.last_error = Some(error.to_string());
        self.state = if matches!(error, Error::DiskFull(_)) {
            State::DiskFull
        } else {
            State::Failed
        };
    }

    /// A run ended by a panic: a fault of ours, which must show.
    pub fn panicked(&mut self) {
        self.begun = None;
        self.state = State::Failed;
        self.last_error = Some("the packer failed unexpectedly; the log has more".to_owned());
    }

    pub fn rest(&mut self, state: State) {
        self.resting = state;
        if !matches!(self.state, State::Packing) {
            self.state = state;
        }
    }

    pub fn status(&self) -> Status {
        let mut run = self.run.clone();
        if self.begun.is_some() {
            run.progress = self.progress();
            run.seconds = self.elapsed().as_secs_f64();
        }
        Status {
            state: self.state,
            blocks_packed: self.past.blocks_packed + run.blocks_packed,
            blocks_failed: self.past.blocks_failed + run.blocks_failed,
            run,
            last_error: self.last_error.clone(),
        }
    }
}

/// Blocks that wait to be packed, idle or not, and the bytes that they decode to.
#[must_use]
pub fn queue(totals: &Totals) -> (u64, u64) {
    let tags = totals.by_tag.iter().filter(|(tag, _)| Tag(**tag).needs_packing());
    tags.fold((0, 0), |(blocks, bytes), (_, sum)| {
        (blocks + sum.blocks, bytes + sum.raw_bytes)
    })
}
