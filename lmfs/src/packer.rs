//! The packer: what is safe in a cheap form becomes small, in the background.
//!
//! A write stores a block raw or as fast zstd. The packer finds such blocks in files that have been left alone for a
//! while, encodes them with the store's best method (the codec decodes and compares what it made), appends them to the
//! log, waits until they are durable, and only then swaps the extents, in one transaction for a batch of blocks. A swap
//! takes place only if the extent is still the one that was read: a block that was written meanwhile stays as it is.
//!
//! So a packer can be stopped, killed or run out of disk at any moment: each block is either staged or
//! packed, and what remains to be done follows from the index alone ([`Tag`](crate::store::Tag)). What was
//! staged and is packed becomes garbage in the log, which is collected when there is enough of it
//! ([`crate::maintenance`]).
//!
//! Before it packs, it looks at a sample of what it will pack, and makes dictionaries where they save enough
//! ([`learn`]).
//!
//! A block that resembles one that was packed before is coded behind that one, which it then refers to
//! ([`references`]).

mod background;
mod batch;
mod dictionaries;
pub mod encode;
mod environment;
pub mod error;
mod future_times;
mod head;
mod job;
mod kinds;
mod learn;
mod queue;
mod references;
mod run;
mod run_lock;
mod similar;
mod solid;
mod status;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use lmfs_codec::Codec;
use lmfs_indexer::Store;
use parking_lot::Mutex;

use crate::store::{Equals, Tag};

pub use background::Background;
pub use environment::{Environment, Offline};
pub use queue::Scope;
pub use status::{Progress, Status, Summary, queue};

use crate::store::contents::Contents;

/// When and how hard to pack.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a file has to be left alone before it is packed in the background.
    pub idle: Duration,
    /// Blocks encoded at a time, each by a thread of its own; 0 for one a core.
    pub jobs: usize,
    /// How long the background packer waits after a full disk or another failure before it tries again.
    pub retry: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            idle: Duration::from_secs(30),
            jobs: 0,
            retry: Duration::from_secs(60),
        }
    }
}

impl Options {
    fn threads(&self, asked: usize) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        [asked, self.jobs]
            .into_iter()
            .find(|&jobs| jobs > 0)
            .unwrap_or_else(cores)
    }
}

/// The packer of one open store. All methods may be called from any thread.
pub struct Packer {
    store: Arc<Store>,
    codec: Codec,
    environment: Arc<dyn Environment>,
    options: Options,
    /// One run at a time.
    run_lock: run_lock::RunLock,
    statistics: Mutex<status::Statistics>,
    /// The dictionaries of the store.
    dictionaries: Mutex<dictionaries::Dictionaries>,
    equals: Equals,
    /// What the background knows of files from the future.
    future_times: Mutex<future_times::FutureTimes>,
    /// Reads blocks that others refer to.
    contents: Contents,
    /// Which packed blocks are alike.
    similar: Mutex<similar::Similar<u64>>,
    /// What the stored blocks will be whose new form waits to be committed: their tag, and what they refer to (0 for
    /// nothing).
    to_refer: Mutex<HashMap<u64, (Tag, u64)>>,
}

impl Packer {
    /// A packer that does nothing until it is asked to.
    pub fn new(store: Arc<Store>, codec: Codec, environment: Arc<dyn Environment>, options: Options) -> Packer {
        Packer {
            contents: Contents::new(store.clone(), codec.clone()),
            similar: Mutex::default(),
            to_refer: Mutex::default(),
            store,
            codec,
            environment,
            options,
            run_lock: run_lock::RunLock::default(),
            statistics: Mutex::default(),
            dictionaries: Mutex::default(),
            equals: Equals::default(),
            future_times: Mutex::default(),
        }
    }

    /// What runs, and how the last run went.
    pub fn status(&self) -> Status {
        self.statistics.lock().status()
    }
}
