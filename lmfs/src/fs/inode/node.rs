//! An inode in memory. While something holds its node, the node is newer than the store: its size counts written bytes
//! that are not in the log yet.

use std::sync::Arc;
use std::time::Instant;

use lmfs_indexer::{Inode, Kind};
use parking_lot::{Mutex, MutexGuard};

use super::buffer::{Totals, WriteBuffer};
use super::losses::Losses;
use crate::fs::error::{Errno, Error, Result};

/// An inode in memory.
pub struct Node {
    /// Its number.
    pub ino: u64,
    /// Held while dirty blocks of the node are being stored, so that one flush stores at a time. A flush lets go of it
    /// while it waits for a decode. Who waits for it holds no thread.
    ///
    /// Lock order: after [`WriteBack`](crate::fs::write_back::WriteBack)'s `round`, before all others.
    pub flushing: tokio::sync::Mutex<()>,
    /// Lock order: after `flushing` and the namespace's lock, before those of the store. States of several nodes are
    /// locked by [`Edit`](super::edit::Edit) alone, in ascending order of their numbers.
    state: Mutex<State>,
}

/// What is known of an inode, under its lock.
pub struct State {
    /// The inode as users see it.
    pub inode: Inode,
    /// The size in the store: smaller than the inode's while data waits to be flushed.
    pub stored_size: u64,
    /// Written bytes that are not in the log yet.
    pub dirty: WriteBuffer,
    /// When the oldest of them was written.
    pub dirty_since: Option<Instant>,
    /// A flush is queued because much is dirty.
    pub flush_queued: bool,
    /// A flush in the background has the rest of blocks decoded that were written in part.
    pub decode_queued: bool,
    /// How often the file was cut, so that a flush notices.
    pub truncations: u64,
    /// Open handles.
    pub opens: u32,
    /// It has no name yet and may get one (`O_TMPFILE`).
    pub linkable: bool,
    /// The kernel has said since the last name was removed that it does not refer to the inode any more.
    pub forgotten: bool,
    /// The rows are deleted; only those who hold the node still see it.
    pub gone: bool,
    /// The last flush failed.
    pub failed: bool,
    /// Written data that had to be given up.
    pub lost: Losses,
}

impl Node {
    /// The node of an inode as the store has it. Its buffer counts its dirty blocks in `totals`.
    pub fn new(inode: Inode, totals: Arc<Totals>) -> Node {
        Node {
            ino: inode.ino,
            flushing: tokio::sync::Mutex::new(()),
            state: Mutex::new(State {
                stored_size: inode.size,
                dirty: WriteBuffer::new(totals),
                dirty_since: None,
                flush_queued: false,
                decode_queued: false,
                truncations: 0,
                opens: 0,
                linkable: false,
                forgotten: false,
                gone: false,
                failed: false,
                lost: Losses::default(),
                inode,
            }),
        }
    }

    /// Locks the state.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Locks the state of an inode that must still exist.
    pub fn live(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.state.lock();
        if state.gone { Err(Error::stale()) } else { Ok(state) }
    }

    /// Locks the state of a regular file that must still exist.
    pub fn file(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.live()?;
        match state.inode.kind {
            Kind::File => Ok(state),
            Kind::Directory => Err(Error::new(Errno::ISDIR, "is a directory")),
            _ => Err(Error::new(Errno::INVAL, "not a regular file")),
        }
    }
}

impl State {
    /// `inode` as it may be put into the store now: no size that only dirty data would fill.
    pub fn storable(&self, inode: &Inode) -> Inode {
        let mut inode = inode.clone();
        if inode.kind == Kind::File {
            // After a crash a larger size would show zeros where the written bytes were.
            inode.size = self.stored_size;
        }
        inode
    }
}

/// Clears set-user-id, and set-group-id where group execution makes it one (man 2 chown).
pub fn kill_suid_bits(perm: &mut u32) {
    *perm &= !0o4000;
    if *perm & 0o010 != 0 {
        *perm &= !0o2000;
    }
}
