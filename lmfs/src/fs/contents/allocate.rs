//! fallocate: extending, punching holes, zeroing. Each is one transaction: it happens whole or not at all, since the
//! kernel keeps its pages and its idea of the size when it hears of a failure.

use std::ops::Range;
use std::sync::Arc;

use lmfs_indexer::Change;

use super::Contents;
use crate::fs::error::{Errno, Error, Result};
use crate::fs::inode::node::kill_suid_bits;
use crate::fs::inode::node::{Node, State};
use crate::fs::types::Allocate;
use crate::fs::types::MAX_SIZE;
use crate::fs::types::now;
use crate::store::reserve::{self, Purpose};

impl Contents {
    /// Allocates, punches a hole into, or zeroes `length` bytes at `offset`, in one transaction. Whole blocks become
    /// holes, the edges are written with zeros. Allocating checks that there is room now and reserves none: a store
    /// that never overwrites in place cannot promise it. With `kill_suid` the set-user-id and set-group-id bits are
    /// cleared.
    ///
    /// # Errors
    /// EINVAL for no length, EFBIG, ENOSPC; what the store reports.
    pub fn fallocate(&self, ino: u64, offset: u64, length: u64, mode: Allocate, kill_suid: bool) -> Result<()> {
        self.journal.check_writable()?;
        if length == 0 {
            return Err(Error::new(Errno::INVAL, "a range of no bytes"));
        }
        let end = offset.checked_add(length).filter(|end| *end <= MAX_SIZE);
        let end = end.ok_or(Error::new(Errno::FBIG, "beyond the largest file size"))?;
        let node = self.inodes.get(ino)?;
        let (zero, keep_size) = match mode {
            Allocate::Reserve { keep_size } => {
                // The system is asked once. Others may take the room before it is written to.
                if length > reserve::available(self.store(), Purpose::Data)? {
                    return Err(Error::new(Errno::NOSPC, "less room than asked for"));
                }
                (offset..offset, keep_size)
            }
            Allocate::PunchHole => (offset..end, true),
            Allocate::ZeroRange { keep_size } => (offset..end, keep_size),
        };
        let mut state = node.file()?;
        let grows = !keep_size && end > state.inode.size;
        let perm = state.inode.perm;
        let done = self.zero(&node, &mut state, zero, grows.then_some(end), kill_suid);
        let cleared = state.inode.perm != perm;
        drop(state);
        if cleared {
            self.journal.events().changed(ino);
        }
        done
    }

    /// Makes a range read as zeros, and the file `grown` bytes long. What lies beyond the end of the file reads as
    /// zeros already.
    fn zero(
        &self,
        node: &Arc<Node>,
        state: &mut State,
        range: Range<u64>,
        grown: Option<u64>,
        kill_suid: bool,
    ) -> Result<()> {
        let (bs, ino, size) = (self.block_size, node.ino, state.inode.size);
        let range = range.start..range.end.min(size);
        // A block that the range covers up to the end of the file is covered whole.
        let to_the_end = range.end == size;
        let whole = range.start.div_ceil(bs)..if to_the_end { size.div_ceil(bs) } else { range.end / bs };
        let (mut changes, mut edges) = (Vec::new(), Vec::new());
        if range.start < range.end && whole.start < whole.end {
            let (from, end) = (whole.start, whole.end);
            changes.push(if to_the_end {
                Change::TruncateExtents { ino, from }
            } else {
                Change::PunchExtents { ino, from, end }
            });
            edges.extend(self.edge(node.ino, state, range.start..whole.start * bs)?);
            edges.extend(self.edge(node.ino, state, (whole.end * bs).min(range.end)..range.end)?);
        } else {
            edges.extend(self.edge(node.ino, state, range.clone())?);
        }
        if grown.is_some() && !matches!(changes.first(), Some(Change::TruncateExtents { .. })) {
            changes.extend(self.write_back.cut_beyond(ino, state.stored_size)?);
        }
        let mut inode = state.inode.clone();
        if kill_suid {
            kill_suid_bits(&mut inode.perm);
        }
        let changed = !changes.is_empty() || grown.is_some() || inode.perm != state.inode.perm;
        if changed {
            inode.size = grown.unwrap_or(size);
            inode.ctime = now();
            if !changes.is_empty() || grown.is_some() {
                inode.mtime = inode.ctime;
            }
            let row = if grown.is_some() {
                inode.clone()
            } else {
                state.storable(&inode)
            };
            changes.push(Change::PutInode(row));
            self.journal.commit(changes)?;
            state.stored_size = grown.unwrap_or(state.stored_size);
            state.inode = inode;
        }
        // From here on nothing fails.
        if range.start < range.end && whole.start < whole.end {
            state
                .dirty
                .remove(whole.start..if to_the_end { u64::MAX } else { whole.end });
        }
        for edge in edges {
            let zeros = vec![0; (edge.end - edge.start) as usize];
            self.write_back.put_bytes(node, state, edge.start, &zeros);
        }
        Ok(())
    }

    /// The parts of an edge, a part of a block or of two, where there is data to be overwritten with zeros.
    fn edge(&self, ino: u64, state: &State, edge: Range<u64>) -> Result<Vec<Range<u64>>> {
        let bs = self.block_size;
        let (mut parts, mut at) = (Vec::new(), edge.start);
        while at < edge.end {
            let (block, next) = (at / bs, edge.end.min((at / bs + 1) * bs));
            if state.dirty.get(block).is_some() || self.reader.extent(ino, block)?.is_some() {
                parts.push(at..next);
            }
            at = next;
        }
        Ok(parts)
    }
}
