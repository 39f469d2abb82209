//! Which files have written bytes in memory, and how many blocks that is in all.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::Filesystem;
use super::node::Node;

/// The dirty nodes. They are held here, so that they stay in memory until they are flushed.
#[derive(Default)]
pub struct DirtyNodes {
    nodes: Mutex<HashMap<u64, Arc<Node>>>,
    total: Arc<AtomicU64>,
}

impl DirtyNodes {
    /// The counter of dirty blocks, for the buffers to count in.
    pub fn total(&self) -> Arc<AtomicU64> {
        self.total.clone()
    }

    /// Dirty blocks of all files.
    pub fn blocks(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Number of dirty files.
    pub fn len(&self) -> usize {
        self.nodes.lock().len()
    }

    /// The dirty files.
    pub fn all(&self) -> Vec<Arc<Node>> {
        self.nodes.lock().values().cloned().collect()
    }

    /// Takes in a node that was just written to.
    pub fn wrote(&self, node: &Arc<Node>) {
        self.nodes.lock().entry(node.ino).or_insert_with(|| node.clone());
    }

    /// Lets go of a node that has nothing dirty.
    pub fn clean(&self, ino: u64) {
        self.nodes.lock().remove(&ino);
    }
}

impl Filesystem {
    /// Whether the file has written bytes that are not in the log yet.
    pub fn is_dirty(&self, ino: u64) -> bool {
        self.dirty.nodes.lock().contains_key(&ino)
    }
}
