//! Inodes in memory, and open files.
//!
//! There is at most one [`Node`] for an inode. Open handles, dirty buffers and operations hold nodes. A node that
//! nobody holds is dropped, and loaded again from the store when it is asked for.
//!
//! Lock order in the whole filesystem: one round of write-back, a node's `flushing`, the namespace, node states in
//! ascending order of inode numbers, then whatever the store locks. No lock but `flushing` and the round is held while
//! the log is made durable, and none while a block is decoded.

pub mod buffer;
pub mod edit;
pub mod handles;
mod losses;
pub mod node;
pub mod open_files;
mod ranges;
mod table;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lmfs_indexer::{Inode, ROOT_INO};
use parking_lot::Mutex;

use crate::fs::error::{Error, Result};
use crate::fs::journal::Journal;
use buffer::Totals;
use node::Node;
use table::NodeTable;

/// The inodes of a filesystem.
pub struct Inodes {
    journal: Arc<Journal>,
    nodes: NodeTable,
    totals: Arc<Totals>,
    /// Deleted inodes that the kernel still refers to. Nothing else may hold their nodes. Locked last.
    unlinked: Mutex<HashMap<u64, Arc<Node>>>,
    next_ino: AtomicU64,
}

impl Inodes {
    /// The inodes of the journal's store.
    pub fn new(journal: Arc<Journal>) -> Inodes {
        let totals = Arc::<Totals>::default();
        Inodes {
            nodes: NodeTable::new(totals.clone()),
            totals,
            unlinked: Mutex::default(),
            next_ino: AtomicU64::new(journal.store().max_ino().max(ROOT_INO) + 1),
            journal,
        }
    }

    /// The counters of dirty blocks of all nodes.
    pub fn totals(&self) -> &Arc<Totals> {
        &self.totals
    }

    /// The node of an inode, from memory or from the store.
    ///
    /// # Errors
    /// ESTALE when there is no such inode.
    pub fn get(&self, ino: u64) -> Result<Arc<Node>> {
        self.nodes.get(ino, self.journal.store())
    }

    /// The node of an inode if something holds it, and so if it can differ from the store.
    pub fn held(&self, ino: u64) -> Option<Arc<Node>> {
        self.nodes.held(ino)
    }

    /// The inode as users see it, without making a node for it.
    ///
    /// # Errors
    /// ESTALE when there is no such inode.
    pub fn inode(&self, ino: u64) -> Result<Inode> {
        match self.held(ino) {
            Some(node) => Ok(node.lock().inode.clone()),
            None => self.journal.store().inode(ino)?.ok_or_else(Error::stale),
        }
    }

    /// Makes all nodes what the store has by now, which somebody else writes.
    ///
    /// # Errors
    /// What the store reports.
    pub fn refresh(&self) {
        for node in self.nodes.all() {
            let inode = match self.journal.store().inode(node.ino) {
                Ok(inode) => inode,
                Err(error) => {
                    // The state of the store is the new one all the same.
                    tracing::error!(ino = node.ino, "cannot look at an open file again: {error}");
                    continue;
                }
            };
            let mut state = node.lock();
            match inode {
                Some(inode) => {
                    state.stored_size = inode.size;
                    state.inode = inode;
                }
                None => state.gone = true,
            }
        }
    }

    /// A number that no inode had before.
    pub fn new_ino(&self) -> u64 {
        self.next_ino.fetch_add(1, Ordering::Relaxed)
    }

    /// Keeps a deleted inode's attributes until the kernel forgets it.
    pub fn retain_unlinked(&self, node: Arc<Node>) {
        let ino = node.ino;
        self.unlinked.lock().insert(ino, node.clone());
        // The kernel's last words about the inode may have overtaken the release of its last handle.
        if node.lock().forgotten {
            self.unlinked.lock().remove(&ino);
        }
    }

    /// The kernel no longer refers to an inode.
    pub fn forget(&self, ino: u64) {
        if let Some(node) = self.held(ino) {
            node.lock().forgotten = true;
        }
        self.unlinked.lock().remove(&ino);
    }

    /// How many deleted inodes are kept for the kernel.
    #[cfg(test)]
    pub fn unlinked(&self) -> usize {
        self.unlinked.lock().len()
    }
}
