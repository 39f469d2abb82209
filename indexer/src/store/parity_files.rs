//! Which segments have parity, as far as an open store knows.

use crate::io::Io;
use crate::log::FOLDER;
use crate::parity::parity_number;
use crate::{Error, Result};
use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, BTreeSet};

/// The parity file of a segment.
#[derive(Clone, Copy)]
pub(super) struct Known {
    /// Bytes of the segment that it protects, once somebody asked.
    pub(super) covered: Option<u64>,
    /// Bytes it takes.
    pub(super) bytes: u64,
}

/// Parity files that are there.
pub(super) struct ParityFiles {
    /// How much parity new segments get.
    pub(super) percent: u8,
    /// The parity files by segment.
    files: Mutex<BTreeMap<u32, Known>>,
    /// Damaged segments, which need not be looked at again and again.
    refused: Mutex<BTreeSet<u32>>,
}

impl ParityFiles {
    /// Looks for the parity files that are there.
    pub(super) fn find(io: &dyn Io, percent: u8) -> Result<Self> {
        let there = io.list(FOLDER).map_err(|e| Error::io("list", FOLDER, e))?;
        let files = there.iter().filter_map(|e| {
            let known = Known {
                covered: None,
                bytes: e.len,
            };
            Some((parity_number(&e.name)?, known))
        });
        Ok(Self {
            percent,
            files: Mutex::new(files.collect()),
            refused: Mutex::default(),
        })
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> u64 {
        self.files().values().map(|k| k.bytes).sum()
    }

    pub(super) fn files(&self) -> MutexGuard<'_, BTreeMap<u32, Known>> {
        self.files.lock()
    }

    pub(super) fn refused(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.refused.lock()
    }
}
