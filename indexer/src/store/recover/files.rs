//! The files of a log, and whether they still hold what was durable.

use crate::io::{Io, read_full};
use crate::log::{FOLDER, Footer, HEADER_LEN, Handles, Header, Segment, segment_name, segment_number};
use crate::store::OpenOptions;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The segment files and what their headers say (None: damaged).
pub(super) struct Files {
    pub(super) store_id: [u8; 16],
    pub(super) handles: Arc<Handles>,
    pub(super) segments: BTreeMap<u32, (Arc<Segment>, Option<Header>)>,
}

impl Files {
    /// The segments' lengths by number.
    pub(super) fn lengths(&self) -> Vec<(u32, u64)> {
        let lengths = self.segments.iter().map(|(id, (s, _))| (*id, s.len()));
        lengths.collect()
    }

    /// The error if the log's last transaction is not the last one that was known to be durable, or a later one. No
    /// record may follow that would show it.
    pub(super) fn lost_after(&self, last: u64, durable: u64) -> Option<Error> {
        let (id, (newest, _)) = self.segments.iter().next_back()?;
        (last < durable).then(|| Error::LogDamaged {
            segment: *id,
            offset: newest.len(),
            why: format!(
                "transactions {} to {durable}, which were durable, are missing",
                last + 1
            ),
        })
    }

    /// The error if the log no longer reaches where it was known to be durable.
    pub(super) fn lost_since(&self, (id, len): (u32, u64)) -> Option<Error> {
        let now = match self.segments.get(&id) {
            Some((segment, _)) => segment.len(),
            // Garbage collection deletes segments, but never the newest.
            None if self.segments.keys().any(|newer| *newer > id) => return None,
            None => 0,
        };
        (now < len).then(|| Error::LogDamaged {
            segment: id,
            offset: now,
            why: format!("{} bytes that were durable are missing", len - now),
        })
    }
}

/// The newest segment, if appending may go on in it, with what it holds.
pub(super) type HeadSegment = Option<(Arc<Segment>, Footer)>;

/// Bytes that no segment has: places in it are numbers of 32 bits.
const MAX_LEN: u64 = u32::MAX as u64;

/// Lists the segments and reads their headers.
pub(super) fn list(io: &dyn Io, options: &OpenOptions) -> Result<Files> {
    let mut headers = BTreeMap::new();
    let entries = io.list(FOLDER).map_err(|e| Error::io("list", FOLDER, e))?;
    let mut numbered: Vec<_> = entries
        .into_iter()
        .filter_map(|e| Some((segment_number(&e.name)?, e.len)))
        .collect();
    numbered.sort_unstable();
    let newest = numbered.last().map(|(id, _)| *id);
    for (id, len) in numbered {
        let name = segment_name(id);
        if len > MAX_LEN {
            return Err(Error::LogDamaged {
                segment: id,
                offset: MAX_LEN,
                why: format!("the file has {len} bytes, no segment has more than {MAX_LEN}"),
            });
        }
        let mut bytes = vec![0; HEADER_LEN];
        let file = io.open(&name, false).map_err(|e| Error::io("open", &name, e))?;
        match read_full(file.as_ref(), &mut bytes, 0) {
            Ok(n) => bytes.truncate(n),
            // The newest one's decides what is cut off.
            Err(e) if Some(id) == newest && !options.salvage => return Err(Error::io("read", &name, e)),
            Err(_) => bytes.clear(),
        }
        let header = Header::decode(&bytes, &name)?.filter(|h| h.segment == id);
        headers.insert(id, (len, header));
    }
    if headers.is_empty() {
        return Err(Error::NotAStore(format!("there are no segment files in {FOLDER}/")));
    }
    let ids: Vec<[u8; 16]> = headers.values().filter_map(|(_, h)| h.map(|h| h.store_id)).collect();
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
    let handles = Arc::default();
    let segment = |id, len| Arc::new(Segment::new(id, &store_id, len, true, &handles));
    let segments = headers
        .into_iter()
        .map(|(id, (len, header))| (id, (segment(id, len), header)))
        .collect();
    Ok(Files {
        store_id,
        handles,
        segments,
    })
}
