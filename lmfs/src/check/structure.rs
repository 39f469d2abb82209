//! What the indexer finds, in terms of files.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;

use lmfs_indexer::{CheckOptions, Severity};

use super::names::Names;
use super::{Damage, Error, Job, Report};

/// Has the rows compared with each other and with the segments. Returns the blocks, by inode and number, of which damage
/// is known then.
pub fn check(job: &Job<'_>, names: &Names, report: &mut Report) -> Result<HashSet<(u64, u64)>, Error> {
    let flag = AtomicBool::new(job.stop.is_set());
    // Blocks are not read here: decoding them compares their checksums.
    let found = job.store.check(&CheckOptions { log: false }, &flag, &mut |_, _| ())?;
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
