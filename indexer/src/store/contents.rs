//! Finding stored blocks by a digest of what they decode to.
//!
//! The digests are in the rows of the stored blocks. The table over them is in memory, because rows in the order of
//! digests would scatter every flush over the whole index. It is made when it is first asked for, a piece each time, so
//! that nobody waits long.

use super::Store;
use crate::limits::MAX_USERS;
use crate::types::Extent;
use crate::{Change, Result};

impl Store {
    /// Stored blocks in use that may decode to the same as one with this digest and length does, the oldest first, but
    /// not all if there are many, and none until all digests were read in, which each call does a piece of. Whoever
    /// shares one compares the bytes first.
    pub fn find_equal(&self, digest: u32, raw_len: u32) -> Result<Vec<Extent>> {
        if digest == 0 {
            return Ok(Vec::new());
        }
        let found = {
            let mut contents = self.contents.lock();
            if !contents.read_in(&self.state().index)? {
                return Ok(Vec::new());
            }
            contents.get(digest)
        };
        let mut equal = Vec::new();
        let stored = self.stored_blocks(&found)?;
        for (id, stored) in found.into_iter().zip(stored) {
            match stored {
                Some(stored) if stored.digest != digest || stored.raw_len != raw_len => {}
                // One more user would keep it from being coded anew.
                Some(stored) if stored.users >= MAX_USERS => {}
                Some(stored) => equal.push(stored.extent(id)),
                None => self.contents.lock().forget(digest, id),
            }
        }
        Ok(equal)
    }

    /// A stored block was found damaged, or does not decode: [`Store::find_equal`] finds it no more. What is stored
    /// must not depend on it, though its bytes may still be in somebody's memory.
    pub fn distrust(&self, id: u64) {
        self.contents.lock().distrust(id);
    }

    /// Notes the stored blocks that a transaction named.
    pub(super) fn note_contents(&self, tx: &[Change]) {
        let mut contents = self.contents.lock();
        if !contents.begun() {
            return;
        }
        for change in tx {
            if let Change::PutExtents { extents, .. } = change {
                extents.iter().flatten().for_each(|e| contents.put(e.digest, e.id));
            }
        }
    }
}
