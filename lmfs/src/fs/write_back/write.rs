//! write: bytes go into memory; when much is dirty a flush is queued, when too much is, the writer waits. With O_APPEND
//! the kernel says the offset.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::WriteBack;
use super::backpressure::Room;
use crate::fs::error::{Errno, Error, Result};
use crate::fs::inode::node::kill_suid_bits;
use crate::fs::inode::node::{Node, State};
use crate::fs::types::{MAX_SIZE, now};
use crate::task::Asker;

/// What became of a write.
enum Written {
    Bytes(u32),
    /// It has to wait for room in memory.
    Waits(Room),
}

impl WriteBack {
    /// Writes `data` at `offset` if there is room in memory, and says how many bytes it took: all. `None`: it has to
    /// wait for room, and [`WriteBack::write`] does.
    ///
    /// # Errors
    /// As for [`WriteBack::write`].
    pub fn write_now(
        self: &Arc<Self>,
        node: &Arc<Node>,
        offset: u64,
        data: &[u8],
        kill_suid: bool,
    ) -> Result<Option<u32>> {
        let range = self.writable_range(offset, data)?;
        match self.try_write(node, range, data, kill_suid, false)? {
            Written::Bytes(count) => Ok(Some(count)),
            Written::Waits(_) => Ok(None),
        }
    }

    /// Writes `data` at `offset` and says how many bytes it took: all. The bytes are durable after fsync, or on their
    /// own within seconds. With `kill_suid` the set-user-id and set-group-id bits are cleared. Waits for room in
    /// memory.
    ///
    /// # Errors
    /// EFBIG beyond the largest size; ENOSPC when the store is full and memory for dirty bytes, too; EIO when that
    /// memory is full of blocks that cannot be stored because the rest of them cannot be read, and this would be one
    /// more.
    pub async fn write(
        self: &Arc<Self>,
        node: &Arc<Node>,
        offset: u64,
        data: &[u8],
        kill_suid: bool,
        asker: Asker,
    ) -> Result<u32> {
        let range = self.writable_range(offset, data)?;
        let mut anyway = false;
        loop {
            match self.try_write(node, range.clone(), data, kill_suid, anyway)? {
                Written::Bytes(count) => return Ok(count),
                Written::Waits(room) => anyway = self.make_room(room, node.ino, &range, asker).await?,
            }
        }
    }

    fn writable_range(&self, offset: u64, data: &[u8]) -> Result<Range<u64>> {
        self.journal.check_writable()?;
        let end = offset.checked_add(data.len() as u64).filter(|end| *end <= MAX_SIZE);
        let end = end.ok_or(Error::new(Errno::FBIG, "beyond the largest file size"))?;
        Ok(offset..end)
    }

    fn try_write(
        self: &Arc<Self>,
        node: &Arc<Node>,
        range: Range<u64>,
        data: &[u8],
        kill_suid: bool,
        anyway: bool,
    ) -> Result<Written> {
        let count = u32::try_from(data.len()).map_err(|_| Error::new(Errno::INVAL, "more than 4 GiB in one write"))?;
        let mut state = node.file()?;
        if data.is_empty() {
            return Ok(Written::Bytes(0));
        }
        match self.room(&state, &range) {
            Room::Free => {}
            _ if anyway => {}
            room => return Ok(Written::Waits(room)),
        }
        self.put_bytes(node, &mut state, range.start, data);
        state.inode.size = state.inode.size.max(range.end);
        let perm = state.inode.perm;
        if kill_suid {
            kill_suid_bits(&mut state.inode.perm);
        }
        let cleared = state.inode.perm != perm;
        // Once per flush: the queue would otherwise grow by one for every write.
        let flush = state.dirty.bytes() >= self.limits.flush_at && !state.flush_queued;
        state.flush_queued |= flush;
        drop(state);
        if cleared {
            self.journal.events().changed(node.ino);
        }
        if flush {
            self.flush_soon(node.clone());
        }
        Ok(Written::Bytes(count))
    }

    /// Puts bytes into the buffer and marks times and node. The size is the caller's to set.
    pub fn put_bytes(&self, node: &Arc<Node>, state: &mut State, offset: u64, data: &[u8]) {
        let bs = self.limits.block_size;
        let size = state.inode.size.max(offset.saturating_add(data.len() as u64));
        let (mut at, mut rest) = (offset, data);
        while !rest.is_empty() {
            let start = at % bs;
            let room = (bs - start) as usize;
            let (now, later) = rest.split_at(room.min(rest.len()));
            let (block, len) = (at / bs, self.bytes_in(at / bs, size));
            state.dirty.write(block, start as usize, now, len);
            at += now.len() as u64;
            rest = later;
        }
        self.touch_contents(node, state);
    }

    /// The contents changed: times, and a place among the dirty nodes if there is something to flush.
    fn touch_contents(&self, node: &Arc<Node>, state: &mut State) {
        let time = now();
        state.inode.mtime = time;
        state.inode.ctime = time;
        if !state.dirty.is_empty() && state.dirty_since.is_none() {
            // The oldest bytes set the age, so that a file that is always written to is stored as well.
            state.dirty_since = Some(Instant::now());
            self.dirty.wrote(node);
        }
    }
}
