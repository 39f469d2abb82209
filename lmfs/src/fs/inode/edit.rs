//! A change to several inodes at once: drafts, one transaction, then memory follows the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use lmfs_indexer::{Change, Inode, Kind, Time};
use parking_lot::MutexGuard;

use super::node::{Node, State};
use crate::fs::error::{Errno, Error, Result};
use crate::fs::journal::Journal;

/// The locked states of some nodes, and drafts of what their inodes become.
pub struct Edit<'a> {
    states: BTreeMap<u64, MutexGuard<'a, State>>,
    drafts: BTreeMap<u64, Inode>,
    changes: Vec<Change>,
    deleted: Vec<u64>,
}

impl<'a> Edit<'a> {
    /// Locks `nodes` in ascending order of their numbers. The same node may be named more than once.
    pub fn new(nodes: impl IntoIterator<Item = &'a Arc<Node>>) -> Edit<'a> {
        // The order of numbers keeps two edits from waiting for each other.
        let sorted: BTreeMap<u64, &Arc<Node>> = nodes.into_iter().map(|node| (node.ino, node)).collect();
        Edit {
            states: sorted.into_iter().map(|(ino, node)| (ino, node.lock())).collect(),
            drafts: BTreeMap::new(),
            changes: Vec::new(),
            deleted: Vec::new(),
        }
    }

    /// The state of one of the nodes.
    pub fn state(&mut self, ino: u64) -> Result<&mut State> {
        let state = self.states.get_mut(&ino).map(|state| &mut **state);
        state.ok_or_else(Error::stale)
    }

    /// Whether one of the nodes is a directory that still exists.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR.
    pub fn check_directory(&mut self, ino: u64) -> Result<()> {
        let state = self.state(ino)?;
        match state.inode.kind {
            _ if state.gone => Err(Error::not_found()),
            Kind::Directory => Ok(()),
            _ => Err(Error::new(Errno::NOTDIR, "not a directory")),
        }
    }

    /// Marks a directory's contents as changed at `time`.
    pub fn touch(&mut self, ino: u64, time: Time) -> Result<()> {
        let inode = self.inode(ino)?;
        inode.mtime = time;
        inode.ctime = time;
        Ok(())
    }

    /// The draft of one of the nodes' inodes, which the transaction will store.
    pub fn inode(&mut self, ino: u64) -> Result<&mut Inode> {
        if !self.drafts.contains_key(&ino) {
            let inode = self.state(ino)?.inode.clone();
            self.drafts.insert(ino, inode);
        }
        self.drafts.get_mut(&ino).ok_or_else(Error::stale)
    }

    /// Adds to the transaction.
    pub fn push(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Deletes an inode with all that belongs to it. Those who hold its node see its last draft.
    pub fn delete(&mut self, ino: u64) {
        self.push(Change::DelInode(ino));
        self.deleted.push(ino);
    }

    /// Commits, then lets the nodes have what was committed. On an error nothing changed.
    pub fn commit(self, journal: &Journal) -> Result<()> {
        let Edit {
            mut states,
            drafts,
            mut changes,
            deleted,
        } = self;
        // Deleting takes the row away, so a draft of a deleted inode has no place to go.
        for (ino, draft) in drafts.iter().filter(|(ino, _)| !deleted.contains(ino)) {
            let state = states.get(ino).ok_or_else(Error::stale)?;
            changes.push(Change::PutInode(state.storable(draft)));
        }
        // Memory follows only now. If this fails, nothing was promised and nothing has changed.
        journal.commit(changes)?;
        for (ino, draft) in drafts {
            if let Some(state) = states.get_mut(&ino) {
                state.inode = draft;
            }
        }
        for ino in deleted {
            if let Some(state) = states.get_mut(&ino) {
                state.gone = true;
                // Nobody can read these bytes any more, and their memory may be what others wait for.
                state.dirty.remove(0..u64::MAX);
                journal.counters().flushed(ino, &mut state.failed, None);
            }
        }
        Ok(())
    }
}
