//! What a check is to do, and why it may end early.

use std::sync::Arc;

use lmfs_codec::{Codec, Stop};
use lmfs_indexer::Store;
use lmfs_indexer::io::Directory;

use super::Pace;
use crate::progress::Progress;

/// Why a check ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// The rows cannot be read.
    #[error(transparent)]
    Store(#[from] lmfs_indexer::Error),
    /// A line of checksums could not be printed.
    #[error("cannot write the checksums: {0}")]
    Output(std::io::Error),
}

/// What a check reads, and how fast.
pub struct Job<'a> {
    /// The log and its index.
    pub store: &'a Arc<Store>,
    /// What decodes its blocks.
    pub codec: &'a Codec,
    /// The store's folder, where an interrupted check leaves how far it came.
    pub folder: &'a Directory,
    /// Where they are decoded, if not on the threads that read them.
    pub computing: Option<&'a rayon::ThreadPool>,
    /// Bytes in a block of the store.
    pub block_size: u32,
    /// Decode every block.
    pub data: bool,
    /// Go on where an interrupted check ended.
    pub resume: bool,
    /// How fast the log may be read.
    pub pace: &'a Pace,
    /// Ends it early.
    pub stop: &'a Stop,
    /// Hears how far it is.
    pub progress: &'a (dyn Fn(Progress) + Sync),
}

/// Where lines for sha256sum go.
pub type Line<'a> = &'a mut dyn FnMut(&[u8]) -> std::io::Result<()>;
