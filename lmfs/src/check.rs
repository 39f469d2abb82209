//! Looking for damage: does the tree make sense, and, if asked, does every block decode to what was written?
//!
//! Opening a store has read the log's metadata already and refused what is damaged there. The indexer compares its rows
//! with each other and with the segments ([`structure`]); here every block is decoded ([`data`]), what is wrong gets a
//! path and a byte range ([`names`]), and segments that have parity are compared with it and repaired ([`parity`]).

mod data;
mod dictionaries;
mod fault;
mod job;
mod names;
mod pace;
pub mod parity;
mod position;
mod records;
mod report;
mod structure;
mod sums;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

pub use job::{Error, Job, Line};
pub use pace::Pace;
pub use position::Position;
pub use report::{Damage, Report};

use crate::store::Opened;
use names::Names;
use sums::Sums;

/// Checks a store that nobody else uses, from its tree to its last block. `line` gets a line for every file that can
/// be read, as sha256sum(1) prints them.
///
/// # Errors
/// It could not be carried out; damage is no error.
pub fn check(store: &Opened, job: &Job<'_>, line: Option<Line<'_>>) -> Result<Report, Error> {
    let mut report = Report::default();
    report.warnings.extend(store.report.warnings.iter().cloned());
    if store.report.cut_bytes > 0 {
        report.warnings.push(format!(
            "the log ends with {} bytes that make no whole records, as a crash leaves them; they are not used",
            store.report.cut_bytes
        ));
    }
    if job.data {
        report.warnings.extend(store.model_fault.clone());
    }
    let names = Names::read(job.store, &mut report)?;
    let mut known = structure::check(job, &names, &mut report)?;
    let intact = dictionaries::check(job, &mut |ino| Ok(names.path(ino)), &mut known, &mut report)?;
    let mut sums = line.map(|line| Sums::new(job, &names, line));
    if let Some(sums) = &mut sums {
        sums.without(known.iter().map(|(ino, _)| *ino));
    }
    let known = |ino, block| known.contains(&(ino, block));
    data::check(job, &known, sums, &mut |ino| Ok(names.path(ino)), &mut report)?;
    report.clean = intact && report.damage.is_empty() && store.report.warnings.is_empty();
    Ok(report)
}

/// Reads the log and decodes every block of a store that is in use meanwhile. Its tree is left alone: it changes while
/// it is looked at.
///
/// # Errors
/// As for [`check`].
pub fn check_contents(job: &Job<'_>) -> Result<Report, Error> {
    let mut report = Report {
        inodes: job.store.totals().inodes,
        ..Report::default()
    };
    let mut names: Option<Names> = None;
    let mut path = |ino| {
        // Read when the first damage needs a name, which mostly is never.
        let known = match names.take() {
            Some(known) => known,
            None => Names::read(job.store, &mut Report::default())?,
        };
        Ok(names.insert(known).path(ino))
    };
    let mut known = HashSet::new();
    let whole = dictionaries::check(job, &mut path, &mut known, &mut report)?;
    let intact = records::check(job, &mut report)?;
    let known = |ino, block| known.contains(&(ino, block));
    data::check(job, &known, None, &mut path, &mut report)?;
    report.clean = whole && intact && report.damage.is_empty();
    Ok(report)
}
