//! The records of a store's full segments, which nobody reads otherwise for as long as the store stays mounted.

use lmfs_indexer::Severity;

use super::{Error, Job, Report};
use crate::progress::{Progress, Throttle};

/// Compares records with their checksums; whether all that are needed are intact. Blocks in use are left to whoever
/// decodes them and can name their files.
///
/// # Errors
/// Interrupted; the rows cannot be read.
pub fn check(job: &Job<'_>, report: &mut Report) -> Result<bool, Error> {
    let (mut before, mut throttle) = (0, Throttle::default());
    let watch = &mut |done: u64, total| {
        job.pace.take(done.saturating_sub(before), job.stop);
        before = done;
        if throttle.is_due() {
            (job.progress)(Progress::new("reading the log", done, total));
        }
        !job.stop.is_set()
    };
    let found = match job.store.check_records(watch) {
        Err(lmfs_indexer::Error::Interrupted) => return Err(Error::Interrupted),
        found => found?,
    };
    let mut intact = true;
    for finding in found.findings.into_iter().filter(|finding| finding.block.is_none()) {
        intact &= finding.severity < Severity::Error;
        report.warnings.push(match (finding.segment, finding.offset) {
            (Some(segment), Some(offset)) => {
                format!("segments/{segment:08x}.seg at offset {offset}: {}", finding.what)
            }
            _ => finding.what,
        });
    }
    Ok(intact)
}
