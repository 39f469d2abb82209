//! An append-only log of checksummed records, and an index of files made from it.
//!
//! The log is the truth: every block of data and every change of metadata is first a record in a segment file. The
//! index (inodes, directory entries, extents, extended attributes) is made from the log and can be deleted at any
//! time. A filesystem change is one transaction record, so it happened or it did not.
//!
//! ```
//! use lmfs_indexer::{Change, CreateOptions, MemIo, OpenOptions, Store};
//! use std::sync::Arc;
//!
//! let io = Arc::new(MemIo::new());
//! let store = Store::create(io.clone(), CreateOptions::new([7; 16]))?;
//! let _report = store.commit(vec![Change::PutMeta { key: b"hello".to_vec(), value: b"world".to_vec() }])?;
//! store.sync()?;
//! drop(store); // no clean close: opening makes the index anew from the log
//! let (store, _report) = Store::open(io, OpenOptions::default())?;
//! assert_eq!(store.meta(b"hello")?, Some(b"world".to_vec()));
//! # Ok::<(), lmfs_indexer::Error>(())
//! ```

mod apply;
mod change;
mod counters;
mod dictionary;
mod error;
mod index;
mod invalid_change;
pub mod io;
mod limits;
mod log;
mod parity;
mod placement;
mod store;
#[cfg(test)]
mod testing;
mod types;
mod wire;

pub use apply::Skipped;
pub use change::Change;
pub use counters::{TagTotals, Totals};
pub use dictionary::{Dictionary, DictionaryChange, DictionaryId, MAX_DICTIONARIES};
pub use error::{Error, Result};
pub use invalid_change::InvalidChange;
pub use io::{Io, MemIo, RealIo};
pub use limits::{MAX_COPIED, MAX_DICTIONARY, MAX_EXTENTS, MAX_USERS};
pub use parity::{MAX_PARITY, Outcome, ScrubReport, SegmentDamage, scrub};
pub use store::check::{CheckOptions, CheckReport, Finding, Severity};
pub use store::cut::{Cut, Known, SegmentFile, cut};
pub use store::dictionary::DamagedDictionary;
pub use store::gc::{GcOptions, GcReport};
pub use store::parity::ParityReport;
pub use store::{
    CommitReport, CreateOptions, DEFAULT_SEGMENT, HeldBlock, MAX_INDEX_MEMORY, MAX_SEGMENT, MIN_SEGMENT, Moved,
    OpenOptions, OpenReport, PendingBlock, Store,
};
pub use types::{
    BlockRef, Cookie, Dirent, Extent, Inode, Kind, Listed, MAX_CHAIN, MAX_CHAIN_BYTES, MAX_NAME, MAX_TARGET, MAX_XATTR,
    ROOT_INO, StoredBlock, Time, chain_fits,
};
