//! Contents of files: reading, cutting, holes, copies.

mod allocate;
mod copy;
mod read;
mod seek;
mod truncate;

use std::sync::Arc;

use lmfs_indexer::Store;

use crate::fs::inode::Inodes;
use crate::fs::journal::Journal;
use crate::fs::options::Options;
use crate::fs::reader::Reader;
use crate::fs::write_back::WriteBack;

/// The contents of a filesystem's files: what the log has, and over it what waits in memory.
pub struct Contents {
    journal: Arc<Journal>,
    inodes: Arc<Inodes>,
    reader: Arc<Reader>,
    write_back: Arc<WriteBack>,
    block_size: u64,
}

impl Contents {
    /// The contents of the files among `inodes`.
    pub fn new(
        journal: Arc<Journal>,
        inodes: Arc<Inodes>,
        reader: Arc<Reader>,
        write_back: Arc<WriteBack>,
        options: &Options,
    ) -> Contents {
        Contents {
            journal,
            inodes,
            reader,
            write_back,
            block_size: u64::from(options.block_size),
        }
    }

    fn store(&self) -> &Arc<Store> {
        self.journal.store()
    }
}
