//! Attributes of inodes: stat, extended attributes, access control lists.

mod acl;
mod attr;
pub mod virtual_xattr;
mod xattr;

use std::path::PathBuf;
use std::sync::Arc;

use lmfs_indexer::Store;

use crate::fs::inode::Inodes;
use crate::fs::journal::Journal;
use crate::fs::options::Options;

/// The attributes of a filesystem's inodes.
pub struct Attributes {
    journal: Arc<Journal>,
    inodes: Arc<Inodes>,
    block_size: u32,
    /// The store's folder, and where it is mounted.
    store_path: PathBuf,
    mountpoint: PathBuf,
}

impl Attributes {
    /// The attributes of `inodes`.
    pub fn new(journal: Arc<Journal>, inodes: Arc<Inodes>, options: &Options) -> Attributes {
        Attributes {
            journal,
            inodes,
            block_size: options.block_size,
            store_path: options.store_path.clone(),
            mountpoint: options.mountpoint.clone(),
        }
    }

    fn store(&self) -> &Store {
        self.journal.store()
    }
}
