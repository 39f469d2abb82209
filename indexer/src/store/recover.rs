//! From the files of a store to its state: what the log holds, cut at what a crash left unfinished.

use super::shutdown_marker::{self, ShutdownMarker};
use super::{OpenOptions, OpenReport};
use crate::counters::Counters;
use crate::index::{Index, MemPages, Pages, SledPages, SpillPages, saved};
use crate::io::Io;
use crate::log::{FOLDER, Measured, Position, Resume, segment_name};
use crate::parity::{self, Layout, ParityFile, parity_number};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

mod checkpoint;
mod doubt;
mod files;
mod replay;
mod replayed;
mod tail;

use doubt::Doubt;
use files::{Files, list};
use replayed::Replayed;

/// A store's state, ready to be used.
pub(crate) struct Found {
    pub(crate) store_id: [u8; 16],
    pub(crate) index: Index,
    pub(crate) counters: Counters,
    pub(crate) resume: Resume,
    pub(crate) report: OpenReport,
}

impl Found {
    /// The state before the first transaction.
    pub(crate) fn empty(io: &Arc<dyn Io>, store_id: [u8; 16], options: &OpenOptions) -> Result<Self> {
        let index = Index::new(new_pages(io, options)?);
        Ok(Self {
            store_id,
            index,
            counters: Counters::default(),
            resume: Resume {
                segments: BTreeMap::new(),
                handles: Arc::default(),
                head: None,
                next_segment: 1,
                seq: 0,
                checkpoint: Position::default(),
                since: 0,
                rows: Measured::default(),
            },
            report: OpenReport::default(),
        })
    }
}

/// Finds a store's state.
pub(crate) fn recover(io: &Arc<dyn Io>, options: &OpenOptions) -> Result<Found> {
    let write = options.writes();
    let mut files = list(io.as_ref(), options)?;
    let mut report = OpenReport::default();
    let marker = ShutdownMarker::read(io.as_ref(), &mut report.warnings)?;
    let marker = marker.filter(|m| m.store_id == files.store_id);
    let vouched = vouched(io.as_ref(), &files.store_id)?;
    let by_parity = vouched.map(|l| (l.segment, l.covered));
    let floor = marker.as_ref().and_then(|m| m.segments.last().copied()).max(by_parity);
    if let Some(damage) = floor.and_then(|floor| files.lost_since(floor)) {
        if write {
            return Err(damage);
        }
        report.warnings.push(damage.to_string());
    }
    // Damage at the end of a sealed segment is no torn tail.
    let sealed = vouched.filter(|l| l.sealed).map(|l| l.segment);
    let head = tail::settle(io.as_ref(), &mut files, floor, sealed, write, &mut report)?;
    let durable_seq = marker.as_ref().map_or(0, |m| m.seq);
    let replayed = match closed_state(io, &files, marker, options) {
        Ok(state) => state,
        Err(doubt) => {
            report.rebuilt = Some(doubt.to_string());
            replay::replay(
                io.as_ref(),
                &files,
                options.salvage,
                &|| new_pages(io, options),
                &mut report,
            )?
        }
    };
    if let Some(damage) = files.lost_after(replayed.seq, durable_seq) {
        if write {
            return Err(damage);
        }
        report.warnings.push(damage.to_string());
    }
    let used = files.segments.keys().chain(replayed.counters.live.keys());
    // Also above segments that are missing: blocks still refer to their numbers.
    let next_segment = used.max().map_or(Some(1), |id| id.checked_add(1));
    let next_segment = match next_segment {
        Some(id) => id,
        // Nothing can be appended, so nothing is.
        None if !write => u32::MAX,
        None => {
            return Err(Error::LogDamaged {
                segment: u32::MAX,
                offset: 0,
                why: "there is no segment number left after it".into(),
            });
        }
    };
    let missing = replayed
        .counters
        .live
        .iter()
        .filter(|(id, _)| !files.segments.contains_key(id));
    for (id, bytes) in missing {
        report.warnings.push(format!(
            "{} is missing: {bytes} bytes of blocks cannot be read",
            segment_name(*id)
        ));
    }
    if write {
        // From here on the index is ahead of its marker; how far the log was durable stays known.
        let dirty = ShutdownMarker::dirty(files.store_id, replayed.seq, files.lengths());
        if let Err(e) = dirty.write(io.as_ref()) {
            // Not even the old marker may stay: it would vouch for an index that goes on changing.
            ShutdownMarker::remove(io.as_ref())?;
            report.warnings.push(e.to_string());
        }
    }
    Ok(Found {
        store_id: files.store_id,
        index: replayed.index,
        counters: replayed.counters,
        resume: Resume {
            segments: files.segments.into_iter().map(|(id, (s, _))| (id, s)).collect(),
            handles: files.handles,
            head,
            next_segment,
            seq: replayed.seq,
            checkpoint: replayed.checkpoint,
            since: replayed.since,
            rows: replayed.measured,
        },
        report,
    })
}

/// The state that the last clean close put away, if everything says that it still is the log's; or else the doubt.
fn closed_state(
    io: &Arc<dyn Io>,
    files: &Files,
    marker: Option<ShutdownMarker>,
    options: &OpenOptions,
) -> std::result::Result<Replayed, Doubt> {
    if options.rebuild {
        return Err(Doubt::Asked);
    }
    let marker = marker.ok_or(Doubt::NoMarker)?;
    if !marker.clean {
        return Err(Doubt::NotClosed);
    }
    if marker.segments != files.lengths() {
        return Err(Doubt::OtherLog);
    }
    let pages = || -> Box<dyn Pages> {
        if !options.writes() {
            Box::new(MemPages::default())
        } else {
            Box::new(SpillPages::empty(io, shutdown_marker::FILE, options.index_memory))
        }
    };
    let index = match saved::read(io.as_ref(), pages)? {
        Some(index) => index,
        None if !options.writes() => return Err(Doubt::SledWrites),
        None => {
            let pages = SledPages::open(io.as_ref())?.ok_or(Doubt::InMemory)?;
            Index::new(Box::new(SpillPages::in_sled(
                io,
                shutdown_marker::FILE,
                options.index_memory,
                pages,
            )))
        }
    };
    let (mut counters, mut bytes) = (Counters::default(), 0);
    let row = |k: &[u8], v: &[u8]| {
        bytes += (k.len() + v.len()) as u64;
        counters.row(k, v)
    };
    let rows = index.read_all(row)?;
    if rows != marker.rows {
        return Err(Doubt::OtherRows);
    }
    counters.max_ino = counters.max_ino.max(marker.max_ino);
    counters.max_id = counters.max_id.max(marker.max_id);
    Ok(Replayed {
        index,
        counters,
        seq: marker.seq,
        checkpoint: marker.checkpoint,
        since: marker.since,
        measured: Measured {
            bytes,
            at: marker.since,
        },
    })
}

/// Empty pages for an index made anew.
fn new_pages(io: &Arc<dyn Io>, options: &OpenOptions) -> Result<Box<dyn Pages>> {
    if options.writes() {
        match SpillPages::create(io, shutdown_marker::FILE, options.index_memory) {
            Ok(pages) => return Ok(Box::new(pages)),
            Err(e) => tracing::warn!("{e}; the index is kept in memory until the next start"),
        }
    }
    Ok(Box::new(MemPages::default()))
}

/// What the newest parity file vouches for: parity is made only of what is durable.
fn vouched(io: &dyn Io, store_id: &[u8; 16]) -> Result<Option<Layout>> {
    let there = io.list(FOLDER).map_err(|e| Error::io("list", FOLDER, e))?;
    let Some(newest) = there.iter().rev().find_map(|e| parity_number(&e.name)) else {
        return Ok(None);
    };
    // A damaged parity file vouches for nothing; the scrub tells of it.
    Ok(match parity::read(io, newest, store_id)? {
        ParityFile::Usable(parity) => Some(parity.layout),
        ParityFile::Unusable(_) | ParityFile::Missing => None,
    })
}
