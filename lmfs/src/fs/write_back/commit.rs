//! Appended blocks become part of the file: one transaction with their extents, the size and the times.

use lmfs_indexer::{Change, Extent};

use super::WriteBack;
use super::slice::{BlockOutcome, FlushPlan};
use crate::fs::error::Result;
use crate::fs::inode::node::{Node, State};

impl WriteBack {
    /// Commits blocks, with a size that holds as far as the first `tried` of those found reach. Blocks that could not
    /// be committed stay where they were appended, for the next flush to commit.
    pub(super) fn commit_blocks(
        &self,
        node: &Node,
        state: &mut State,
        plan: &FlushPlan,
        stored: Vec<BlockOutcome>,
        tried: usize,
    ) -> Result<()> {
        if state.gone {
            return Ok(());
        }
        let ino = node.ino;
        let mut runs: Vec<(u64, Vec<Option<Extent>>)> = Vec::new();
        let mut done = Vec::with_capacity(stored.len());
        for block in stored {
            match block {
                BlockOutcome::Stored(snapshot, appended) if state.dirty.is_current(&snapshot) => {
                    let extent = Some(appended.extent);
                    match runs.last_mut() {
                        Some((first, run)) if *first + run.len() as u64 == snapshot.block => run.push(extent),
                        _ => runs.push((snapshot.block, vec![extent])),
                    }
                    done.push((snapshot, appended));
                }
                // It was cut off while it was being stored.
                BlockOutcome::Stored(..) => {}
                BlockOutcome::Lost(snapshot, error) => {
                    tracing::error!(ino, block = snapshot.block, "gave up written data: {error}");
                    state.dirty.stored(&snapshot);
                    state.lost.add(error);
                }
                BlockOutcome::Deferred(_) | BlockOutcome::Cold => {}
            }
        }
        let stored_size = self.size_after(state, plan, tried);
        let mut inode = state.inode.clone();
        inode.size = stored_size;
        let mut changes = Vec::new();
        // An earlier size may have left blocks beyond it. The file must not grow over them.
        if stored_size > state.stored_size {
            changes.extend(self.cut_beyond(ino, state.stored_size)?);
        }
        changes.extend(
            runs.into_iter()
                .map(|(first, extents)| Change::PutExtents { ino, first, extents }),
        );
        if changes.is_empty() && stored_size == state.stored_size {
            return Ok(());
        }
        changes.push(Change::PutInode(inode));
        if let Err(error) = self.journal.commit(changes) {
            for (snapshot, appended) in done {
                state.dirty.appended(&snapshot, appended);
            }
            return Err(error);
        }
        state.stored_size = stored_size;
        for (snapshot, _) in &done {
            state.dirty.stored(snapshot);
        }
        Ok(())
    }

    /// The size to store once the first `tried` of the blocks found are stored: up to the next one, so that no block
    /// lies beyond the size, and no size beyond contents that can be stored. What was written only during the slice
    /// does not hold it back, nor does a block that waits in memory for its rest: it has been part of the file before.
    fn size_after(&self, state: &State, plan: &FlushPlan, tried: usize) -> u64 {
        // The file was cut meanwhile: the size that was found is not the file's any more.
        if plan.truncations != state.truncations {
            return state.stored_size;
        }
        let next = plan.snapshots.get(tried).map(|snapshot| snapshot.block);
        let next = next.or(plan.left_out);
        let bound = next.map_or(u64::MAX, |block| block.saturating_mul(self.limits.block_size));
        plan.size.min(bound).max(state.stored_size)
    }

    /// The change that drops blocks beyond the end of a file of `size` bytes, if there are any: a file that grows must
    /// not show them.
    pub fn cut_beyond(&self, ino: u64, size: u64) -> Result<Option<Change>> {
        let from = size.div_ceil(self.limits.block_size);
        // Most files are new, and the row of the inode is at hand.
        if self.store().stored_bytes(ino)? == 0 {
            return Ok(None);
        }
        let beyond = self.store().next_extent(ino, from)?;
        Ok(beyond.map(|_| Change::TruncateExtents { ino, from }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use std::sync::Arc;

    use super::super::slice::{Bases, Span};
    use super::*;
    use crate::fs::SetAttr;
    use crate::fs::tests::{BLOCK, Disk};

    const B: u64 = BLOCK as u64;

    /// A file with whole blocks at `blocks`, as a flush finds it that goes on for as long as the test wants.
    fn begun(disk: &Disk, blocks: &[u64]) -> (Arc<Node>, FlushPlan) {
        let node = disk.fs.inodes.get(disk.file("file")).unwrap();
        for block in blocks {
            disk.fs.write(node.ino, block * B, &[7; BLOCK as usize], false).unwrap();
        }
        let plan = FlushPlan::new(&node.lock(), Span::All);
        (node, plan)
    }

    fn commit(disk: &Disk, node: &Node, plan: &FlushPlan, at: usize) {
        let snapshot = plan.snapshots.get(at).unwrap();
        let stored = disk
            .fs
            .write_back
            .store_block(node, snapshot, plan.size, &Bases::new())
            .unwrap();
        disk.fs
            .write_back
            .commit_blocks(node, &mut node.lock(), plan, vec![stored], at + 1)
            .unwrap();
    }

    /// Regression: it held the size down while higher blocks were committed: a crash made them unreachable, check
    /// called the store damaged, and a file that grew showed them where zeros were due.
    #[test]
    fn a_block_first_written_during_a_flush_leaves_no_other_beyond_the_size() {
        let disk = Disk::new();
        let (node, plan) = begun(&disk, &[5, 6]);
        disk.fs.write(node.ino, B, b"new", false).unwrap();
        commit(&disk, &node, &plan, 0);
        assert_eq!(node.lock().stored_size, 6 * B);
        assert_eq!(disk.fs.store().next_extent(node.ino, 6).unwrap(), None);
        commit(&disk, &node, &plan, 1);
        let ino = node.ino;
        drop(node);
        let disk = disk.crash();
        let mut expected = vec![0; 7 * BLOCK as usize];
        expected[5 * BLOCK as usize..].fill(7);
        assert_eq!(disk.all(ino), expected);
    }

    /// Regression: the size of what was written since was stored with what was flushed before: after a crash it was all
    /// zeros.
    #[test]
    fn a_flush_during_which_the_file_was_cut_and_written_anew_stores_no_size_without_data() {
        let disk = Disk::new();
        let (node, plan) = begun(&disk, &[0, 1]);
        let size = SetAttr {
            size: Some(B),
            ..SetAttr::default()
        };
        disk.fs.setattr(node.ino, size, false).unwrap();
        disk.fs.write(node.ino, 3 * B, &[9; 100], false).unwrap();
        commit(&disk, &node, &plan, 0);
        commit(&disk, &node, &plan, 1);
        let ino = node.ino;
        drop(node);
        let disk = disk.crash();
        assert_eq!(disk.all(ino), [7; BLOCK as usize]);
    }
}
