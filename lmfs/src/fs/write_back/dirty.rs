//! Which files have written bytes in memory.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::fs::inode::node::Node;

/// The dirty nodes. They are held here, so that they stay in memory until they are flushed.
#[derive(Default)]
pub struct DirtyNodes {
    nodes: Mutex<HashMap<u64, Arc<Node>>>,
}

impl DirtyNodes {
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

    /// Whether no file has.
    pub fn is_empty(&self) -> bool {
        self.nodes.lock().is_empty()
    }

    /// Whether a file has something dirty.
    pub fn contains(&self, ino: u64) -> bool {
        self.nodes.lock().contains_key(&ino)
    }
}
