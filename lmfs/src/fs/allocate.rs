//! fallocate: extending, punching holes, zeroing.

use std::ops::Range;
use std::sync::Arc;

use lmfs_indexer::Change;

use super::node::{Node, State};
use super::types::now;
use super::write::MAX_SIZE;
use super::{Allocate, Errno, Error, Filesystem, Result};
use crate::room::{self, Use};

/// Blocks whose extents are dropped by one change, a byte each in the log.
const PAGE: u64 = 4096;

/// Changes in one transaction, far fewer than a record can hold.
const CHANGES: usize = 1024;

impl Filesystem {
    /// Allocates, punches a hole into, or zeroes `length` bytes at `offset`. Whole blocks become holes, in one transaction
    /// unless there are millions, the edges are written with zeros. Allocating checks that there is room now and reserves
    /// none: a store that never overwrites in place cannot promise it. With `kill_suid` the set-user-id and set-group-id
    /// bits are cleared.
    ///
    /// # Errors
    /// EINVAL for no length, EFBIG, ENOSPC; what the store reports.
    pub fn fallocate(&self, ino: u64, offset: u64, length: u64, mode: Allocate, kill_suid: bool) -> Result<()> {
        self.writable()?;
        if length == 0 {
            return Err(Error::new(Errno::INVAL, "a range of no bytes"));
        }
        let end = offset.checked_add(length).filter(|end| *end <= MAX_SIZE);
        let end = end.ok_or(Error::new(Errno::FBIG, "beyond the largest file size"))?;
        let node = self.node(ino)?;
        if kill_suid {
            self.kill_suid(&node)?;
        }
        let keep_size = match mode {
            Allocate::Reserve { keep_size } => {
                if length > room::left(&self.store, Use::Data)? {
                    return Err(Error::new(Errno::NOSPC, "less room than asked for"));
                }
                keep_size
            }
            Allocate::PunchHole => {
                self.zero(&node, offset..end)?;
                true
            }
            Allocate::ZeroRange { keep_size } => {
                self.zero(&node, offset..end)?;
                keep_size
            }
        };
        let size = node.file()?.inode.size;
        if !keep_size && end > size {
            self.set_size(&node, end, false)?;
        }
        Ok(())
    }

    /// Makes a range read as zeros. What lies beyond the end of the file does so already.
    fn zero(&self, node: &Arc<Node>, range: Range<u64>) -> Result<()> {
        let bs = self.block_size();
        let mut state = node.file()?;
        let size = state.inode.size;
        let end = range.end.min(size);
        if range.start >= end {
            return Ok(());
        }
        // A block that the range covers up to the end of the file is covered whole.
        let whole = range.start.div_ceil(bs)..if end == size { end.div_ceil(bs) } else { end / bs };
        if whole.start < whole.end {
            let blocks = whole.start..if end == size { u64::MAX } else { whole.end };
            self.drop_blocks(node, &mut state, blocks)?;
        }
        let edges = if whole.start < whole.end {
            [range.start..whole.start * bs, (whole.end * bs).min(end)..end]
        } else {
            [range.start..end, end..end]
        };
        for edge in edges {
            self.zero_edge(node, &mut state, edge)?;
        }
        Ok(())
    }

    /// Makes blocks holes; up to `u64::MAX` are all to the end of the file.
    fn drop_blocks(&self, node: &Node, state: &mut State, blocks: Range<u64>) -> Result<()> {
        let ino = node.ino;
        let mut from = blocks.start;
        while from < blocks.end {
            let (mut changes, begin) = (Vec::new(), from);
            if blocks.end == u64::MAX {
                from = blocks.end;
                changes.push(Change::TruncateExtents { ino, from: begin });
            }
            while from < blocks.end && changes.len() < CHANGES {
                let next = self.store.next_extent(ino, from)?.filter(|next| *next < blocks.end);
                from = next.map_or(blocks.end, |first| blocks.end.min(first + PAGE));
                changes.extend(next.map(|first| Change::PutExtents {
                    ino,
                    first,
                    extents: vec![None; usize::try_from(from - first).unwrap_or(0)],
                }));
            }
            let mut inode = state.inode.clone();
            inode.mtime = now();
            inode.ctime = inode.mtime;
            changes.push(Change::PutInode(state.storable(&inode)));
            self.commit(changes)?;
            state.inode = inode;
            state.dirty.remove(begin..from);
        }
        Ok(())
    }

    /// Writes zeros into a part of a block, or of two, where there is data.
    fn zero_edge(&self, node: &Arc<Node>, state: &mut State, edge: Range<u64>) -> Result<()> {
        let bs = self.block_size();
        let mut at = edge.start;
        while at < edge.end {
            let next = edge.end.min((at / bs + 1) * bs);
            let data = state.dirty.get(at / bs).is_some() || self.extent(node.ino, at / bs)?.is_some();
            if data {
                let zeros = vec![0; usize::try_from(next - at).unwrap_or(0)];
                self.put_bytes(node, state, at, &zeros);
            }
            at = next;
        }
        Ok(())
    }
}
