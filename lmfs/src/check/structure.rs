//! What the indexer finds, in terms of files.

use std::collections::HashSet;

use lmfs_indexer::{CheckOptions, Severity};

use super::names::Names;
use super::{Damage, Error, Job, Report};
use crate::progress::{Progress, Throttle};

/// Has the rows compared with each other and with the segments. Returns the blocks, by inode and number, of which
/// damage is known then.
pub fn check(job: &Job<'_>, names: &Names, report: &mut Report) -> Result<HashSet<(u64, u64)>, Error> {
    let mut throttle = Throttle::default();
    let watch = &mut |done, total| {
        if throttle.is_due() {
            let note = format!("{done} of {total} inodes and blocks");
            let stage = "checking the tree".to_owned();
            (job.progress)(Progress {
                stage,
                note,
                ..Progress::default()
            });
        }
        !job.stop.is_set()
    };
    // Blocks are not read here: decoding them compares their checksums.
    let found = match job.store.check(&CheckOptions { log: false }, watch) {
        Err(lmfs_indexer::Error::Interrupted) => return Err(Error::Interrupted),
        found => found?,
    };
    (report.inodes, report.entries) = (found.inodes, found.dirents);
    let mut blocks = HashSet::new();
    for finding in found.findings {
        let ino = finding.ino.unwrap_or(0);
        if ino == 0 && finding.severity == Severity::Warning {
            report.warnings.push(finding.what);
            continue;
        }
        let extent = match finding.block {
            Some(block) => job.store.extent(ino, block)?,
            None => None,
        };
        report.damage.push(Damage {
            path: names.path(ino),
            ino,
            offset: finding.block.map(|block| block.saturating_mul(job.block_size.into())),
            length: extent.map(|e| e.raw_len.into()),
            reason: finding.what,
        });
        blocks.extend(finding.block.map(|block| (ino, block)));
    }
    Ok(blocks)
}
