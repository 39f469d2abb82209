//! Looking for damage: does the tree make sense, and, if asked, does every block decode to what was written?
//!
//! Opening a store has read the whole log already and refused what is damaged there. This goes over the rows that came of
//! it, and over the blocks, and names what is wrong by path and byte range.

mod data;
mod tree;

use lmfs_codec::Stop;
use serde::Serialize;

use crate::store::Opened;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Nothing is wrong.
    pub clean: bool,
    /// Blocks were decoded, too.
    pub data: bool,
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
    /// What opening the store found and contained.
    pub warnings: Vec<String>,
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
}

/// Checks a store; with `data`, every block is decoded. `progress` hears of the bytes of files that are done.
///
/// # Errors
/// It could not be carried out; damage is no error.
pub fn check(store: &Opened, data: bool, progress: &(dyn Fn(u64) + Sync), stop: &Stop) -> Result<Report, Error> {
    let mut report = Report {
        data,
        ..Report::default()
    };
    report.warnings.extend(store.report.warnings.iter().cloned());
    if store.report.cut_bytes > 0 {
        report.warnings.push(format!(
            "the log ends with {} bytes that make no whole records, as a crash leaves them; they are not used",
            store.report.cut_bytes
        ));
    }
    if data {
        report.warnings.extend(store.model_fault.clone());
    }
    let names = tree::check(store, &mut report, stop)?;
    data::check(store, &names, &mut report, progress, stop)?;
    report.clean = report.damage.is_empty() && store.report.warnings.is_empty();
    Ok(report)
}
