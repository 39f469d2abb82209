//! When garbage is collected. Deleting, overwriting and packing leave it behind in the log. Collecting it sooner makes
//! a store smaller and writes more (write amplification).
//!
//! The indexer knows how to collect it. The housekeeper asks every 30 s whether enough has gathered, the packer asks
//! after each batch and each run, and `lmfs gc` takes all there is.

use lmfs_codec::Stop;
use lmfs_indexer::{GcOptions, GcReport, Result, Store, Totals};
use serde::{Deserialize, Serialize};

use crate::progress::Throttle;

/// In the background, garbage is collected when there is this much of it, in bytes ...
const DEAD_BYTES: u64 = 64 << 20;
/// ... or this share of the log, in percent, if that is less.
const DEAD_PERCENT: u64 = 25;
/// A log smaller than this, in bytes, is not worth the work, unless a user asks.
const SMALL_LOG: u64 = 1 << 20;
/// A segment of which more than this share is in use gives too little for the copying ...
const MOSTLY: f64 = 0.6;
/// ... also for a user who wants all the space there is.
const NEARLY_ALL: f64 = 0.95;

/// How much work space is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Nobody asked: only much garbage is collected.
    Background,
    /// After packing that a user asked for: in a small log, too.
    Thorough,
    /// A user asked for space: whatever there is.
    All,
}

/// What a collection did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcSummary {
    /// Segments that were worth a look.
    pub segments: u64,
    /// Of these, how many were deleted.
    pub deleted_segments: u64,
    /// How much smaller the log became, in bytes: deleted segments less what was copied out of them.
    pub freed_bytes: u64,
    /// Blocks copied.
    pub moved_blocks: u64,
    /// Their bytes.
    pub moved_bytes: u64,
    /// What could not be read or deleted, and stays where it is.
    pub damaged: Vec<String>,
}

fn is_due(totals: &Totals, effort: Effort) -> bool {
    let (dead, log) = (totals.dead_bytes, totals.log_bytes);
    let share = dead.saturating_mul(100) >= log.saturating_mul(DEAD_PERCENT);
    match effort {
        Effort::Background => dead >= DEAD_BYTES || (share && log >= SMALL_LOG),
        Effort::Thorough => dead >= DEAD_BYTES || (share && dead > 0),
        Effort::All => true,
    }
}

/// Collects garbage if there is enough of it for this effort.
///
/// # Errors
/// What the log reports; [`lmfs_indexer::Error::Interrupted`] when `stop` is set. What was done stays done.
pub fn collect_garbage(
    store: &Store,
    effort: Effort,
    stop: &Stop,
    progress: &mut dyn FnMut(&GcReport),
) -> Result<GcSummary> {
    let before = store.totals();
    if !is_due(&before, effort) {
        return Ok(GcSummary::default());
    }
    let options = GcOptions {
        max_live: match effort {
            Effort::Background | Effort::Thorough => MOSTLY,
            Effort::All => NEARLY_ALL,
        },
        // What was written last is what was packed or deleted last.
        seal_head: true,
    };
    let mut throttle = Throttle::default();
    let report = store.gc(&options, &mut |report| {
        if throttle.is_due() {
            progress(report);
        }
        !stop.is_set()
    })?;
    Ok(GcSummary {
        segments: report.examined,
        deleted_segments: report.deleted,
        freed_bytes: before.log_bytes.saturating_sub(store.totals().log_bytes),
        moved_blocks: report.moved_blocks,
        moved_bytes: report.moved_bytes,
        damaged: report.damaged,
    })
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::sync::Arc;

    use lmfs_indexer::{Change, CreateOptions, Extent, Inode, Kind, MemIo, Time};

    use super::*;

    #[test]
    fn much_garbage_and_large_shares_are_due() {
        let totals = |log_bytes, dead_bytes| Totals {
            log_bytes,
            dead_bytes,
            ..Totals::default()
        };
        let due = |log, dead, effort| is_due(&totals(log, dead), effort);
        assert!(!due(1 << 19, 1 << 19, Effort::Background), "small logs are left alone");
        assert!(due(1 << 20, 1 << 20, Effort::Thorough));
        assert!(!due(1 << 20, 0, Effort::Thorough));
        assert!(due(100 << 20, 25 << 20, Effort::Background));
        assert!(!due(900 << 20, 63 << 20, Effort::Background));
        assert!(due(9 << 30, 64 << 20, Effort::Background));
        assert!(due(u64::MAX, u64::MAX, Effort::Background));
        assert!(due(1 << 20, 0, Effort::All));
    }

    /// A store with `blocks` incompressible blocks of 64 KiB in inode 5.
    pub(in crate::maintenance) fn store(blocks: u64) -> Arc<Store> {
        let store = Store::create(Arc::new(MemIo::new()), CreateOptions::new([1; 16])).unwrap();
        let file = Inode {
            size: blocks << 16,
            ..Inode::new(5, Kind::File, 0o644, Time::default())
        };
        let _made = store.commit(vec![Change::PutInode(file)]).unwrap();
        for block in 0..blocks {
            let new = store.append_block(&[block as u8; 1 << 16]).unwrap();
            let extent = Extent::new(new, 0, 1 << 16);
            let extents = vec![Some(extent)];
            let first = block;
            let _put = store
                .commit(vec![Change::PutExtents { ino: 5, first, extents }])
                .unwrap();
        }
        store.sync().unwrap();
        Arc::new(store)
    }

    #[test]
    fn what_is_freed_is_what_the_log_shrank_by_and_the_rest_is_whole() {
        let store = store(40);
        let _cut = store
            .commit(vec![Change::TruncateExtents { ino: 5, from: 10 }])
            .unwrap();
        store.sync().unwrap();
        let before = store.totals().log_bytes;
        let got = collect_garbage(&store, Effort::All, &Stop::new(), &mut |_| ()).unwrap();
        let after = store.totals().log_bytes;
        assert_eq!(got.freed_bytes, before - after);
        assert!(got.freed_bytes >= 29 << 16, "{got:?}");
        assert_eq!(got.moved_blocks, 10);
        assert_eq!(got.damaged, Vec::<String>::new(), "the end of a segment is no damage");
        for block in 0..10 {
            let extent = store.extent(5, block).unwrap().unwrap();
            let bytes = store.read_block(&extent).unwrap();
            assert_eq!(bytes, vec![block as u8; 1 << 16]);
        }
        let again = collect_garbage(&store, Effort::Background, &Stop::new(), &mut |_| ()).unwrap();
        assert_eq!(again, GcSummary::default(), "nothing is left to do");
    }

    #[test]
    fn a_stop_ends_it() {
        let store = store(4);
        let _cut = store.commit(vec![Change::TruncateExtents { ino: 5, from: 1 }]).unwrap();
        let stop = Stop::new();
        stop.set();
        let ended = collect_garbage(&store, Effort::All, &stop, &mut |_| ());
        assert!(matches!(ended, Err(lmfs_indexer::Error::Interrupted)));
    }

    /// It was asked for once a segment, and copied up to 256 MiB more.
    #[test]
    fn a_stop_within_a_segment_ends_it() {
        let store = store(4);
        let _cut = store.commit(vec![Change::TruncateExtents { ino: 5, from: 3 }]).unwrap();
        let stop = Stop::new();
        let ended = collect_garbage(&store, Effort::All, &stop, &mut |report| {
            assert_eq!(report.moved_blocks, 0, "heard of at the first record");
            stop.set();
        });
        assert!(matches!(ended, Err(lmfs_indexer::Error::Interrupted)));
        let left = store.extent(5, 0).unwrap().unwrap().location;
        assert_eq!(left.segment, store.extent(5, 2).unwrap().unwrap().location.segment);
    }
}
