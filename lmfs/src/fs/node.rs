//! Inodes in memory.
//!
//! There is at most one [`Node`] for an inode, and while something holds it, it is newer than the store: its size counts
//! written bytes that are not in the log yet. Open handles, dirty buffers and operations hold nodes; a node that nobody
//! holds is dropped and loaded again from the store when it is asked for.
//!
//! Lock order: a node's `flushing`, then the namespace lock, then node states in ascending inode order, then whatever the
//! store locks. Nothing is locked while a block is decoded or the log is made durable.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Instant;

use lmfs_indexer::{Inode, Kind, Store};
use parking_lot::{Mutex, MutexGuard};

use super::buffer::{Totals, WriteBuffer};
use super::{Errno, Error, Result};

/// An inode in memory.
pub struct Node {
    /// Its number.
    pub ino: u64,
    /// Held while dirty blocks of the node are being stored, so that one flush stores at a time. A flush lets go of it
    /// while it waits for a decode. Who waits for it holds no thread.
    pub flushing: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

/// What is known of an inode, under its lock.
pub struct State {
    /// The inode as users see it.
    pub inode: Inode,
    /// The size in the store: smaller than the inode's while data waits to be flushed.
    pub stored_size: u64,
    /// Written bytes that are not in the log yet.
    pub dirty: WriteBuffer,
    /// When the oldest of them was written.
    pub dirty_since: Option<Instant>,
    /// A flush is queued because much is dirty.
    pub flush_queued: bool,
    /// A flush in the background has the rest of blocks decoded that were written in part.
    pub decode_queued: bool,
    /// How often the file was cut, so that a flush notices.
    pub truncations: u64,
    /// Open handles.
    pub opens: u32,
    /// It has no name yet and may get one (`O_TMPFILE`).
    pub linkable: bool,
    /// The kernel has said since the last name was removed that it does not refer to the inode any more.
    pub forgotten: bool,
    /// The rows are deleted; only those who hold the node still see it.
    pub gone: bool,
    /// The last flush failed.
    pub failed: bool,
    /// Written data that had to be given up.
    pub lost: Losses,
}

/// Written data that had to be given up, and who knows. As the kernel does it (`Documentation/core-api/errseq_t.rst`):
/// each handle remembers how many losses it was told of, so that none takes the news from another.
#[derive(Debug, Default)]
pub struct Losses {
    count: u64,
    last: Option<Error>,
    told: bool,
}

impl Losses {
    /// One more.
    pub fn add(&mut self, error: Error) {
        self.count += 1;
        self.last = Some(error);
        self.told = false;
    }

    /// What a handle that is opened now was told of: all but the last if nobody knows of that yet.
    pub fn known(&self) -> u64 {
        self.count - u64::from(self.untold().is_some())
    }

    /// The last one, if nobody knows of it.
    pub fn untold(&self) -> Option<&Error> {
        self.last.as_ref().filter(|_| !self.told)
    }

    /// Tells somebody who was told of `seen` losses, and says of how many he knows now.
    pub fn tell(&mut self, seen: u64) -> (u64, Result<()>) {
        match &self.last {
            Some(error) if seen < self.count => {
                self.told = true;
                (self.count, Err(error.clone()))
            }
            _ => (seen, Ok(())),
        }
    }
}

impl Node {
    fn new(inode: Inode, totals: Arc<Totals>) -> Node {
        Node {
            ino: inode.ino,
            flushing: tokio::sync::Mutex::new(()),
            state: Mutex::new(State {
                stored_size: inode.size,
                dirty: WriteBuffer::new(totals),
                dirty_since: None,
                flush_queued: false,
                decode_queued: false,
                truncations: 0,
                opens: 0,
                linkable: false,
                forgotten: false,
                gone: false,
                failed: false,
                lost: Losses::default(),
                inode,
            }),
        }
    }

    /// Locks the state.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Locks the state of an inode that must still exist.
    pub fn live(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.state.lock();
        if state.gone { Err(Error::stale()) } else { Ok(state) }
    }

    /// Locks the state of a regular file that must still exist.
    pub fn file(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.live()?;
        match state.inode.kind {
            Kind::File => Ok(state),
            Kind::Directory => Err(Error::new(Errno::ISDIR, "is a directory")),
            _ => Err(Error::new(Errno::INVAL, "not a regular file")),
        }
    }
}

impl State {
    /// `inode` as it may be put into the store now: no size that only dirty data would fill.
    pub fn storable(&self, inode: &Inode) -> Inode {
        let mut inode = inode.clone();
        if inode.kind == Kind::File {
            inode.size = self.stored_size;
        }
        inode
    }
}

const SHARDS: usize = 16;

/// All nodes that something holds.
pub struct NodeTable {
    shards: Vec<Mutex<Shard>>,
    totals: Arc<Totals>,
}

#[derive(Default)]
struct Shard {
    nodes: HashMap<u64, Weak<Node>>,
    sweep_at: usize,
}

impl NodeTable {
    /// An empty table whose nodes count their dirty blocks in `totals`.
    pub fn new(totals: Arc<Totals>) -> NodeTable {
        NodeTable {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            totals,
        }
    }

    /// The node of an inode, from memory or from the store.
    ///
    /// # Errors
    /// ESTALE when there is no such inode.
    pub fn get(&self, ino: u64, store: &Store) -> Result<Arc<Node>> {
        let mut shard = self.shard(ino)?;
        if let Some(node) = shard.nodes.get(&ino).and_then(Weak::upgrade) {
            return Ok(node);
        }
        let inode = store.inode(ino)?.ok_or_else(Error::stale)?;
        let node = Arc::new(Node::new(inode, self.totals.clone()));
        shard.insert(&node);
        Ok(node)
    }

    /// The node of an inode if something holds it.
    pub fn held(&self, ino: u64) -> Option<Arc<Node>> {
        self.shard(ino).ok()?.nodes.get(&ino).and_then(Weak::upgrade)
    }

    /// The inode as users see it, without making a node for it.
    pub fn inode(&self, ino: u64, store: &Store) -> Result<Option<Inode>> {
        match self.held(ino) {
            Some(node) => Ok(Some(node.lock().inode.clone())),
            None => Ok(store.inode(ino)?),
        }
    }

    fn shard(&self, ino: u64) -> Result<MutexGuard<'_, Shard>> {
        // Inode numbers are dense, so the low bits spread them evenly.
        let index = usize::try_from(ino % SHARDS as u64).unwrap_or(0);
        let shard = self.shards.get(index);
        let shard = shard.ok_or(Error::new(Errno::IO, "node table without shards"))?;
        Ok(shard.lock())
    }
}

impl Shard {
    fn insert(&mut self, node: &Arc<Node>) {
        if self.nodes.len() >= self.sweep_at {
            self.nodes.retain(|_, node| node.strong_count() > 0);
            self.sweep_at = 2 * self.nodes.len() + 64;
        }
        self.nodes.insert(node.ino, Arc::downgrade(node));
    }
}
