//! Looking for damage: does the tree make sense, and, if asked, does every block decode to what was written?
//!
//! Opening a store has read the log's metadata already and refused what is damaged there. The indexer compares its rows
//! with each other and with the segments ([`structure`]); here every block is decoded ([`data`]), what is wrong gets a
//! path and a byte range ([`names`]), and segments that have parity are compared with it and repaired ([`parity`]).

mod data;
mod dictionaries;
mod names;
mod pace;
pub mod parity;
mod position;
mod records;
mod structure;
mod sums;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use lmfs_codec::{Codec, Stop};
use lmfs_indexer::Store;
use lmfs_indexer::io::Directory;
use serde::{Deserialize, Serialize};

pub use pace::Pace;
pub use position::Position;

use crate::progress::Progress;
use crate::store::Opened;
use names::Names;
use sums::Sums;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// Path from the store's root; empty if the inode has none.
    pub path: String,
    /// Inode.
    pub ino: u64,
    /// First byte concerned, for damaged contents.
    pub offset: Option<u64>,
    /// Bytes concerned.
    pub length: Option<u64>,
    /// What is wrong.
    pub reason: String,
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Nothing is wrong, or not any more.
    pub clean: bool,
    /// Something was wrong and is repaired.
    pub repaired: bool,
    /// Blocks were decoded, too.
    pub data: bool,
    /// An earlier check was continued; the numbers count its work as well.
    pub resumed: bool,
    /// Inodes looked at.
    pub inodes: u64,
    /// Directory entries looked at.
    pub entries: u64,
    /// Blocks looked at.
    pub blocks: u64,
    /// Bytes that were decoded and compared with their checksums.
    pub decoded_bytes: u64,
    /// What is wrong.
    pub damage: Vec<Damage>,
    /// What the comparison with parity said; none if it was not asked for.
    pub parity: Option<parity::Summary>,
    /// What opening the store found and contained, and what is wrong with what nobody needs.
    pub warnings: Vec<String>,
}

impl Report {
    /// Takes over what the comparison with parity said.
    pub fn add_parity(&mut self, parity: parity::Summary) {
        self.clean &= parity.left() == 0;
        self.repaired |= parity.repaired() > 0;
        self.parity = Some(parity);
    }
}

/// Why a check ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// The rows cannot be read.
    #[error(transparent)]
    Store(#[from] lmfs_indexer::Error),
    /// A line of checksums could not be printed.
    #[error("cannot write the checksums: {0}")]
    Output(std::io::Error),
}

/// What a check reads, and how fast.
pub struct Job<'a> {
    /// The log and its index.
    pub store: &'a Store,
    /// What decodes its blocks.
    pub codec: &'a Codec,
    /// The store's folder, where an interrupted check leaves how far it came.
    pub folder: &'a Directory,
    /// Where they are decoded, if not on the threads that read them.
    pub computing: Option<&'a rayon::ThreadPool>,
    /// Bytes in a block of the store.
    pub block_size: u32,
    /// Decode every block.
    pub data: bool,
    /// Go on where an interrupted check ended.
    pub resume: bool,
    /// How fast the log may be read.
    pub pace: &'a Pace,
    /// Ends it early.
    pub stop: &'a Stop,
    /// Hears how far it is.
    pub progress: &'a (dyn Fn(Progress) + Sync),
}

/// Where lines for sha256sum go.
pub type Line<'a> = &'a mut dyn FnMut(&[u8]) -> std::io::Result<()>;

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

/// Reads the log and decodes every block of a store that is in use meanwhile. Its tree is left alone: it changes while it is
/// looked at.
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
