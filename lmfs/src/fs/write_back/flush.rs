//! Flushes: of one file until all is stored that was dirty, and of all files in rounds.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::WriteBack;
use super::slice::{Bases, Span};
use crate::fs::error::Result;
use crate::fs::inode::node::Node;
use crate::task::Asker;

/// Memory for what was decoded for a flush and is not stored yet, in bytes.
const BASES: u64 = 4 << 20;

/// Whether a round has decoded what needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cold {
    /// In flushes of their own, which nobody waits for.
    Decode,
    /// Not now.
    Leave,
}

/// A flush that waits for decodes is counted as long as this lives.
struct Decoding(Arc<WriteBack>);

impl Decoding {
    fn new(write_back: &Arc<WriteBack>) -> Decoding {
        write_back.decoding.fetch_add(1, Ordering::SeqCst);
        Decoding(write_back.clone())
    }
}

impl Drop for Decoding {
    fn drop(&mut self) {
        self.0.decoding.fetch_sub(1, Ordering::SeqCst);
        self.0.progress.notify_waiters();
    }
}

/// A flush of a file is queued as long as this lives.
struct Queued(Arc<Node>);

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.lock().decode_queued = false;
    }
}

impl WriteBack {
    /// Stores what is dirty in `node`. Waits for the log, and for a decode where a block was written in part. What
    /// could not be stored stays in memory. What had to be given up is no error of this: it is noted in the node.
    ///
    /// # Errors
    /// The first failure; that of a block whose rest cannot be read only when all others are stored.
    pub async fn flush(self: &Arc<Self>, node: &Arc<Node>, asker: Asker) -> Result<()> {
        let left = self.slice(node, Span::All, &Bases::new()).await?;
        let (mut waits, mut cold) = (left.waits, VecDeque::from(left.cold));
        let _counted = (!cold.is_empty()).then(|| Decoding::new(self));
        while !cold.is_empty() {
            let bases = self.decode(node.ino, &mut cold, asker).await;
            let left = self.slice(node, Span::All, &bases).await?;
            waits = waits.or(left.waits);
            // Another flush stored the block meanwhile, and it was written to again.
            cold.extend(left.cold.into_iter().filter(|block| bases.contains_key(block)));
        }
        waits.map_or(Ok(()), Err)
    }

    /// Stores what is dirty in `node` and needs no decode, without the block that a sequential writer is at.
    ///
    /// # Errors
    /// As for [`WriteBack::flush`].
    pub async fn flush_but_last(&self, node: &Arc<Node>) -> Result<()> {
        let left = self.slice(node, Span::ButLast, &Bases::new()).await?;
        left.waits.map_or(Ok(()), Err)
    }

    /// Has some of the blocks decoded, several at a time, and takes them from `cold`. At least one; then as many as
    /// come within the time after which a flush commits, and as fit into memory.
    async fn decode(&self, ino: u64, cold: &mut VecDeque<u64>, asker: Asker) -> Bases {
        let begun = Instant::now();
        let most = (BASES / self.limits.block_size) as usize;
        let most = most.max(self.limits.decodes);
        let (mut bases, mut coming) = (Bases::new(), VecDeque::new());
        loop {
            let wanted = |held: usize| held == 0 || (held < most && begun.elapsed() < self.limits.commit_age);
            while coming.len() < self.limits.decodes && wanted(bases.len() + coming.len()) {
                let Some(block) = cold.pop_front() else { break };
                // A hole needs no decode, and an index that cannot be read is told by the next slice.
                if let Ok(Some(extent)) = self.reader.extent(ino, block) {
                    coming.push_back((block, extent, self.reader.fetch(ino, block, &extent, asker)));
                }
            }
            let Some((block, extent, fetch)) = coming.pop_front() else {
                return bases;
            };
            // The packer and garbage collection go on while it waits for a thread.
            let loaded = fetch.await;
            match self.reader.follow(ino, block, extent, loaded, asker).await {
                Ok(Some((now, decoded))) => bases.insert(block, (now.id, Ok(decoded))),
                Ok(None) => None,
                Err(error) => bases.insert(block, (extent.id, Err(error))),
            };
        }
    }

    /// Stores what has been dirty for `age`, of all files, the oldest first and a second of each in turn.
    ///
    /// # Errors
    /// The first failure; the others are stored nevertheless.
    pub async fn round(self: &Arc<Self>, age: Duration, cold: Cold) -> Result<()> {
        let _one_at_a_time = self.round.lock().await;
        let since = |node: Arc<Node>| {
            let since = node.lock().dirty_since?;
            (since.elapsed() >= age).then_some((since, node))
        };
        let (mut result, mut cut_short) = (Ok(()), true);
        while std::mem::take(&mut cut_short) {
            let mut nodes: Vec<_> = self.dirty.all().into_iter().filter_map(since).collect();
            nodes.sort_by_key(|(since, _)| *since);
            for (_, node) in nodes {
                match self.slice(&node, Span::Short, &Bases::new()).await {
                    Ok(left) => {
                        cut_short |= left.cut_short;
                        if !left.cold.is_empty() && cold == Cold::Decode {
                            self.flush_by_itself(node);
                        }
                    }
                    Err(error) => result = result.and(Err(error)),
                }
            }
        }
        result
    }

    /// Flushes a file that needs decodes, unless that is under way; nobody waits for it.
    fn flush_by_itself(self: &Arc<Self>, node: Arc<Node>) {
        if std::mem::replace(&mut node.lock().decode_queued, true) {
            return;
        }
        let (me, queued, counted) = (self.clone(), Queued(node), Decoding::new(self));
        self.executor.spawn(Asker::DAEMON, async move {
            let _counted = counted;
            // Failures are logged and counted there, and tried again at the next round.
            let _ = me.flush(&queued.0, Asker::DAEMON).await;
        });
    }

    /// Has a file flushed of which much is dirty; nobody waits for it.
    pub fn flush_soon(self: &Arc<Self>, node: Arc<Node>) {
        let me = self.clone();
        self.executor.spawn(Asker::DAEMON, async move {
            // It is tried again in the background, and told to whoever syncs or closes.
            let _ = me.flush_but_last(&node).await;
        });
    }

    /// Stores what is dirty in all files, several at a time where they wait for decodes.
    ///
    /// # Errors
    /// The first failure; the other files are stored nevertheless.
    pub async fn flush_all(self: &Arc<Self>) -> Result<()> {
        // What needs no decode comes first; the others' decodes are asked for together.
        let mut result = self.round(Duration::ZERO, Cold::Decode).await;
        for node in self.dirty.all() {
            result = result.and(self.flush(&node, Asker::DAEMON).await);
        }
        result
    }
}
