//! Which files have written bytes in memory, how many bytes that is in all, and which files were written to lately.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Filesystem;
use super::node::Node;

/// Files written to longer ago than this may be forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// Files remembered as written to lately before the first look at which of them to forget.
const REMEMBERED: usize = 65_536;

/// The dirty nodes. They are held here, so that they stay in memory until they are flushed.
#[derive(Default)]
pub struct DirtyNodes {
    nodes: Mutex<HashMap<u64, Arc<Node>>>,
    total: Arc<AtomicU64>,
    written: Mutex<Written>,
}

/// When files were last written to.
struct Written {
    when: HashMap<u64, Instant>,
    /// Length at which old ones are forgotten.
    sweep_at: usize,
}

impl Default for Written {
    fn default() -> Self {
        Self {
            when: HashMap::new(),
            sweep_at: REMEMBERED,
        }
    }
}

impl Written {
    fn note(&mut self, ino: u64, now: Instant) {
        self.when.insert(ino, now);
        if self.when.len() > self.sweep_at {
            self.when.retain(|_, when| now.duration_since(*when) < FORGET_AFTER);
            // Not at every write again while there are as many that are young.
            self.sweep_at = REMEMBERED.max(2 * self.when.len());
        }
    }
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
        self.written.lock().note(node.ino, Instant::now());
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
        self.dirty.written.lock().when.get(&ino).copied()
    }

    /// Whether the file has written bytes that are not in the log yet.
    pub fn is_dirty(&self, ino: u64) -> bool {
        self.dirty.nodes.lock().contains_key(&ino)
    }

    /// Files written to since `since`, as far as [`Filesystem::last_write`] remembers.
    pub fn written_since(&self, since: Instant) -> Vec<u64> {
        let written = self.dirty.written.lock();
        let recent = written.when.iter().filter(|(_, when)| **when >= since);
        recent.map(|(ino, _)| *ino).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From 65,537 files on all of them were looked at at each write: a million took hours.
    #[test]
    fn files_written_in_numbers_are_not_all_looked_at_at_every_write() {
        let (mut written, begun) = (Written::default(), Instant::now());
        let (mut sweeps, files) = (0, 20 * REMEMBERED as u64);
        for ino in 0..files {
            let before = written.sweep_at;
            written.note(ino, begun);
            sweeps += u32::from(written.sweep_at != before);
        }
        assert_eq!(sweeps, 5);
        assert_eq!(written.when.len() as u64, files);
        let later = begun + FORGET_AFTER;
        (files..=written.sweep_at as u64).for_each(|ino| written.note(ino, later));
        assert!(!written.when.contains_key(&0) && written.when.contains_key(&files));
    }
}
