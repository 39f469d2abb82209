//! copy_file_range: whole blocks are shared, the rest travels through memory.

use std::sync::Arc;

use lmfs_indexer::{Change, MAX_COPIED};

use super::Contents;
use crate::fs::error::{Errno, Error, Result};
use crate::fs::inode::edit::Edit;
use crate::fs::inode::node::Node;
use crate::fs::inode::node::kill_suid_bits;
use crate::fs::types::{FilePosition, Kind, now};
use crate::store::reserve::{self, Purpose};
use crate::task::{Asker, yield_now};

/// Most bytes copied by one call; the caller asks again for the rest.
const MOST: u64 = 64 << 20;

/// Bytes copied through memory at a time.
const STEP: u32 = 1 << 20;

/// Who copies, and what that changes beside the contents.
#[derive(Clone, Copy)]
struct Terms {
    asker: Asker,
    kill_suid: bool,
}

/// Whole blocks to copy, and at the end perhaps a part of one.
struct Blocks<'a> {
    source: &'a Arc<Node>,
    target: &'a Arc<Node>,
    /// Number of the first block in each.
    from: u64,
    to: u64,
    bytes: u64,
}

impl Contents {
    /// Copies up to `length` bytes and says how many: fewer at the end of the source, because it is much, or because
    /// the rest fails, which the next call tells. Blocks that the copy covers whole are shared by both files. Waits for
    /// the log, and for decodes of the rest. With `kill_suid` the target's set-user-id and set-group-id bits are
    /// cleared.
    ///
    /// # Errors
    /// EIO when the source cannot be read; as for write. Nothing was copied then.
    pub async fn copy_file_range(
        &self,
        from: FilePosition,
        to: FilePosition,
        length: u64,
        kill_suid: bool,
        asker: Asker,
    ) -> Result<u32> {
        self.journal.check_writable()?;
        let (source, target) = (self.inodes.get(from.ino)?, self.inodes.get(to.ino)?);
        let size = source.file()?.inode.size;
        drop(target.file()?);
        let length = length.min(size.saturating_sub(from.offset)).min(MOST);
        let terms = Terms { asker, kill_suid };
        let mut done = 0;
        while done < length {
            let (here, there) = ((&source, from.offset + done), (&target, to.offset + done));
            match self.copy_step(here, there, length - done, terms).await {
                Ok(0) => break,
                Ok(copied) => done += copied,
                // The kernel has to hear of what was copied: on an error it keeps its pages of the target and its size.
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
            yield_now().await;
        }
        // At most `MOST`.
        Ok(done as u32)
    }

    /// Copies some of `left` bytes in one step, all or nothing, and says how many; 0 at the end of the source.
    async fn copy_step(&self, from: (&Arc<Node>, u64), to: (&Arc<Node>, u64), left: u64, terms: Terms) -> Result<u64> {
        let ((source, here), (target, there)) = (from, to);
        let bs = self.block_size;
        if here.is_multiple_of(bs) && there.is_multiple_of(bs) {
            let blocks = Blocks {
                source,
                target,
                from: here / bs,
                to: there / bs,
                bytes: left.min(MAX_COPIED * bs),
            };
            let copied = self.share(&blocks, terms).await?;
            if copied > 0 {
                return Ok(copied);
            }
        }
        // Up to where whole blocks begin, if they ever do.
        let step = if here % bs == there % bs {
            u64::from(STEP).min(bs - here % bs)
        } else {
            u64::from(STEP)
        };
        let step = step.min(left) as u32;
        let bytes = self.read(source.ino, here, step, terms.asker).await?;
        if !bytes.is_empty() {
            self.write_back
                .write(target, there, &bytes, terms.kill_suid, terms.asker)
                .await?;
        }
        Ok(bytes.len() as u64)
    }

    /// Lets a file have blocks that are stored for another one, and says how many bytes these are. It stops before a
    /// block that cannot be shared.
    async fn share(&self, blocks: &Blocks<'_>, terms: Terms) -> Result<u64> {
        let end = blocks.from + blocks.bytes.div_ceil(self.block_size);
        let dirty = blocks.source.lock().dirty.next(blocks.from);
        if dirty.is_some_and(|dirty| dirty < end) {
            // What is stored needs no room twice. What cannot be stored now travels through memory.
            let _ = self.write_back.flush(blocks.source, terms.asker).await;
        }
        if self.grows_over_dirty(blocks.target, blocks.to) {
            // The size that is stored with the copies must not promise what is in memory alone.
            self.write_back.flush(blocks.target, terms.asker).await?;
        }
        // Nobody's flush may store an older state of these blocks after them.
        let _one_at_a_time = blocks.target.flushing.lock().await;
        let perm = blocks.target.lock().inode.perm;
        let shared = self.commit_shared(blocks, terms.kill_suid);
        if blocks.target.lock().inode.perm != perm {
            self.journal.events().changed(blocks.target.ino);
        }
        shared
    }

    /// Whether blocks that are stored from `to` on lie beyond the stored size, with dirty ones before them.
    fn grows_over_dirty(&self, target: &Node, to: u64) -> bool {
        let state = target.lock();
        state.stored_size < to.saturating_mul(self.block_size) && state.dirty.next(0).is_some_and(|dirty| dirty < to)
    }

    /// Makes stored blocks of one file blocks of another, too, and says how many bytes these are.
    fn commit_shared(&self, blocks: &Blocks<'_>, kill_suid: bool) -> Result<u64> {
        let Blocks { source, target, to, .. } = *blocks;
        let mut edit = Edit::new([source, target]);
        let from = blocks.from;
        let (size, dirty) = {
            let state = edit.state(source.ino)?;
            (state.inode.size, state.dirty.next(from))
        };
        let state = edit.state(target.ino)?;
        if state.gone {
            return Err(Error::stale());
        }
        if state.inode.kind != Kind::File {
            return Err(Error::new(Errno::INVAL, "not a regular file"));
        }
        let bs = self.block_size;
        let mut bytes = blocks.bytes.min(size.saturating_sub(from * bs));
        if let Some(dirty) = dirty {
            bytes = bytes.min((dirty - from) * bs);
        }
        // A part of a block can be shared if it is the end of both files.
        let ends = from * bs + bytes == size && to.saturating_mul(bs).saturating_add(bytes) >= state.inode.size;
        if !ends {
            bytes -= bytes % bs;
        }
        if bytes == 0 {
            return Ok(0);
        }
        reserve::ensure(self.store(), Purpose::Names)?;
        let count = bytes.div_ceil(bs);
        let end = to.saturating_mul(bs).saturating_add(bytes);
        let mut inode = state.inode.clone();
        let time = now();
        inode.mtime = time;
        inode.ctime = time;
        inode.size = inode.size.max(end);
        if kill_suid {
            kill_suid_bits(&mut inode.perm);
        }
        let stored_size = state.stored_size.max(end);
        let mut row = inode.clone();
        row.size = stored_size;
        let ino = target.ino;
        let beyond = self.write_back.cut_beyond(ino, state.stored_size)?;
        let copy = Change::CopyExtents {
            ino,
            first: to,
            from: source.ino,
            from_first: from,
            count,
        };
        self.journal
            .commit(beyond.into_iter().chain([copy, Change::PutInode(row)]).collect())?;
        state.inode = inode;
        state.stored_size = stored_size;
        state.dirty.remove(to..to + count);
        Ok(bytes)
    }
}
