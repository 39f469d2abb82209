//! Stored blocks that refer to others: what may refer to what, and what is in use because of it.

use super::Transaction;
use super::blocks::TOO_MANY;
use crate::Result;
use crate::types::{MAX_CHAIN, StoredBlock, chain_fits};

impl Transaction<'_> {
    /// Whether the stored block `id`, which is `now`, may refer to `reference` from now on. Others that refer to `id`
    /// would need more than before, so there must be none. This rules out circles, too.
    pub(super) fn may_refer(&mut self, id: u64, now: &StoredBlock, reference: u64) -> Result<bool> {
        if reference == 0 {
            return Ok(true);
        }
        if now.referrers > 0 || id == reference {
            return Ok(false);
        }
        let (mut next, mut bytes) = (reference, 0);
        for needed in 1..=MAX_CHAIN {
            let Some(stored) = self.block(next)? else {
                return Ok(false);
            };
            bytes += u64::from(stored.raw_len);
            if !chain_fits(needed, bytes) {
                return Ok(false);
            }
            // Only the first one gets one more.
            if next == reference && stored.referrers + 1 >= TOO_MANY {
                return Ok(false);
            }
            if stored.reference == 0 {
                return Ok(true);
            }
            next = stored.reference;
        }
        Ok(false)
    }

    /// Has `id`, which is `now`, refer to `reference` and to nothing else.
    pub(super) fn refer(&mut self, id: u64, now: StoredBlock, reference: u64) -> Result<()> {
        if now.reference == reference {
            return Ok(());
        }
        if reference != 0
            && let Some(to) = self.block(reference)?
        {
            let referrers = to.referrers + 1;
            self.set_block(reference, Some(StoredBlock { referrers, ..to }))?;
        }
        self.set_block(id, Some(StoredBlock { reference, ..now }))?;
        self.drop_referrer(now.reference)
    }

    /// Puts a stored block that has fewer users or referrers than before, or frees it if it has none.
    pub(super) fn set_or_free(&mut self, id: u64, stored: StoredBlock) -> Result<()> {
        if stored.users > 0 || stored.referrers > 0 {
            return self.set_block(id, Some(stored));
        }
        self.set_block(id, None)?;
        self.drop_referrer(stored.reference)
    }

    /// One less refers to `id`, which frees it if it was the last one, and so on along the chain.
    fn drop_referrer(&mut self, mut id: u64) -> Result<()> {
        // An index made from a checkpoint that is wrong may have longer chains. Their ends stay in use.
        for _ in 0..MAX_CHAIN {
            if id == 0 {
                break;
            }
            let Some(old) = self.block(id)? else { break };
            let referrers = old.referrers.saturating_sub(1);
            if old.users > 0 || referrers > 0 {
                return self.set_block(id, Some(StoredBlock { referrers, ..old }));
            }
            self.set_block(id, None)?;
            id = old.reference;
        }
        Ok(())
    }
}
