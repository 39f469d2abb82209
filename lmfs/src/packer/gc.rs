//! The garbage that packing makes: first copies that nobody needs any more.

use std::sync::atomic::{AtomicBool, Ordering};

use lmfs_codec::Stop;
use lmfs_indexer::GcOptions;

use super::{Error, Packer, locked};

/// While a run goes on, and in the background, garbage is collected when there is this much of it ...
const DEAD_BYTES: u64 = 64 << 20;
/// ... or this share of the log, in percent, if that is less.
const DEAD_PERCENT: u64 = 25;
/// A log smaller than this is not worth the work, unless a user asked to pack.
const SMALL_LOG: u64 = 4 << 20;

/// Collects garbage if there is enough of it; with `asked`, by a user, in a small log, too.
pub(super) fn collect(packer: &Packer, asked: bool, stop: &Stop) -> Result<(), Error> {
    let totals = packer.store.totals();
    let (dead, log) = (totals.dead_bytes, totals.log_bytes);
    let share = dead * 100 >= log * DEAD_PERCENT && (asked || log >= SMALL_LOG);
    if dead == 0 || !(share || dead >= DEAD_BYTES) {
        return Ok(());
    }
    let options = GcOptions {
        // What was written last is what was packed last.
        seal_head: true,
        ..GcOptions::default()
    };
    let flag = AtomicBool::new(stop.is_set());
    let relay = &mut |_: &_| {
        if stop.is_set() {
            flag.store(true, Ordering::Relaxed);
        }
    };
    let report = packer.store.gc(&options, &flag, relay)?;
    locked(&packer.ledger).freed(report.freed_bytes);
    Ok(())
}
