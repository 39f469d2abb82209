//! write: bytes go into memory; when much is dirty a flush is queued, when too much is, the writer waits.

use std::sync::Arc;
use std::time::Instant;

use lmfs_indexer::Change;

use super::node::{Node, State};
use super::types::now;
use super::{Errno, Error, Filesystem, Result};

/// Largest size of a file.
pub const MAX_SIZE: u64 = i64::MAX as u64;

/// Dirty bytes of one file from which a flush is queued: some whole blocks, so that a flush is worth its transaction.
const FLUSH_AT: u64 = 4 << 20;

impl Filesystem {
    /// Whether a write would have to wait for dirty bytes to be flushed first.
    pub fn write_waits(&self) -> bool {
        self.dirty.blocks().saturating_mul(self.block_size()) >= self.options.dirty_bytes
    }

    /// Writes `data` at `offset` and says how many bytes it took: all. The bytes are durable after fsync, or on their own
    /// within seconds. With `kill_suid` the set-user-id and set-group-id bits are cleared. Waits for a flush when
    /// [`Filesystem::write_waits`].
    ///
    /// # Errors
    /// EFBIG beyond the largest size; ENOSPC when the store is full and memory for dirty bytes, too; EIO when that memory is
    /// full of blocks that cannot be stored because the rest of them cannot be read, and this would be one more.
    pub fn write(&self, ino: u64, offset: u64, data: &[u8], kill_suid: bool) -> Result<u32> {
        let node = self.node(ino)?;
        self.write_bytes(&node, offset, data, kill_suid)
    }

    pub(super) fn write_bytes(&self, node: &Arc<Node>, offset: u64, data: &[u8], kill_suid: bool) -> Result<u32> {
        self.writable()?;
        let end = offset.checked_add(data.len() as u64).filter(|end| *end <= MAX_SIZE);
        let end = end.ok_or(Error::new(Errno::FBIG, "beyond the largest file size"))?;
        let count = u32::try_from(data.len()).map_err(|_| Error::new(Errno::INVAL, "more than 4 GiB in one write"))?;
        if self.write_waits() {
            self.make_room(node.ino, offset..end)?;
        }
        let mut state = node.file()?;
        if data.is_empty() {
            return Ok(0);
        }
        self.put_bytes(node, &mut state, offset, data);
        state.inode.size = state.inode.size.max(end);
        if kill_suid {
            kill_suid_bits(&mut state.inode.perm);
        }
        if state.dirty.bytes() >= FLUSH_AT.min(self.options.dirty_bytes / 2) && !state.flush_queued {
            state.flush_queued = true;
            drop(state);
            let node = node.clone();
            self.run(move |fs| {
                // It is retried by the background thread and told to whoever syncs or closes.
                let _ = fs.flush_node(&node, false);
            });
        }
        Ok(count)
    }

    /// Clears the set-user-id and set-group-id bits before the contents change, in a transaction of its own if there are
    /// any: the kernel leaves it to the filesystem (`FUSE_HANDLE_KILLPRIV_V2`).
    pub(super) fn kill_suid(&self, node: &Node) -> Result<()> {
        let mut state = node.file()?;
        let mut inode = state.inode.clone();
        kill_suid_bits(&mut inode.perm);
        if inode.perm != state.inode.perm {
            inode.ctime = now();
            self.commit(vec![Change::PutInode(state.storable(&inode))])?;
            state.inode = inode;
        }
        Ok(())
    }

    /// Puts bytes into the buffer and marks times and node. The size is the caller's to set.
    pub(super) fn put_bytes(&self, node: &Arc<Node>, state: &mut State, offset: u64, data: &[u8]) {
        let bs = self.block_size();
        let (mut at, mut rest) = (offset, data);
        while !rest.is_empty() {
            let start = at % bs;
            let room = usize::try_from(bs - start).unwrap_or(usize::MAX);
            let (now, later) = rest.split_at(room.min(rest.len()));
            state.dirty.write(at / bs, usize::try_from(start).unwrap_or(0), now);
            at += now.len() as u64;
            rest = later;
        }
        self.touch_contents(node, state);
    }

    /// The contents changed: times, and a place among the dirty nodes if there is something to flush.
    pub(super) fn touch_contents(&self, node: &Arc<Node>, state: &mut State) {
        let time = now();
        state.inode.mtime = time;
        state.inode.ctime = time;
        if !state.dirty.is_empty() {
            state.dirty_since.get_or_insert_with(Instant::now);
            self.dirty.wrote(node);
        }
    }
}

/// Clears set-user-id, and set-group-id where group execution makes it one (man 2 chown).
pub fn kill_suid_bits(perm: &mut u32) {
    *perm &= !0o4000;
    if *perm & 0o010 != 0 {
        *perm &= !0o2000;
    }
}
