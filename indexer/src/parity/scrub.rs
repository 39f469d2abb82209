//! Going over the segments of a store: comparing them with their parity, and repairing them.

use super::code::{damaged, make, repair};
use super::file::{parity_name, read};
use super::layout::Layout;
use super::unusable::{Made, ParityFile, Unusable};
use crate::io::Io;
use crate::log::{FOLDER, Segment, segment_name, segment_number};
use crate::{Error, Result};
use std::sync::Arc;

/// What a scrub found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubReport {
    /// Segments that have parity.
    pub segments: u64,
    /// Bytes of them that were compared.
    pub bytes: u64,
    /// Segments without parity: nothing is known of them.
    pub unprotected: u64,
    /// Damaged segments.
    pub damage: Vec<SegmentDamage>,
    /// Damaged parity files, in words; none of them hinders reading. A repair makes them anew.
    pub parity_damage: Vec<String>,
}

/// A segment that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentDamage {
    /// The segment.
    pub segment: u32,
    /// Stretches (start, end) of the file in which bytes are wrong or missing, as far as is known: whole shards.
    pub ranges: Vec<(u64, u64)>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What can be done about damage, or was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Parity can repair it; nothing was changed.
    Repairable,
    /// It is repaired.
    Repaired,
    /// More is lost than parity can make again; nothing was changed.
    Beyond {
        /// Shards lost.
        lost: u32,
        /// Shards that could be lost.
        spare: u32,
    },
}

/// Compares every segment that has parity with it and, if asked, repairs what is damaged. For a repair nobody may have
/// the store open; if somebody has while it is compared, a segment that was deleted meanwhile may look damaged. `watch`
/// gets the bytes done and the bytes in all, and ends the work by saying false ([`Error::Interrupted`]).
///
/// A repaired segment is written beside the damaged one, made durable and renamed: whatever happens meanwhile, the old
/// one or the whole one is there.
pub fn scrub(
    io: &dyn Io,
    store_id: [u8; 16],
    fix: bool,
    watch: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<ScrubReport> {
    let mut report = ScrubReport::default();
    let mut found = Vec::new();
    for entry in io.list(FOLDER).map_err(|e| Error::io("list", FOLDER, e))? {
        let Some(id) = segment_number(&entry.name) else {
            continue;
        };
        match read(io, id, &store_id)? {
            ParityFile::Missing => report.unprotected += 1,
            ParityFile::Unusable(why) => {
                report.unprotected += 1;
                report.parity_damage.push(format!("{}: {why}", parity_name(id)));
                if fix {
                    // Of no use to anybody; the next clean close makes it anew.
                    super::remove(io, id)?;
                }
            }
            // Not kept: that would be an open file for each segment.
            ParityFile::Usable(parity) => found.push((id, entry.len, parity.layout.covered)),
        }
    }
    let total = found.iter().map(|(_, _, covered)| covered).sum();
    let mut done = 0;
    for (id, len, _) in found {
        let parity = match read(io, id, &store_id)? {
            ParityFile::Usable(parity) => parity,
            ParityFile::Unusable(why) => {
                report.parity_damage.push(format!("{}: {why}", parity_name(id)));
                continue;
            }
            ParityFile::Missing => continue,
        };
        report.segments += 1;
        let layout = parity.layout;
        let segment = Segment::new(id, &store_id, len, layout.sealed, &Arc::default());
        let before = done;
        let mut pace = |more: u64| {
            done += more;
            watch(done.min(total), total).then_some(()).ok_or(Error::Interrupted)
        };
        let lost = damaged(io, &segment, &parity, &mut pace)?;
        done = before + layout.covered;
        report.bytes += layout.covered;
        let mut quiet = |_| Ok(());
        let too_long = layout.sealed && len > layout.covered;
        if !lost.is_empty() || too_long {
            let spare = (0..layout.parity).filter(|i| parity.shard(*i).is_some()).count() as u32;
            let outcome = if (lost.len() as u32) > spare {
                None
            } else if fix {
                repair(io, &segment, &parity, &lost, &mut quiet)?.map(|()| Outcome::Repaired)
            } else {
                Some(Outcome::Repairable)
            };
            let beyond = Outcome::Beyond {
                lost: lost.len() as u32,
                spare,
            };
            report.damage.push(SegmentDamage {
                segment: id,
                ranges: ranges(&lost, &layout, if too_long { len } else { 0 }),
                outcome: outcome.unwrap_or(beyond),
            });
            if outcome != Some(Outcome::Repaired) {
                continue;
            }
        }
        if !parity.is_whole() {
            report
                .parity_damage
                .push(format!("{}: {}", parity_name(id), Unusable::Parts));
            if fix {
                let segment = Segment::new(id, &store_id, layout.covered, layout.sealed, &Arc::default());
                if let Made::Refused(why) = make(io, &segment, &layout, &mut quiet)? {
                    report.parity_damage.push(format!(
                        "{}: it cannot be made anew: {}: {why}",
                        parity_name(id),
                        segment_name(id)
                    ));
                }
            }
        }
    }
    Ok(report)
}

/// Neighbours together, and nothing beyond what is covered but what stands there up to `end` and should not.
fn ranges(shards: &[u32], layout: &Layout, end: u64) -> Vec<(u64, u64)> {
    let mut out: Vec<(u64, u64)> = Vec::new();
    for i in shards {
        let start = u64::from(*i) * u64::from(layout.shard);
        let end = (start + u64::from(layout.shard)).min(layout.covered);
        match out.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => out.push((start, end)),
        }
    }
    if end > layout.covered {
        out.push((layout.covered, end));
    }
    out
}
