//! From the files of a store to its state: what the log holds, cut at what a crash left unfinished.

use super::{OpenOptions, OpenReport};
use crate::counters::Counters;
use crate::index::{Index, MemPages};
use crate::io::{Io, read_full};
use crate::log::{
    FOLDER, Footer, HEADER_LEN, Header, Position, Resume, Segment, segment_name, segment_number,
};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

mod checkpoint;
mod replay;
mod tail;

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
    pub(crate) fn empty(store_id: [u8; 16]) -> Self {
        Self {
            store_id,
            index: Index::new(Box::new(MemPages::default())),
            counters: Counters::default(),
            resume: Resume {
                segments: BTreeMap::new(),
                head: None,
                next_segment: 1,
                seq: 0,
                checkpoint: Position::default(),
                since: 0,
            },
            report: OpenReport::default(),
        }
    }
}

/// The segment files and what their headers say (None: damaged).
struct Files {
    store_id: [u8; 16],
    segments: BTreeMap<u32, (Arc<Segment>, Option<Header>)>,
}

/// Finds a store's state.
pub(crate) fn recover(io: &Arc<dyn Io>, options: &OpenOptions) -> Result<Found> {
    let write = !(options.read_only || options.salvage);
    let mut files = list(io.as_ref(), options)?;
    let mut report = OpenReport {
        rebuilt: Some("it is made from the log at every start".into()),
        ..OpenReport::default()
    };
    let head = tail::settle(io.as_ref(), &mut files, write, &mut report)?;
    let replayed = replay::replay(
        io.as_ref(),
        &files,
        options.salvage,
        &|| Ok(Box::new(MemPages::default())),
        &mut report,
    )?;
    let next_segment = files
        .segments
        .keys()
        .chain(replayed.counters.live.keys())
        .max()
        .map_or(1, |id| id + 1);
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
    Ok(Found {
        store_id: files.store_id,
        index: replayed.index,
        counters: replayed.counters,
        resume: Resume {
            segments: files
                .segments
                .into_iter()
                .map(|(id, (s, _))| (id, s))
                .collect(),
            head,
            next_segment,
            seq: replayed.seq,
            checkpoint: replayed.checkpoint,
            since: replayed.since,
        },
        report,
    })
}

/// Lists the segments and reads their headers.
fn list(io: &dyn Io, options: &OpenOptions) -> Result<Files> {
    let mut headers = BTreeMap::new();
    for entry in io.list(FOLDER).map_err(|e| Error::io("list", FOLDER, e))? {
        let Some(id) = segment_number(&entry.name) else {
            continue;
        };
        let name = segment_name(id);
        let mut bytes = vec![0; HEADER_LEN];
        let file = io
            .open(&name, false)
            .map_err(|e| Error::io("open", &name, e))?;
        let n = read_full(file.as_ref(), &mut bytes, 0).map_err(|e| Error::io("read", &name, e))?;
        bytes.truncate(n);
        let header = Header::decode(&bytes, &name)?.filter(|h| h.segment == id);
        headers.insert(id, (entry.len, header));
    }
    if headers.is_empty() {
        return Err(Error::NotAStore(format!(
            "there are no segment files in {FOLDER}/"
        )));
    }
    let ids: Vec<[u8; 16]> = headers
        .values()
        .filter_map(|(_, h)| h.map(|h| h.store_id))
        .collect();
    let store_id = options
        .store_id
        .or_else(|| ids.first().copied())
        .ok_or_else(|| Error::LogDamaged {
            segment: headers.keys().next().copied().unwrap_or(0),
            offset: 0,
            why: "no segment has a readable header".into(),
        })?;
    if let Some((id, _)) = headers
        .iter()
        .find(|(_, (_, h))| h.is_some_and(|h| h.store_id != store_id))
    {
        return Err(Error::LogDamaged {
            segment: *id,
            offset: 0,
            why: "the segment belongs to another store".into(),
        });
    }
    let segments = headers
        .into_iter()
        .map(|(id, (len, header))| {
            (
                id,
                (Arc::new(Segment::new(id, &store_id, len, true)), header),
            )
        })
        .collect();
    Ok(Files { store_id, segments })
}

/// The newest segment, if appending may go on in it, with what it holds.
type HeadSegment = Option<(Arc<Segment>, Footer)>;
