//! The end of the log after a crash.
//!
//! Only the newest segment can hold what was never made durable: a segment is sealed and synced before the next one is
//! begun. In it, every transaction says how far the log was durable when it was written. What is broken before the
//! furthest such place was broken by the disk and is reported; from the first broken place after it, everything is
//! what a crash leaves of unsynced writes, promised to nobody, and is cut off.

use super::files::{Files, HeadSegment};
use crate::io::{File, Io, read_full, write_full};
use crate::log::{FOLDER, Footer, HEADER_LEN, Item, RecordKind, Segment, lock, scan};
use crate::parity;
use crate::store::OpenReport;
use crate::wire::Reader;
use crate::{Error, Result};
use std::ops::ControlFlow;
use std::sync::Arc;

/// What the newest segment holds.
#[derive(Default)]
struct Survey {
    /// The log was durable up to here at least.
    durable: u64,
    /// Where bytes that are no records begin.
    broken: Vec<u64>,
    /// The last place that the disk does not give.
    unreadable: Option<(u64, Error)>,
    records: u64,
    footer: Footer,
    /// Where the footer's record ends.
    sealed: Option<u64>,
}

/// Cuts the log's tail and says where appending goes on. `floor` is a segment and how much of it was durable for sure;
/// `sealed` one that was sealed, whatever became of its footer.
pub(super) fn settle(
    io: &dyn Io,
    files: &mut Files,
    floor: Option<(u32, u64)>,
    sealed: Option<u32>,
    write: bool,
    report: &mut OpenReport,
) -> Result<HeadSegment> {
    let Some((&id, (segment, header))) = files.segments.iter().next_back() else {
        return Ok(None);
    };
    let (segment, header) = (Arc::clone(segment), *header);
    let mut survey = survey(io, &segment, segment.len())?;
    if let Some((_, len)) = floor.filter(|(floor, _)| *floor == id) {
        // The marker may know more than the log, whose last transaction was written before the last sync.
        survey.durable = survey.durable.max(len);
    }
    if write && let Some((_, error)) = survey.unreadable.take_if(|(at, _)| *at >= survey.durable) {
        // Whether it was promised to anyone cannot be known, so it must not be cut off.
        return Err(error);
    }
    if header.is_none() && survey.records == 0 && survey.durable == 0 {
        // A crash between making the file and writing its header.
        report.cut_bytes += segment.len();
        files.segments.remove(&id);
        if write {
            io.remove(&segment.name())
                .map_err(|e| Error::io("remove", &segment.name(), e))?;
        }
        return Ok(None);
    }
    let cut = survey.broken.iter().copied().find(|at| *at >= survey.durable);
    if let Some(cut) = cut {
        let cut = cut.max(HEADER_LEN as u64);
        report.cut_bytes += segment.len().saturating_sub(cut);
        segment.set_len(cut);
    }
    // Parity that was made of the sealed segment says so, even if the footer is damaged.
    let sealed = sealed == Some(id) || (survey.sealed.is_some() && cut.is_none());
    if write {
        let name = segment.name();
        // Before anything is cut, which a copy of the store would suffer, too.
        unshare(io, &segment)?;
        let file = io.open(&name, true).map_err(|e| Error::io("open", &name, e))?;
        lock(file.as_ref(), &name)?;
        if cut.is_some() {
            file.set_len(segment.len()).map_err(|e| Error::io("cut", &name, e))?;
        }
        write_again(io, &segment, file.as_ref(), survey.durable)?;
        file.sync_data().map_err(|e| Error::io("sync", &name, e))?;
        io.sync_dir(FOLDER).map_err(|e| Error::io("sync", FOLDER, e))?;
        segment.set_file(file);
    }
    let footer = if cut.is_some() || (write && survey.durable < segment.len()) {
        let again = self::survey(io, &segment, segment.len())?;
        // What was just written must read back. A disk that gives other bytes is not to be written to.
        if again.broken.iter().any(|at| *at >= survey.durable) {
            return Err(other_bytes(&segment));
        }
        again.footer
    } else {
        survey.footer
    };
    if sealed || header.is_none() {
        return Ok(None);
    }
    let head = Arc::new(Segment::new(id, &files.store_id, segment.len(), false, &files.handles));
    if let Ok(file) = segment.file(io) {
        head.set_file(file);
    }
    files.segments.insert(id, (Arc::clone(&head), header));
    Ok(Some((head, footer)))
}

/// Gives the store a newest segment of its own, where a copy of the store has the same file (`cp -al`, `rsync
/// --link-dest`): what is appended to it would be in that copy, too.
fn unshare(io: &dyn Io, segment: &Segment) -> Result<()> {
    const PIECE: usize = 1 << 20;
    let name = segment.name();
    if io.stat(&name).map_err(|e| Error::io("look at", &name, e))?.links < 2 {
        return Ok(());
    }
    let old = io.open(&name, false).map_err(|e| Error::io("open", &name, e))?;
    parity::replace(io, &name, |new| {
        let (mut at, mut piece) = (0, vec![0; PIECE]);
        loop {
            let n = read_full(old.as_ref(), &mut piece, at)?;
            write_full(new, piece.get(..n).unwrap_or_default(), at)?;
            at += n as u64;
            if n < PIECE {
                return Ok(());
            }
        }
    })?;
    segment.forget_file();
    Ok(())
}

/// Writes what a segment holds from `from` on over itself, so that the sync that follows makes it durable.
///
/// A killed process leaves what it wrote in the page cache alone, and there a sync would do. But after a sync that
/// failed the kernel counts the pages that it could not write as clean: they are read as if all were well until they
/// are dropped, and the next sync says "fine" and writes nothing (Rebello et al., Can Applications Recover from fsync
/// Failures?, USENIX ATC 2020). Only what is written again is sure to reach the disk, or to be an error.
fn write_again(io: &dyn Io, segment: &Segment, file: &dyn File, from: u64) -> Result<()> {
    const PIECE: usize = 1 << 20;
    let mut at = from;
    while at < segment.len() {
        let bytes = segment.read(io, at, PIECE)?;
        // The length said that there is more.
        if bytes.is_empty() {
            return Err(other_bytes(segment));
        }
        write_full(file, &bytes, at).map_err(|e| Error::io("write", &segment.name(), e))?;
        at += bytes.len() as u64;
    }
    Ok(())
}

/// The disk gives something else each time it is asked.
fn other_bytes(segment: &Segment) -> Error {
    Error::io(
        "read",
        &segment.name(),
        std::io::Error::other("other bytes than a moment ago"),
    )
}

fn survey(io: &dyn Io, segment: &Segment, to: u64) -> Result<Survey> {
    let mut s = Survey::default();
    scan(io, segment, 0, to, |item| {
        let end = item.end();
        match item {
            Item::Record { offset, frame, payload } => {
                s.records += 1;
                match frame.kind {
                    RecordKind::Footer => {
                        s.sealed = Some(end);
                        let trailer = Footer::trailer(offset as u32);
                        match segment.read(io, end, trailer.len()) {
                            Ok(found) if found == trailer => {}
                            Ok(_) => s.broken.push(offset),
                            Err(error) => {
                                s.broken.push(offset);
                                s.unreadable = Some((end, error));
                            }
                        }
                        return ControlFlow::Break(());
                    }
                    RecordKind::Block | RecordKind::Dictionary => return ControlFlow::Continue(()),
                    RecordKind::Transaction => {
                        // One that does not say so says nothing of what was durable. It will be refused.
                        let back = Reader::new(payload).varint();
                        if let Some(durable) = back.and_then(|back| offset.checked_sub(back)) {
                            s.durable = s.durable.max(durable);
                        }
                    }
                    _ => {}
                }
                s.footer.note(offset as u32, end as u32);
            }
            Item::BadPayload { offset, frame } if frame.kind.is_contents() => s.broken.push(offset),
            // It may be no block: the footer must not say that it is one.
            Item::BadPayload { offset, .. } | Item::Garbage { offset, .. } => {
                s.broken.push(offset);
                s.footer.note(offset as u32, end as u32);
            }
            Item::Unreadable { offset, error, .. } => {
                s.broken.push(offset);
                s.footer.note(offset as u32, end as u32);
                s.unreadable = Some((offset, error));
            }
        }
        ControlFlow::<()>::Continue(())
    })?;
    Ok(s)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use crate::{Change, CreateOptions, MemIo, OpenOptions, Store};

    fn store() -> (MemIo, Store) {
        let io = MemIo::new();
        let store = Store::create(Arc::new(io.clone()), CreateOptions::new([1; 16])).unwrap();
        let (key, value) = (b"key".to_vec(), b"value".to_vec());
        let _put = store.commit(vec![Change::PutMeta { key, value }]).unwrap();
        (io, store)
    }

    fn damage(io: &MemIo, at: impl FnOnce(usize) -> usize) -> MemIo {
        let mut files = io.files();
        let segment = files.get_mut("segments/00000001.seg").unwrap();
        let at = at(segment.len());
        segment[at] ^= 1;
        MemIo::from_files(files)
    }

    /// Only its length was looked at: the segment counted as sealed, and no reader found its footer.
    #[test]
    fn a_trailer_with_wrong_bytes_is_a_torn_tail() {
        let (io, store) = store();
        let end = store.totals().log_bytes;
        store.log.seal_head().unwrap();
        drop(store);
        let io = damage(&io, |len| len - 1);
        let (store, report) = Store::open(Arc::new(io), OpenOptions::default()).unwrap();
        assert!(report.cut_bytes > 0);
        assert_eq!(store.totals().log_bytes, end);
        store.log.seal_head().unwrap();
        let segments = store.log.segments();
        assert!(segments[0].footer(store.io.as_ref()).is_some());
    }

    /// The footer that was written after a restart said that only blocks lay there.
    #[test]
    fn damaged_metadata_is_in_a_run_of_the_footer() {
        let (io, store) = store();
        store.checkpoint().unwrap();
        store.close().unwrap();
        let io = damage(&io, |_| HEADER_LEN + 20);
        let (store, _) = Store::open(Arc::new(io), OpenOptions::default()).unwrap();
        store.log.seal_head().unwrap();
        let footer = store.log.segments()[0].footer(store.io.as_ref()).unwrap();
        assert_eq!(footer.runs[0].0, HEADER_LEN as u32);
    }
}
