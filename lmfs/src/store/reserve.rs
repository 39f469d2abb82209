//! The reserve: space on the store's disk that is kept from what makes it fuller.
//!
//! In a log even deleting appends, and collecting garbage copies before it deletes. So the last of a disk is not for
//! contents: what is kept holds transactions, footers and the next checkpoint, and the blocks in use of the segment
//! that is collected.

use lmfs_indexer::{DEFAULT_SEGMENT, Error, Result, Store};

/// Most that is kept, in bytes: a whole segment, and a quarter of one for what is written beside it.
const MOST: u64 = DEFAULT_SEGMENT as u64 / 4 * 5;

/// On a small disk this part of what the store has and could still take is kept instead.
const PART: u64 = 8;

/// Of what is kept, this part is also kept from new names and attributes.
const FOR_DELETING: u64 = 4;

/// What is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Blocks of files.
    Data,
    /// New names and attributes.
    Names,
}

/// Bytes that `what` may still take.
///
/// # Errors
/// What the system says when it is asked for the free space.
pub fn available(store: &Store, what: Purpose) -> Result<u64> {
    // Without a checkpoint nothing would ever be freed.
    let free = store.free_space()?.saturating_sub(store.checkpoint_room());
    // Most of the time no more need be known.
    if free / 2 >= MOST {
        return Ok(free - MOST);
    }
    let kept = kept(&store.totals(), free);
    Ok(free.saturating_sub(match what {
        Purpose::Data => kept,
        Purpose::Names => kept / FOR_DELETING,
    }))
}

/// Refuses `what` when it would have to be written to what is kept.
///
/// # Errors
/// [`Error::NoSpace`]; as for [`available`].
pub fn ensure(store: &Store, what: Purpose) -> Result<()> {
    if available(store, what)? > 0 {
        return Ok(());
    }
    Err(Error::NoSpace {
        what: "more: the rest of the disk is kept for deleting and for `lmfs gc`",
        path: "segments".to_owned(),
    })
}

fn kept(totals: &lmfs_indexer::Totals, free: u64) -> u64 {
    MOST.min(totals.disk_bytes().saturating_add(free) / PART)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_disk_keeps_room_for_a_segment_and_a_small_one_a_part() {
        let kept = |log_bytes, free| {
            let totals = lmfs_indexer::Totals {
                log_bytes,
                ..lmfs_indexer::Totals::default()
            };
            kept(&totals, free)
        };
        assert_eq!(kept(500 << 30, 1 << 20), 80 << 20);
        assert_eq!(kept(20 << 20, 4 << 20), 3 << 20);
        assert_eq!(kept(u64::MAX, u64::MAX), 80 << 20);
        assert_eq!(kept(0, 0), 0);
    }
}
