//! truncate: cutting and extending files.
//!
//! A cut inside a block needs no decode: the block's extent keeps pointing to the whole block but says that fewer of
//! its bytes count. What lies beyond an extent's length reads as zeros, so a file that is cut and extended again shows
//! none of its old bytes.

use std::sync::Arc;

use lmfs_indexer::{Change, Extent};

use super::Contents;
use crate::fs::error::{Errno, Error, Result};
use crate::fs::inode::node::Node;
use crate::fs::inode::node::kill_suid_bits;
use crate::fs::types::MAX_SIZE;
use crate::fs::types::now;

impl Contents {
    /// Sets the size of a file; what is new reads as zeros. One transaction.
    pub fn set_size(&self, node: &Arc<Node>, size: u64, kill_suid: bool) -> Result<()> {
        self.journal.check_writable()?;
        if size > MAX_SIZE {
            return Err(Error::new(Errno::FBIG, "beyond the largest file size"));
        }
        let ino = node.ino;
        let (kept, rest) = (size.div_ceil(self.block_size), size % self.block_size);
        let mut state = node.file()?;
        let cut = size < state.inode.size;
        let mut changes = Vec::new();
        if cut {
            changes.push(Change::TruncateExtents { ino, from: kept });
        } else {
            changes.extend(self.write_back.cut_beyond(ino, state.stored_size)?);
        }
        let mut inode = state.inode.clone();
        let time = now();
        inode.size = size;
        inode.mtime = time;
        inode.ctime = time;
        if kill_suid {
            kill_suid_bits(&mut inode.perm);
        }
        changes.push(Change::PutInode(inode.clone()));
        self.journal.commit_with(|| {
            if cut {
                // The packer may merge the stored block at any time: the extent must be the one that is there then.
                changes.extend(self.clip(ino, kept, rest)?);
            }
            Ok(changes)
        })?;
        state.inode = inode;
        state.stored_size = size;
        if !cut {
            return Ok(());
        }
        // A flush under way must not store the size that it found.
        state.truncations += 1;
        state.dirty.remove(kept..u64::MAX);
        if rest > 0 {
            state.dirty.clip(kept - 1, rest as usize);
        }
        Ok(())
    }

    /// The change that lets only the first `rest` bytes of the last of `kept` blocks count.
    fn clip(&self, ino: u64, kept: u64, rest: u64) -> Result<Option<Change>> {
        if rest == 0 {
            return Ok(None);
        }
        let block = kept - 1;
        let keep = rest as u32;
        let extent = self.reader.extent(ino, block)?;
        Ok(extent
            .filter(|extent| extent.raw_len > keep)
            .map(|extent| Change::PutExtents {
                ino,
                first: block,
                extents: vec![Some(Extent {
                    raw_len: keep,
                    ..extent
                })],
            }))
    }
}
