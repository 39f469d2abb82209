//! What of a log can be copied while somebody else writes to it.

use crate::io::{Io, read_full};
use crate::log::{FOLDER, HEADER_LEN, Handles, Header, Item, RecordKind, Segment, scan, segment_name, segment_number};
use crate::{Error, Result};
use std::ops::ControlFlow;
use std::sync::Arc;

/// A segment file, as far as it was written when it was looked at. What follows may be there only in part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFile {
    /// Its path in the store's folder.
    pub path: String,
    /// Bytes of it that stay as they are.
    pub len: u64,
    /// Whether nothing is appended to it any more.
    pub complete: bool,
}

/// The log up to the end of a record: a store in itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Identity of the store.
    pub store_id: [u8; 16],
    /// Number of the last transaction.
    pub seq: u64,
    /// The segments, oldest first.
    pub segments: Vec<SegmentFile>,
}

/// What is known of a log: that a record ends in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The segment's path.
    pub path: String,
    /// Where the record ends in it.
    pub len: u64,
    /// Number of the last transaction up to there.
    pub seq: u64,
}

/// How often the folder is looked at again because segments came and went meanwhile.
const ATTEMPTS: u32 = 100;

/// Looks at a log that may be in use: its segments, the newest one up to the end of its last record. All of it
/// becomes durable with the next sync of the log. Of the segment that is `known` from before, only what follows is
/// read.
///
/// # Errors
/// No log; one whose newest segment is damaged; what the system says.
pub fn cut(io: &dyn Io, known: Option<&Known>) -> Result<Cut> {
    let mut names = list(io)?;
    for _ in 0..ATTEMPTS {
        let there = list(io)?;
        // Garbage collection deletes a segment after it has committed that nothing in it is needed. The lengths were
        // taken after the names, so if a segment was missing among these, that commit lies within the lengths.
        if there.iter().map(|(id, _)| id).eq(names.iter().map(|(id, _)| id)) {
            match cut_at(io, &there, known) {
                Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
                done => return done,
            }
        }
        names = there;
    }
    Err(Error::io(
        "look at",
        FOLDER,
        std::io::Error::other("segments come and go all the time"),
    ))
}

fn list(io: &dyn Io) -> Result<Vec<(u32, u64)>> {
    let entries = io.list(FOLDER).map_err(|e| Error::io("list", FOLDER, e))?;
    let mut found: Vec<(u32, u64)> = entries
        .into_iter()
        .filter_map(|entry| Some((segment_number(&entry.name)?, entry.len)))
        .collect();
    found.sort_unstable();
    Ok(found)
}

fn cut_at(io: &dyn Io, there: &[(u32, u64)], known: Option<&Known>) -> Result<Cut> {
    let Some((&(newest, len), older)) = there.split_last() else {
        return Err(Error::NotAStore(format!("there are no segment files in {FOLDER}/")));
    };
    let mut segments: Vec<SegmentFile> = older
        .iter()
        .map(|(id, len)| SegmentFile {
            path: segment_name(*id),
            len: *len,
            complete: true,
        })
        .collect();
    match end_of(io, newest, len, known)? {
        Some(end) => {
            segments.push(SegmentFile {
                path: segment_name(newest),
                len: end.len,
                complete: end.complete,
            });
            Ok(Cut {
                store_id: end.store_id,
                seq: end.seq,
                segments,
            })
        }
        // It was begun a moment ago, and nothing is in it yet: the log ends with the one before.
        None if !older.is_empty() => cut_at(io, older, known),
        None => Err(Error::NotAStore("the log is empty".into())),
    }
}

struct End {
    store_id: [u8; 16],
    seq: u64,
    len: u64,
    complete: bool,
}

/// Where the last record of a segment ends, or the segment itself if it is sealed; none if there is none in it.
fn end_of(io: &dyn Io, id: u32, len: u64, known: Option<&Known>) -> Result<Option<End>> {
    let name = segment_name(id);
    let file = io.open(&name, false).map_err(|e| Error::io("open", &name, e))?;
    let mut bytes = vec![0; HEADER_LEN];
    let n = read_full(file.as_ref(), &mut bytes, 0).map_err(|e| Error::io("read", &name, e))?;
    bytes.truncate(n);
    let Some(header) = Header::decode(&bytes, &name)?.filter(|h| h.segment == id) else {
        return match len <= HEADER_LEN as u64 {
            true => Ok(None),
            false => Err(Error::LogDamaged {
                segment: id,
                offset: 0,
                why: "its header is damaged".into(),
            }),
        };
    };
    let store_id = header.store_id;
    let end = |seq, len, complete| End {
        store_id,
        seq,
        len,
        complete,
    };
    let segment = Segment::new(id, &store_id, len, false, &Arc::<Handles>::default());
    if let Some(footer) = segment.footer(io) {
        return Ok(Some(end(footer.seq, len, true)));
    }
    let known = known.filter(|known| known.path == name && known.len <= len);
    let mut last = known.map(|known| (known.seq, known.len));
    let mut seq = known.map_or(header.seq, |known| known.seq);
    scan(io, &segment, known.map_or(0, |known| known.len), len, |item| {
        // What is broken here is being written, or was never finished.
        let Item::Record { frame, .. } = &item else {
            return ControlFlow::Break(());
        };
        if frame.kind == RecordKind::Footer {
            return ControlFlow::Break(());
        }
        seq += u64::from(frame.kind == RecordKind::Transaction);
        // Not transactions alone: what went before a checkpoint may have been deleted.
        last = Some((seq, item.end()));
        ControlFlow::Continue(())
    })?;
    Ok(last.map(|(seq, len)| end(seq, len, false)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use crate::{Change, CreateOptions, GcOptions, MemIo, OpenOptions, Store};

    fn put(store: &Store, n: u32, len: usize) {
        let (key, value) = (n.to_be_bytes().to_vec(), vec![n as u8; len]);
        let _put = store.commit(vec![Change::PutMeta { key, value }]).unwrap();
    }

    /// The store that a cut of `io` is.
    fn copy(io: &MemIo, cut: &Cut) -> Store {
        let mut files = io.files();
        files.retain(|path, _| cut.segments.iter().any(|segment| segment.path == *path));
        for segment in &cut.segments {
            files.get_mut(&segment.path).unwrap().truncate(segment.len as usize);
        }
        let options = OpenOptions {
            read_only: true,
            ..OpenOptions::default()
        };
        Store::open(Arc::new(MemIo::from_files(files)), options).unwrap().0
    }

    #[test]
    fn a_cut_is_the_store_as_it_is() {
        let io = MemIo::new();
        let options = CreateOptions {
            segment_size: 8 << 10,
            ..CreateOptions::new([1; 16])
        };
        let store = Store::create(Arc::new(io.clone()), options).unwrap();
        let mut known = None;
        for n in 0..200 {
            put(&store, n, 500);
            // A block that no transaction will name, so that its segment may go.
            let (_, r) = store.append_block(&[7; 100]).unwrap();
            store.abandon_blocks(&[r]);
            if n % 50 == 49 {
                // Regression: a checkpoint after the last transaction was left out, and what it replaces is deleted.
                store.checkpoint().unwrap();
                let options = GcOptions {
                    seal_head: n % 100 == 99,
                    ..GcOptions::default()
                };
                let report = store.gc(&options, &mut |_| true).unwrap();
                assert!(report.deleted > 0);
            }
            let found = cut(&io, known.as_ref()).unwrap();
            assert_eq!(found, cut(&io, None).unwrap(), "what is known changes nothing");
            assert_eq!((found.seq, found.store_id), (store.seq(), [1; 16]));
            let copied = copy(&io, &found);
            assert_eq!(copied.seq(), found.seq);
            assert_eq!(copied.meta(&n.to_be_bytes()).unwrap(), Some(vec![n as u8; 500]));
            let newest = found.segments.last().unwrap();
            known = Some(Known {
                path: newest.path.clone(),
                len: newest.len,
                seq: found.seq,
            });
        }
    }

    #[test]
    fn what_is_written_only_in_part_is_left_out() {
        let io = MemIo::new();
        let store = Store::create(Arc::new(io.clone()), CreateOptions::new([1; 16])).unwrap();
        put(&store, 1, 500);
        let before = cut(&io, None).unwrap();
        put(&store, 2, 500);
        let mut files = io.files();
        let whole = files[&before.segments[0].path].clone();
        for len in before.segments[0].len as usize..whole.len() {
            files.insert(before.segments[0].path.clone(), whole[..len].to_vec());
            assert_eq!(cut(&MemIo::from_files(files.clone()), None).unwrap(), before, "{len}");
        }
    }

    #[test]
    fn a_segment_with_nothing_in_it_is_left_out() {
        let io = MemIo::new();
        let store = Store::create(Arc::new(io.clone()), CreateOptions::new([1; 16])).unwrap();
        store.log.seal_head().unwrap();
        let before = cut(&io, None).unwrap();
        assert!(before.segments[0].complete);
        put(&store, 1, 500);
        let mut files = io.files();
        let segments = files.keys().filter(|path| path.starts_with(FOLDER));
        assert_eq!(segments.count(), 2);
        for len in [0, 5, HEADER_LEN, HEADER_LEN + 20] {
            files.values_mut().next_back().unwrap().truncate(len);
            assert_eq!(cut(&MemIo::from_files(files.clone()), None).unwrap(), before, "{len}");
            files = io.files();
        }
    }
}
