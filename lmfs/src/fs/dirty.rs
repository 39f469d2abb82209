//! Which files have written bytes in memory, how many bytes that is in all, and which files were written to lately.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Filesystem;
use super::node::Node;

/// Files remembered as written to lately; beyond it, those written to more than [`FORGET_AFTER`] ago are forgotten.
const REMEMBERED: usize = 65_536;
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// The dirty nodes. They are held here, so that they stay in memory until they are flushed.
#[derive(Default)]
pub struct DirtyNodes {
    nodes: Mutex<HashMap<u64, Arc<Node>>>,
    total: Arc<AtomicU64>,
    written: Mutex<HashMap<u64, Instant>>,
}

impl DirtyNodes {
    /// The counter of dirty bytes, for the buffers to count in.
    pub fn total(&self) -> Arc<AtomicU64> {
        self.total.clone()
    }

    /// Dirty bytes of all files.
    pub fn bytes(&self) -> u64 {
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
        let now = Instant::now();
        let mut written = self.written.lock();
        written.insert(node.ino, now);
        if written.len() > REMEMBERED {
            written.retain(|_, when| now.duration_since(*when) < FORGET_AFTER);
        }
    }

    /// Lets go of a node that has nothing dirty.
    pub fn clean(&self, ino: u64) {
        self.nodes.lock().remove(&ino);
    }
}

impl Filesystem {
    /// When the file was last written to since the mount, if that was within the last ten minutes. For the packer, which
    /// leaves files alone that are in use.
    pub fn last_write(&self, ino: u64) -> Option<Instant> {
        self.dirty.written.lock().get(&ino).copied()
    }

    /// Whether the file has written bytes that are not in the log yet.
    pub fn is_dirty(&self, ino: u64) -> bool {
        self.dirty.nodes.lock().contains_key(&ino)
    }

    /// Files written to since `since`, as far as [`Filesystem::last_write`] remembers.
    pub fn written_since(&self, since: Instant) -> Vec<u64> {
        let written = self.dirty.written.lock();
        let recent = written.iter().filter(|(_, when)| **when >= since);
        recent.map(|(ino, _)| *ino).collect()
    }
}
