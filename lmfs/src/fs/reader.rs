//! Blocks as the log has them, decoded: by file and number, through the cache, also before they are asked for.

pub mod address;
mod directory_prefetch;
pub mod loader;
pub mod read_ahead;

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;

use lmfs_indexer::{Extent, Kind, Moved};

use crate::cache::{Block, Blocks, LoadError, LoadErrorKind, Loaded};
use crate::fs::error::Result;
use crate::fs::journal::Journal;
use crate::fs::options::Options;
use crate::task::Asker;
use address::{Address, cost};
use directory_prefetch::{DirectoryScans, MOST_FILES};

/// How often a block is looked up again that was moved between looking it up and reading it.
const RETRIES: u32 = 16;

/// Reads blocks of files.
pub struct Reader {
    journal: Arc<Journal>,
    blocks: Blocks<Address>,
    scans: DirectoryScans,
    block_size: u64,
    /// Most blocks decoded ahead of a reader.
    ahead: u64,
}

impl Reader {
    /// Extents come from the journal's store, what they lead to from `blocks`.
    pub fn new(journal: Arc<Journal>, blocks: Blocks<Address>, options: &Options) -> Reader {
        let block_size = u64::from(options.block_size);
        Reader {
            journal,
            blocks,
            scans: DirectoryScans::default(),
            block_size,
            // What is decoded ahead must still be in memory when it is read.
            ahead: options.read_ahead.min(options.cache_bytes as u64 / (2 * block_size)),
        }
    }

    /// The cache.
    pub fn blocks(&self) -> &Blocks<Address> {
        &self.blocks
    }

    /// Where a block lies; `None` for a hole.
    ///
    /// # Errors
    /// What the store reports.
    pub fn extent(&self, ino: u64, block: u64) -> Result<Option<Extent>> {
        Ok(self.journal.store().extent(ino, block)?)
    }

    /// Where blocks lie, one for each; `None` for a hole.
    ///
    /// # Errors
    /// What the store reports.
    pub fn extents(&self, ino: u64, blocks: Range<u64>) -> Result<Vec<Option<Extent>>> {
        Ok(self.journal.store().extents(ino, blocks)?)
    }

    /// The block at an extent, if it is in memory.
    pub fn cached(&self, ino: u64, block: u64, extent: &Extent) -> Option<Block> {
        self.blocks.cached(&Address::new(ino, block, extent))
    }

    /// Whether a stored block is in memory and decodes to exactly `raw`.
    pub fn is_cached_as(&self, extent: &Extent, raw: &[u8]) -> bool {
        self.cached(0, 0, extent).is_some_and(|block| block.as_slice() == raw)
    }

    /// The block at an extent. It is asked for at once; whoever drops the future takes the wish back.
    pub fn fetch(
        &self,
        ino: u64,
        block: u64,
        extent: &Extent,
        asker: Asker,
    ) -> impl Future<Output = Loaded> + Send + use<> {
        self.blocks.fetch(Address::new(ino, block, extent), cost(extent), asker)
    }

    /// What comes of [`Reader::fetch`], with the extent that it was found at: it is looked up again where it was moved.
    /// `None` for what became a hole.
    ///
    /// # Errors
    /// The load's.
    pub async fn follow(
        &self,
        ino: u64,
        block: u64,
        mut extent: Extent,
        mut loaded: Loaded,
        asker: Asker,
    ) -> std::result::Result<Option<(Extent, Block)>, LoadError> {
        for _ in 0..RETRIES {
            match loaded {
                Ok(block) => return Ok(Some((extent, block))),
                Err(error) if error.kind != LoadErrorKind::Moved => return Err(error),
                Err(_) => {}
            }
            let now = self.extent(ino, block);
            let now = now.map_err(|error| LoadError::caused(LoadErrorKind::Failed, error))?;
            match now {
                None => return Ok(None),
                // It is not where the index says, and will not be the next time.
                Some(now) if (now.id, now.location) == (extent.id, extent.location) => {
                    let why = "a block's segment is gone, but its extent still points there";
                    return Err(LoadError::new(LoadErrorKind::Failed, why));
                }
                Some(now) => extent = now,
            }
            loaded = self.fetch(ino, block, &extent, asker).await;
        }
        Err(LoadError::new(LoadErrorKind::Failed, "the block keeps moving"))
    }

    /// A block, wherever it lies. `None` for a hole.
    ///
    /// # Errors
    /// The load's.
    pub async fn block(
        &self,
        ino: u64,
        block: u64,
        asker: Asker,
    ) -> std::result::Result<Option<(Extent, Block)>, LoadError> {
        let extent = self.extent(ino, block);
        let extent = extent.map_err(|error| LoadError::caused(LoadErrorKind::Failed, error))?;
        let Some(extent) = extent else { return Ok(None) };
        let loaded = self.fetch(ino, block, &extent, asker).await;
        self.follow(ino, block, extent, loaded, asker).await
    }

    /// A directory was listed: its user may go on to read its files. `files` of them are regular.
    ///
    /// # Errors
    /// What the store reports.
    pub fn listed(&self, dir: u64, files: usize) -> Result<()> {
        if (2..=MOST_FILES).contains(&files) {
            let entries = self.journal.store().dirents(dir, None, MOST_FILES)?;
            let files = entries.into_iter().filter(|(_, entry)| entry.kind == Kind::File);
            self.scans.listed(dir, files.map(|(_, entry)| entry.ino).collect());
        }
        Ok(())
    }

    /// Blocks lie elsewhere with the same contents.
    pub fn moved(&self, moves: &[Moved]) {
        for Moved { id, old, new } in moves {
            let at = |r| Address::new(0, 0, &Extent::new((*id, r), 0, 0));
            self.blocks.moved(&at(*old), at(*new));
        }
    }
}

/// The bytes of a decoded block that count.
pub fn counted<'a>(extent: &Extent, block: &'a Block) -> &'a [u8] {
    let len = block.len().min(extent.raw_len as usize);
    #[expect(clippy::indexing_slicing, reason = "not beyond the block's end")]
    &block[..len]
}
