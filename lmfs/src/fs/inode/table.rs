//! All nodes that something holds, at most one for an inode.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use lmfs_indexer::Store;
use parking_lot::{Mutex, MutexGuard};

use super::buffer::Totals;
use super::node::Node;
use crate::fs::error::{Errno, Error, Result};

/// Parts of the table, each with a lock of its own.
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

    /// All nodes that something holds.
    pub fn all(&self) -> Vec<Arc<Node>> {
        let of_shard =
            |shard: &Mutex<Shard>| -> Vec<_> { shard.lock().nodes.values().filter_map(Weak::upgrade).collect() };
        self.shards.iter().flat_map(of_shard).collect()
    }

    fn shard(&self, ino: u64) -> Result<MutexGuard<'_, Shard>> {
        // Inode numbers are dense, so the low bits spread them evenly.
        let shard = self.shards.get((ino % SHARDS as u64) as usize);
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
