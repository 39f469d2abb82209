//! The namespace: the tree of names.

mod create;
mod directory;
mod link;
mod name;
mod open_directory;
mod remove;
mod rename;

use std::sync::Arc;

use lmfs_indexer::Store;
use parking_lot::Mutex;

use crate::fs::attributes::Attributes;
use crate::fs::inode::Inodes;
use crate::fs::inode::handles::Handles;
use crate::fs::journal::Journal;
use crate::fs::reader::Reader;
use crate::fs::write_back::WriteBack;
use open_directory::OpenDirectory;

/// The names of a filesystem.
pub struct Namespace {
    journal: Arc<Journal>,
    inodes: Arc<Inodes>,
    attributes: Arc<Attributes>,
    reader: Arc<Reader>,
    write_back: Arc<WriteBack>,
    directories: Handles<OpenDirectory>,
    /// Held while names change, so that a directory's entries, link counts and ".." move together.
    ///
    /// Lock order: after a node's `flushing`, before the states of nodes.
    lock: Mutex<()>,
}

impl Namespace {
    /// The names in the journal's store.
    pub fn new(
        journal: Arc<Journal>,
        inodes: Arc<Inodes>,
        attributes: Arc<Attributes>,
        reader: Arc<Reader>,
        write_back: Arc<WriteBack>,
    ) -> Namespace {
        Namespace {
            journal,
            inodes,
            attributes,
            reader,
            write_back,
            directories: Handles::default(),
            lock: Mutex::default(),
        }
    }

    fn store(&self) -> &Store {
        self.journal.store()
    }
}
