//! Segments compared with their parity, before the store is opened: a log that cannot be opened can be repaired.

use std::io::ErrorKind;

use lmfs_codec::Stop;
use lmfs_indexer::{Error, Io, Outcome, RealIo, ScrubReport, scrub};
use serde::{Deserialize, Serialize};

use super::Pace;
use crate::store::{self, Folder};

/// What the comparison said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Segments that have parity.
    pub segments: u64,
    /// Bytes of them that were compared.
    pub bytes: u64,
    /// Segments without parity.
    pub unprotected: u64,
    /// Damaged segments.
    pub damaged: Vec<Segment>,
    /// Damaged parity files, in words. Reading needs none of them.
    pub files: Vec<String>,
    /// What is wrong was to be repaired.
    pub repair: bool,
}

/// A damaged segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Its file in the store.
    pub file: String,
    /// Stretches (start, end) of the file that are damaged, as far as is known: whole shards.
    pub ranges: Vec<(u64, u64)>,
    /// `repaired`, `repairable`, or `lost`: more than parity can make again.
    pub outcome: String,
    /// What came of it, for people.
    pub text: String,
}

impl Summary {
    /// Damage that is still there.
    #[must_use]
    pub fn left(&self) -> usize {
        let segments = self.damaged.iter().filter(|s| s.outcome != "repaired").count();
        segments + if self.repair { 0 } else { self.files.len() }
    }

    /// Damage that is there no more.
    #[must_use]
    pub fn repaired(&self) -> usize {
        self.damaged.len() + self.files.len() - self.left()
    }

    fn of(report: ScrubReport, repair: bool) -> Summary {
        let damaged = report.damage.into_iter().map(|damage| {
            let file = format!("segments/{:08x}.seg", damage.segment);
            let bytes: u64 = damage.ranges.iter().map(|(start, end)| end - start).sum();
            let (outcome, text) = match damage.outcome {
                Outcome::Repaired => (
                    "repaired",
                    format!("repaired {bytes} bytes in shards that were damaged"),
                ),
                Outcome::Repairable => (
                    "repairable",
                    format!("{bytes} bytes in damaged shards; `lmfs check --repair` can repair them"),
                ),
                Outcome::Beyond { lost, spare } => (
                    "lost",
                    format!(
                        "{lost} damaged shards, and parity for {spare}: it cannot be repaired and is left as it is"
                    ),
                ),
            };
            Segment {
                file,
                ranges: damage.ranges,
                outcome: outcome.to_owned(),
                text,
            }
        });
        Summary {
            segments: report.segments,
            bytes: report.bytes,
            unprotected: report.unprotected,
            damaged: damaged.collect(),
            files: report.parity_damage,
            repair,
        }
    }
}

/// Compares, and repairs if asked. The caller holds the store's lock, and has it open only to compare. `progress` gets
/// bytes done and bytes in all.
///
/// # Errors
/// The segments cannot be read or written; interrupted.
pub fn compare(
    folder: &Folder,
    repair: bool,
    pace: &Pace,
    progress: &mut dyn FnMut(u64, u64),
    stop: &Stop,
) -> store::Result<Summary> {
    let path = folder.path();
    let io = RealIo::in_directory(folder.dir().clone());
    let mut before = 0;
    let watch = &mut |done: u64, total| {
        pace.take(done.saturating_sub(before), stop);
        before = done;
        progress(done, total);
        !stop.is_set()
    };
    let report = scrub(&io, folder.config().store_id.into_bytes(), repair, watch);
    let report = report.map_err(|source: Error| store::Error::Indexer {
        path: path.to_owned(),
        source,
    })?;
    let mut summary = Summary::of(report, repair);
    // Garbage collection may have deleted some meanwhile. One that is missing otherwise was named when the store was
    // opened.
    summary
        .damaged
        .retain(|segment| !matches!(io.stat(&segment.file), Err(e) if e.kind() == ErrorKind::NotFound));
    Ok(summary)
}
