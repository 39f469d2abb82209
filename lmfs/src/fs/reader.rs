//! Blocks as the log has them, decoded: by file and number, through the cache.

use std::future::Future;
use std::sync::Arc;

use lmfs_indexer::{BlockRef, Extent, Moved, Store};

use super::Result;
use super::loader::cost;
use crate::cache::{Block, Blocks, LoadError, LoadErrorKind, Loaded};
use crate::task::Asker;

/// How often a block is looked up again that was moved between looking it up and reading it.
const RETRIES: u32 = 16;

/// Which block it is and where it lies. The owner belongs to it: a block is read only for the file and number that its
/// record names (docs/FORMAT.md), also when it is in the cache already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The file.
    pub ino: u64,
    /// The block's number in it.
    pub block: u64,
    /// Where the log has it.
    pub location: BlockRef,
}

/// Reads blocks of files.
pub struct Reader {
    store: Arc<Store>,
    blocks: Blocks<Address>,
}

impl Reader {
    /// Extents come from `store`, what they lead to from `blocks`.
    pub fn new(store: Arc<Store>, blocks: Blocks<Address>) -> Reader {
        Reader { store, blocks }
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
        Ok(self.store.extent(ino, block)?)
    }

    /// The block at an extent, if it is in memory.
    pub fn cached(&self, ino: u64, block: u64, extent: &Extent) -> Option<Block> {
        self.blocks.cached(&address(ino, block, extent))
    }

    /// The block at an extent. It is asked for at once; whoever drops the future takes the wish back.
    pub fn fetch(
        &self,
        ino: u64,
        block: u64,
        extent: &Extent,
        asker: Asker,
    ) -> impl Future<Output = Loaded> + Send + use<> {
        self.blocks.fetch(address(ino, block, extent), cost(extent), asker)
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
            let now = now.map_err(|error| LoadError::new(LoadErrorKind::Failed, error))?;
            match now {
                None => return Ok(None),
                Some(now) if now.r == extent.r => {
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
        let extent = extent.map_err(|error| LoadError::new(LoadErrorKind::Failed, error))?;
        let Some(extent) = extent else { return Ok(None) };
        let loaded = self.fetch(ino, block, &extent, asker).await;
        self.follow(ino, block, extent, loaded, asker).await
    }

    /// Blocks lie elsewhere with the same contents.
    pub fn moved(&self, moves: &[Moved]) {
        for Moved { ino, block, old, new } in moves {
            let at = |location| Address {
                ino: *ino,
                block: *block,
                location,
            };
            self.blocks.moved(&at(*old), at(*new));
        }
    }
}

/// The bytes of a decoded block that count.
pub fn counted<'a>(extent: &Extent, block: &'a Block) -> &'a [u8] {
    let len = block.len().min(extent.raw_len as usize);
    block.get(..len).unwrap_or_default()
}

/// The address of a block at an extent.
pub fn address(ino: u64, block: u64, extent: &Extent) -> Address {
    Address {
        ino,
        block,
        location: extent.r,
    }
}
