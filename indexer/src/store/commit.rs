//! Writing: blocks, transactions, durability.

use super::{CommitReport, Store};
use crate::apply;
use crate::change::{Change, encode_changes};
use crate::types::BlockRef;
use crate::{Error, Result};
use std::sync::PoisonError;

impl Store {
    /// Appends the bytes of a block of a file. They take part in nothing until a commit names them in an extent of
    /// exactly this inode and block; without one they are garbage.
    pub fn append_block(&self, ino: u64, block: u64, bytes: &[u8]) -> Result<BlockRef> {
        self.writable()?;
        let mut unnamed = self.unnamed();
        let r = self.log.append_block(ino, block, bytes)?;
        unnamed.insert(r);
        Ok(r)
    }

    /// Makes a transaction happen: all of it or, on an error, nothing. Its effects are visible when this returns and
    /// durable after the next [`Store::sync`].
    pub fn commit(&self, tx: Vec<Change>) -> Result<CommitReport> {
        self.writable()?;
        for change in &tx {
            change.validate().map_err(Error::InvalidChange)?;
        }
        let mut bytes = Vec::new();
        encode_changes(&mut bytes, &tx);
        let _one_at_a_time = self.committing();
        let effect = apply::effect(&self.state().index, &tx)?;
        self.log.append_transaction(&bytes)?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.apply(effect.rows, &effect.counters);
        if let Err(e) = state.index.settle() {
            // The rows stay in memory, so nothing is lost; the next start makes the index anew.
            tracing::warn!("{e}");
        }
        drop(state);
        self.name(&tx);
        Ok(CommitReport {
            seq: self.log.seq(),
            skipped: effect.skipped,
        })
    }

    /// Blocks that a transaction named are kept by their extents from now on, and garbage if a swap was skipped.
    fn name(&self, tx: &[Change]) {
        let mut unnamed = self.unnamed();
        for change in tx {
            match change {
                Change::PutExtents { extents, .. } => extents.iter().flatten().for_each(|e| {
                    unnamed.remove(&e.r);
                }),
                Change::SwapExtent { new, .. } => {
                    unnamed.remove(&new.r);
                }
                _ => {}
            }
        }
    }

    /// Returns when everything committed and appended before the call is durable. Threads that call it together share
    /// one fdatasync.
    pub fn sync(&self) -> Result<()> {
        if self.read_only {
            Ok(())
        } else {
            self.log.sync()
        }
    }

    pub(super) fn writable(&self) -> Result<()> {
        if self.read_only {
            Err(Error::ReadOnly)
        } else {
            self.log.check_writable()
        }
    }
}
