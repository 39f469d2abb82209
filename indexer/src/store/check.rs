//! The consistency check: the rows against each other, the rows against the log, and every record against its checksum.

use super::Store;
use crate::log::{Item, Position, RecordKind, Segment, parse_block, scan};
use crate::types::{Extent, StoredBlock};
use crate::{Error, Result};
use std::ops::ControlFlow;
use std::sync::Arc;

mod blocks;
mod listing;
mod referrers;
mod report;
mod tree;

use referrers::Referrers;

pub use report::{CheckOptions, CheckReport, Finding, Severity};

impl Store {
    /// Checks the store without changing it. Commits wait while the tree is looked at, reading goes on.
    ///
    /// `watch` gets how many inodes and blocks were looked at and how many there are; then, if the log is read, how
    /// many of its bytes. It ends the work by saying false ([`Error::Interrupted`]), and must not use the store
    /// meanwhile.
    pub fn check(&self, options: &CheckOptions, watch: &mut dyn FnMut(u64, u64) -> bool) -> Result<CheckReport> {
        let mut report = CheckReport::default();
        {
            let _no_commits = self.committing();
            tree::check(self, &mut report, watch)?;
        }
        if options.log {
            self.check_log(self.log.segments(), &mut report, watch)?;
        }
        report.findings.sort_by_key(|f| std::cmp::Reverse(f.severity));
        Ok(report)
    }

    /// Reads every record of the sealed segments and compares its checksum, while the store is used: nothing waits for
    /// it. A store that stays open for years reads most of its metadata never again otherwise. `watch` gets bytes done
    /// and bytes in all, and ends the work by saying false.
    pub fn check_records(&self, watch: &mut dyn FnMut(u64, u64) -> bool) -> Result<CheckReport> {
        let mut report = CheckReport::default();
        let segments = self.log.segments().into_iter().filter(|s| s.is_sealed()).collect();
        self.check_log(segments, &mut report, watch)?;
        report.findings.sort_by_key(|f| std::cmp::Reverse(f.severity));
        Ok(report)
    }

    fn check_log(
        &self,
        segments: Vec<Arc<Segment>>,
        report: &mut CheckReport,
        watch: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<()> {
        let total = segments.iter().map(|s| s.len()).sum();
        let mut referrers = None;
        for segment in segments {
            let before = report.log_bytes;
            let mut over = false;
            let (mut bad, mut unreadable) = (Vec::new(), Vec::<(u64, u64, Error)>::new());
            let stopped = scan(self.io.as_ref(), &segment, 0, segment.len(), |item| {
                let end = item.end();
                match item {
                    Item::Record { frame, .. } => over = frame.kind == RecordKind::Footer,
                    Item::BadPayload { offset, frame } => bad.push((offset, end, Some(frame.kind))),
                    // Searched in pieces.
                    Item::Garbage { offset, end } => match bad.last_mut() {
                        Some((_, last, None)) if *last == offset => *last = end,
                        _ => bad.push((offset, end, None)),
                    },
                    Item::Unreadable { offset, end, error } => match unreadable.last_mut() {
                        Some((_, last, _)) if *last == offset => *last = end,
                        _ => unreadable.push((offset, end, error)),
                    },
                }
                report.log_bytes = before + end;
                if !watch(report.log_bytes, total) {
                    return ControlFlow::Break(Err(Error::Interrupted));
                }
                match over {
                    true => ControlFlow::Break(Ok(())),
                    false => ControlFlow::Continue(()),
                }
            });
            // A segment that cannot be read may simply be gone.
            if self.log.segment(segment.id).is_none() && !matches!(stopped, Ok(Some(Err(_)))) {
                // Collected and deleted meanwhile.
                continue;
            }
            stopped?.unwrap_or(Ok(()))?;
            for (offset, end, error) in unreadable {
                let what = format!("{} bytes of the log: {error}", end - offset);
                let finding = Finding::new(Severity::Error, what).at(segment.id, offset);
                report.findings.push(finding);
            }
            for (offset, end, kind) in bad {
                let mut findings = self.judge(segment.id, (offset, end), kind, &mut referrers)?;
                report.findings.append(&mut findings);
            }
        }
        Ok(())
    }

    /// What damage at a place of the log means.
    fn judge(
        &self,
        segment: u32,
        (offset, end): (u64, u64),
        kind: Option<RecordKind>,
        referrers: &mut Option<Referrers>,
    ) -> Result<Vec<Finding>> {
        let here = Position {
            segment,
            offset: offset as u32,
        };
        let needed = here >= self.log.checkpoint();
        let finding = match kind {
            Some(RecordKind::Block) => match self.users_of(here, referrers)? {
                Some(users) => {
                    let find = |(ino, block)| {
                        let finding = Finding::new(Severity::Error, "the block's record has a wrong checksum");
                        finding.ino(ino).block(block).at(segment, offset)
                    };
                    return Ok(users.into_iter().map(find).collect());
                }
                None => Finding::new(Severity::Warning, "a block that is not in use has a wrong checksum"),
            },
            Some(RecordKind::Dictionary) => {
                let payload = self.log.segment(segment).map(|s| {
                    let at = offset + crate::log::FRAME_LEN as u64;
                    s.read(self.io.as_ref(), at, size_of::<crate::DictionaryId>())
                });
                self.judge_copy(here, &payload.transpose()?.unwrap_or_default())?
            }
            // Blocks hit by it are found through the index by whoever reads them all; here only metadata is at stake.
            _ if needed => Finding::new(
                Severity::Error,
                format!(
                    "{} bytes of the log cannot be read; the index does not need them, but could not be made anew: write a checkpoint",
                    end - offset
                ),
            ),
            _ => Finding::new(
                Severity::Warning,
                format!("{} bytes of the log that are not needed cannot be read", end - offset),
            ),
        };
        Ok(vec![finding.at(segment, offset)])
    }

    /// The blocks of files that need the stored block whose record begins here, as far as the record still says which
    /// it is: those that name it, or one that refers to it. None if it is not in use.
    fn users_of(&self, at: Position, referrers: &mut Option<Referrers>) -> Result<Option<Vec<(u64, u64)>>> {
        let Some(segment) = self.log.segment(at.segment) else {
            return Ok(None);
        };
        let start = u64::from(at.offset) + crate::log::FRAME_LEN as u64;
        let bytes = segment.read(self.io.as_ref(), start, 10)?;
        let Some((id, _)) = parse_block(&bytes) else {
            return Ok(None);
        };
        let stored = self.stored_block(id)?;
        let here = |stored: &StoredBlock| (stored.location.segment, stored.location.offset) == (at.segment, at.offset);
        let Some(stored) = stored.filter(here) else {
            return Ok(None);
        };
        if stored.referrers == 0 {
            return self.users(id).map(Some);
        }
        let referrers = match referrers {
            Some(referrers) => referrers,
            none => none.insert(Referrers::of_all(self)?),
        };
        let mut users = Vec::new();
        for id in referrers.needing(id) {
            users.extend(self.users(id)?);
        }
        users.sort_unstable();
        Ok(Some(users))
    }

    /// Blocks in use in order of inode and block, at most `limit`, after the one given: for reading them all.
    pub fn blocks(&self, after: Option<(u64, u64)>, limit: usize) -> Result<Vec<(u64, u64, Extent)>> {
        tree::blocks(self, after, limit)
    }
}
