//! Dictionaries that the store learned: every copy is read, and made anew from another one where the store is written
//! to.

use std::collections::HashSet;

use lmfs_codec::dictionary::DictionaryId;

use super::{Damage, Error, Job, Report};
use crate::store::Tag;
use crate::store::dictionaries::Info;

/// Blocks looked at together.
const PAGE: usize = 4096;

/// Reads the copies. Says whether all is well now, and notes in `known` the blocks that cannot be decoded any more.
pub fn check(
    job: &Job<'_>,
    path: &mut dyn FnMut(u64) -> Result<String, Error>,
    known: &mut HashSet<(u64, u64)>,
    report: &mut Report,
) -> Result<bool, Error> {
    let mut intact = true;
    let mut lost = Vec::new();
    for found in job.store.mend_dictionaries()? {
        let id = DictionaryId(found.id);
        let damage = found.damage.join("; ");
        let outcome = match (found.lost, found.mended) {
            (true, _) => "no copy is left, and the blocks that need it cannot be read",
            (false, true) => "made anew from another copy",
            (false, false) => "another copy is whole; `lmfs check --repair` makes it anew",
        };
        report.warnings.push(format!("dictionary {id}: {damage}; {outcome}"));
        intact &= found.mended;
        report.repaired |= found.mended;
        lost.extend(found.lost.then_some(id));
    }
    for id in lost {
        let dictionary = job.store.dictionary(id.0)?;
        let info = dictionary.and_then(|dictionary| Info::parse(&dictionary.info));
        if let Some(info) = info {
            affected(job, id, &Tag::behind(info.slot), path, known, report)?;
        }
    }
    Ok(intact)
}

/// Names the blocks with one of these tags.
fn affected(
    job: &Job<'_>,
    id: DictionaryId,
    tags: &[Tag],
    path: &mut dyn FnMut(u64) -> Result<String, Error>,
    known: &mut HashSet<(u64, u64)>,
    report: &mut Report,
) -> Result<(), Error> {
    let mut after = None;
    loop {
        let blocks = job.store.blocks(after, PAGE)?;
        let Some(last) = blocks.last() else { return Ok(()) };
        after = Some((last.0, last.1));
        for (ino, block, extent) in blocks {
            if !tags.contains(&Tag(extent.tag)) || !known.insert((ino, block)) {
                continue;
            }
            report.damage.push(Damage {
                path: path(ino)?,
                ino,
                offset: Some(block.saturating_mul(job.block_size.into())),
                length: Some(u64::from(extent.raw_len)),
                reason: format!("it needs dictionary {id}, of which no copy is left"),
            });
        }
    }
}
