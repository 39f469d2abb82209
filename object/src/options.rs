//! What a store does, and how much it keeps.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lmfs_codec::{MAX_BLOCK, MIN_BLOCK};
use object_store::Result;

use crate::Codecs;
use crate::error::generic;

/// What a PUT writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// A container of fast zstd blocks, or the content itself where that is smaller.
    Compressed {
        /// Bytes of a block. A read decodes whole blocks: 64 KiB suits most, 16 KiB where programs read at random.
        block_size: usize,
    },
    /// What is put, as it is. Containers that are put this way are read as what they contain.
    AsIs,
}

/// Which sizes lists have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// Those of the contents. An object that is not known yet costs a request.
    Content,
    /// Those of what is stored, without further requests: for callers who want names only.
    Stored,
}

/// Decoded blocks on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskCache {
    /// A folder of its own, for one process at a time.
    pub folder: PathBuf,
    /// The most bytes in it.
    pub bytes: u64,
}

/// Options of an [`LmfsStore`](crate::LmfsStore).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LmfsOptions {
    /// What a PUT writes.
    pub put: Put,
    /// Which sizes lists have.
    pub sizes: Sizes,
    /// For how long nobody asks whether an object is still what it was. With zero each read asks, and finds what was
    /// written before it began. With more, reads may be as old as this, and those of the cache need no request at all.
    pub trust: Duration,
    /// Requests of a list at the same time.
    pub list_parallel: usize,
    /// Bytes of the first request for an object that is not known: its end, where the seek table is.
    pub tail: u64,
    /// The largest request of a read, in bytes.
    pub fetch: u64,
    /// Bytes of each part of a multipart upload but the last. Some servers want all of them equal and at least 5 MiB.
    pub part: usize,
    /// Objects whose sizes are remembered.
    pub known_objects: usize,
    /// Bytes of seek tables that are remembered.
    pub table_bytes: u64,
    /// Decoded blocks in memory, in bytes.
    pub cache_bytes: u64,
    /// Decoded blocks on disk.
    pub disk: Option<DiskCache>,
    /// Blocks that are encoded or decoded at a time. Each by a language model takes up to 136 MiB meanwhile.
    pub threads: usize,
    /// Models and dictionaries.
    pub codecs: Arc<Codecs>,
}

impl Default for LmfsOptions {
    fn default() -> LmfsOptions {
        LmfsOptions {
            put: Put::Compressed { block_size: 64 << 10 },
            sizes: Sizes::Content,
            trust: Duration::ZERO,
            list_parallel: 32,
            tail: 32 << 10,
            fetch: 8 << 20,
            part: 8 << 20,
            known_objects: 100_000,
            table_bytes: 64 << 20,
            cache_bytes: 256 << 20,
            disk: None,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            codecs: Arc::default(),
        }
    }
}

impl LmfsOptions {
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |what: String| Err(generic(what));
        if let Put::Compressed { block_size } = self.put
            && !(MIN_BLOCK..=MAX_BLOCK).contains(&block_size)
        {
            return wrong(format!(
                "block size {block_size} is not between {MIN_BLOCK} and {MAX_BLOCK}"
            ));
        }
        let least = [
            ("list_parallel", self.list_parallel as u64, 1),
            ("threads", self.threads as u64, 1),
            ("tail", self.tail, 1024),
            ("fetch", self.fetch, 1 << 16),
            ("part", self.part as u64, 5 << 20),
        ];
        match least.iter().find(|(_, value, least)| value < least) {
            Some((name, value, least)) => wrong(format!("{name} is {value}: at least {least} is needed")),
            None => Ok(()),
        }
    }
}
