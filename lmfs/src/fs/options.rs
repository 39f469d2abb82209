//! How a filesystem is run.

use std::path::PathBuf;
use std::time::Duration;

/// Options of a [`Filesystem`](crate::fs::Filesystem).
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of a block, the store's.
    pub block_size: u32,
    /// Refuse every change.
    pub read_only: bool,
    /// Bytes of decoded blocks kept in memory.
    pub cache_bytes: usize,
    /// Memory for written bytes before writers have to wait. A block counts whole however little of it was written:
    /// storing it may take a decode.
    pub dirty_bytes: u64,
    /// How long a flush gathers blocks before it commits what it has.
    pub commit_age: Duration,
    /// Threads that decode what asks a model.
    pub decode_threads: usize,
    /// Threads for what may wait: fsync, flushes, copies.
    pub job_threads: usize,
    /// Blocks decoded ahead of a sequential reader: as many as threads decode, so that all have work.
    pub read_ahead: u64,
    /// The store's folder, shown as `user.lmfs.store` of the root.
    pub store_path: PathBuf,
    /// Where it is mounted, shown as `user.lmfs.mountpoint` of the root.
    pub mountpoint: PathBuf,
}

impl Options {
    /// The defaults for a store with blocks of `block_size` bytes.
    pub fn new(block_size: u32) -> Options {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Options {
            block_size,
            read_only: false,
            cache_bytes: 256 << 20,
            dirty_bytes: 64 << 20,
            commit_age: Duration::from_secs(1),
            decode_threads: cores,
            job_threads: 8,
            read_ahead: cores.max(2) as u64,
            store_path: PathBuf::new(),
            mountpoint: PathBuf::new(),
        }
    }
}
