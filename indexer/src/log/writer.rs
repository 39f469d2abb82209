//! Appending to the log: one head segment at a time, sealed and followed by the next when it is full.

use super::frame::{Frame, MAX_PAYLOAD, RecordKind, damaged};
use super::segment::{Footer, HEADER_LEN, Handles, Header, Segment, segment_name};
use super::sync::Durability;
use super::{FOLDER, FRAME_LEN, Position};
use crate::dictionary::DictionaryId;
use crate::invalid_change::InvalidChange;
use crate::io::{File, Io, write_full};
use crate::types::BlockRef;
use crate::wire::put_varint;
use crate::{Error, Result};
use parking_lot::{Mutex, MutexGuard, RwLock};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// How segments are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogOptions {
    pub(crate) store_id: [u8; 16],
    /// Bytes after which a segment is sealed.
    pub(crate) segment_size: u32,
}

/// Where appending goes on.
pub(crate) struct Resume {
    pub(crate) segments: BTreeMap<u32, Arc<Segment>>,
    pub(crate) handles: Arc<Handles>,
    /// The unsealed newest segment with its end and what it holds, if there is one.
    pub(crate) head: Option<(Arc<Segment>, Footer)>,
    /// Number the next segment must not fall below.
    pub(crate) next_segment: u32,
    /// Number of the last transaction.
    pub(crate) seq: u64,
    pub(crate) checkpoint: Position,
    /// What [`Log::written`] has grown by since then.
    pub(crate) since: u64,
    /// Bytes of all rows, and of the transactions after the checkpoint that these hold already.
    pub(crate) rows: Measured,
}

/// How much the rows took when they were last looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Measured {
    /// Bytes of keys and values.
    pub(crate) bytes: u64,
    /// What [`Log::written`] was.
    pub(crate) at: u64,
}

/// Bytes that sealing a segment may have to make durable while nobody else can append.
const QUICK_SYNC: u64 = 1 << 20;

/// How often a segment that is full is made durable before it is sealed in any case: meanwhile little is appended to
/// it.
const SYNCS_BEFORE_SEAL: u32 = 3;

/// A full segment grows by this part of its size, at most, while it is made durable to be sealed.
const BEYOND: u64 = 4;

pub(super) struct Head {
    pub(super) segment: Option<Arc<Segment>>,
    pub(super) end: u64,
    /// The file may hold more than `end`: part of an append that failed could not be cut off.
    pub(super) torn: bool,
    footer: Footer,
    seq: u64,
    next_segment: u32,
    /// Where the newest complete checkpoint begins.
    checkpoint: Position,
    /// What `written` was when it began.
    checkpoint_at: u64,
    /// Bytes of transactions appended, or of the rows that they put, from the checkpoint on that the log was opened
    /// with.
    written: u64,
    rows: Measured,
}

/// The segments, and the one that grows.
pub(crate) struct Log {
    pub(super) io: Arc<dyn Io>,
    options: LogOptions,
    segments: RwLock<BTreeMap<u32, Arc<Segment>>>,
    handles: Arc<Handles>,
    /// Deleted since the log was opened: what else is not there is missing.
    removed: Mutex<BTreeSet<u32>>,
    head: Mutex<Head>,
    durability: Durability,
    /// Newest segment whose folder entry is durable.
    linked: AtomicU32,
}

impl Log {
    pub(crate) fn new(io: Arc<dyn Io>, options: LogOptions, resume: Resume) -> Self {
        let end = resume.head.as_ref().map_or(0, |(s, _)| s.len());
        let (segment, footer) = resume.head.unzip();
        let durable = segment.as_ref().map_or(Position::default(), |s| Position {
            segment: s.id,
            offset: end as u32,
        });
        let head = Head {
            segment,
            end,
            torn: false,
            footer: footer.unwrap_or_default(),
            seq: resume.seq,
            next_segment: resume.next_segment,
            checkpoint: resume.checkpoint,
            checkpoint_at: 0,
            written: resume.since,
            rows: resume.rows,
        };
        Self {
            io,
            options,
            segments: RwLock::new(resume.segments),
            handles: resume.handles,
            removed: Mutex::default(),
            head: Mutex::new(head),
            durability: Durability::new(durable),
            linked: AtomicU32::new(durable.segment),
        }
    }

    pub(super) fn head(&self) -> MutexGuard<'_, Head> {
        self.head.lock()
    }

    /// Takes over what was found of a log that somebody else writes. Segments that are gone were collected: blocks in
    /// them lie elsewhere by now.
    pub(crate) fn replace(&self, found: Resume) {
        let mut head = self.head();
        let mut segments = self.segments.write();
        let gone = segments.keys().filter(|id| !found.segments.contains_key(id));
        self.removed().extend(gone);
        *segments = found.segments;
        head.end = found.head.as_ref().map_or(0, |(segment, _)| segment.len());
        head.segment = found.head.map(|(segment, _)| segment);
        head.seq = found.seq;
        head.next_segment = found.next_segment;
        head.checkpoint = found.checkpoint;
    }

    /// All segments, oldest first.
    pub(crate) fn segments(&self) -> Vec<Arc<Segment>> {
        self.segments.read().values().cloned().collect()
    }

    pub(crate) fn segment(&self, id: u32) -> Option<Arc<Segment>> {
        self.segments.read().get(&id).cloned()
    }

    fn removed(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.removed.lock()
    }

    /// Whether garbage collection deleted this segment, or is about to.
    pub(super) fn was_removed(&self, id: u32) -> bool {
        self.removed().contains(&id)
    }

    pub(super) fn store_id(&self) -> [u8; 16] {
        self.options.store_id
    }

    /// Nothing more is written: the files are others.
    pub(super) fn replaced(&self, why: String) -> Error {
        self.durability.replaced(why)
    }

    pub(crate) fn seq(&self) -> u64 {
        self.head().seq
    }

    /// Up to where the log is durable.
    pub(crate) fn durable(&self) -> Position {
        self.durability.durable()
    }

    /// An error when nothing may be written any more.
    pub(crate) fn check_writable(&self) -> Result<()> {
        self.durability.check()
    }

    /// Notes a checkpoint that is complete and durable, and the rows in it.
    pub(crate) fn set_checkpoint(&self, begin: Position, rows: Measured) {
        let mut head = self.head();
        head.checkpoint = begin;
        head.checkpoint_at = rows.at;
        head.rows = rows;
    }

    /// Notes how much the rows take.
    pub(crate) fn set_rows(&self, rows: Measured) {
        self.head().rows = rows;
    }

    /// Bytes of transactions, or of the rows that they put, since the last checkpoint.
    pub(crate) fn since_checkpoint(&self) -> u64 {
        let head = self.head();
        head.written - head.checkpoint_at
    }

    /// A number that grows with every transaction, by its bytes or those of the rows that it puts, whichever are more.
    pub(crate) fn written(&self) -> u64 {
        self.head().written
    }

    /// Bytes of all rows when they were last looked at, and what transactions added since, at most.
    pub(crate) fn rows(&self) -> (u64, u64) {
        let head = self.head();
        (head.rows.bytes, head.written - head.rows.at)
    }

    pub(crate) fn checkpoint(&self) -> Position {
        self.head().checkpoint
    }

    /// Appends the bytes of stored block `id`. `placed` hears where they lie before their segment can be sealed.
    pub(crate) fn append_block(&self, id: u64, bytes: &[u8], placed: impl FnOnce(BlockRef)) -> Result<BlockRef> {
        let location = |at: Position| BlockRef {
            segment: at.segment,
            offset: at.offset,
            len: bytes.len() as u32,
        };
        let fill = |out: &mut Vec<u8>, _| {
            put_varint(out, id);
            out.extend_from_slice(bytes);
        };
        self.append_placed(RecordKind::Block, bytes.len() + 10, fill, |at| placed(location(at)))
            .map(location)
    }

    /// Appends a copy of a dictionary. `placed` hears where it lies before its segment can be sealed.
    pub(crate) fn append_dictionary(
        &self,
        id: DictionaryId,
        bytes: &[u8],
        placed: impl FnOnce(BlockRef),
    ) -> Result<BlockRef> {
        let location = |at: Position| BlockRef {
            segment: at.segment,
            offset: at.offset,
            len: bytes.len() as u32,
        };
        let fill = |out: &mut Vec<u8>, _| {
            out.extend_from_slice(&id);
            out.extend_from_slice(bytes);
        };
        let max = id.len() + bytes.len();
        self.append_placed(RecordKind::Dictionary, max, fill, |at| placed(location(at)))
            .map(location)
    }

    /// Appends a transaction, which begins with how far before it the log is known to be durable: after a crash,
    /// what is broken before that place was broken by the disk, not by the crash. It puts rows of so many bytes, which
    /// may be far more than its own: the larger number counts. One at a time.
    pub(crate) fn append_transaction(&self, changes: &[u8], rows: u64) -> Result<Position> {
        let at = self.append(RecordKind::Transaction, changes.len() + 5, |out, back| {
            put_varint(out, u64::from(back));
            out.extend_from_slice(changes);
        })?;
        self.head().written += rows.saturating_sub(changes.len() as u64);
        Ok(at)
    }

    /// Appends a record; `fill` writes the payload (at most `max` bytes), given its distance from the durable part.
    pub(crate) fn append(
        &self,
        kind: RecordKind,
        max: usize,
        fill: impl FnOnce(&mut Vec<u8>, u32),
    ) -> Result<Position> {
        self.append_placed(kind, max, fill, |_| ())
    }

    /// As [`Log::append`]; `placed` hears where the record begins before anybody else can append.
    fn append_placed(
        &self,
        kind: RecordKind,
        max: usize,
        fill: impl FnOnce(&mut Vec<u8>, u32),
        placed: impl FnOnce(Position),
    ) -> Result<Position> {
        if max > MAX_PAYLOAD {
            return Err(InvalidChange::Record {
                len: max,
                max: MAX_PAYLOAD,
            }
            .into());
        }
        let (mut head, segment) = self.head_with_room(kind, (FRAME_LEN + max) as u64)?;
        let offset = head.end as u32;
        let back = self.unsynced(&head, &segment) as u32;
        let mut record = Vec::with_capacity(FRAME_LEN + max);
        record.resize(FRAME_LEN, 0);
        fill(&mut record, back);
        let seq = head.seq + u64::from(kind == RecordKind::Transaction);
        let (start, payload) = record.split_at_mut(FRAME_LEN);
        start.copy_from_slice(&Frame::of(kind, seq, payload).encode(segment.salt, u64::from(offset)));
        self.write(&mut head, &segment, &record)?;
        head.seq = seq;
        if kind == RecordKind::Transaction {
            head.written += record.len() as u64;
        }
        if !kind.is_contents() {
            let end = head.end as u32;
            head.footer.note(offset, end);
        }
        let at = Position {
            segment: segment.id,
            offset,
        };
        placed(at);
        Ok(at)
    }

    /// Writes at the head's end; what could not be written whole is cut off again.
    fn write(&self, head: &mut Head, segment: &Arc<Segment>, bytes: &[u8]) -> Result<()> {
        let file = segment.file(self.io.as_ref())?;
        self.check_end(head, segment, file.as_ref())?;
        if let Err(e) = write_full(file.as_ref(), bytes, head.end) {
            // If even this fails, the next append writes over the rest and opening cuts it off.
            if let Err(cut) = file.set_len(head.end) {
                head.torn = true;
                tracing::warn!("cannot cut {} back to {}: {cut}", segment.name(), head.end);
            }
            return Err(Error::io("write", &segment.name(), e));
        }
        head.end += bytes.len() as u64;
        segment.set_len(head.end);
        Ok(())
    }

    /// The head, locked, and its segment with room for `size` more bytes, a new one if need be.
    ///
    /// Sealing a segment makes it durable, and the head is locked meanwhile. So that this is quick, most of the segment
    /// is made durable before, without the lock. Whoever appends contents waits for that; a change of names or
    /// attributes does not, and goes beyond the segment's size.
    fn head_with_room(&self, kind: RecordKind, size: u64) -> Result<(MutexGuard<'_, Head>, Arc<Segment>)> {
        let full = u64::from(self.options.segment_size);
        let mut syncs = 0;
        loop {
            let mut head = self.head();
            self.durability.check()?;
            let Some(segment) = head.segment.clone() else {
                let segment = self.start(&mut head)?;
                return Ok((head, segment));
            };
            let end = head.end + size;
            let beyond = kind == RecordKind::Transaction && end <= full + full / BEYOND;
            let is_first = head.end <= HEADER_LEN as u64;
            let seals_quickly = syncs >= SYNCS_BEFORE_SEAL || self.unsynced(&head, &segment) <= QUICK_SYNC;
            if is_first || end <= full || (beyond && !seals_quickly) {
                return Ok((head, segment));
            }
            if seals_quickly {
                self.seal(&mut head)?;
                let segment = self.start(&mut head)?;
                return Ok((head, segment));
            }
            drop(head);
            self.sync()?;
            syncs += 1;
        }
    }

    /// Whether so many bytes can be appended to the head without waiting for it to be sealed.
    pub(crate) fn has_room_for(&self, size: u64) -> bool {
        // It is locked for long while a segment is sealed.
        let Some(head) = self.head.try_lock() else { return false };
        head.segment.is_some() && head.end + size <= u64::from(self.options.segment_size)
    }

    /// Bytes of the head's segment that are not known to be durable.
    fn unsynced(&self, head: &Head, segment: &Segment) -> u64 {
        let durable = self.durability.durable();
        if durable.segment == segment.id {
            head.end.saturating_sub(u64::from(durable.offset))
        } else {
            head.end
        }
    }

    /// Ends the head segment with its footer and makes it durable.
    fn seal(&self, head: &mut Head) -> Result<()> {
        let Some(segment) = head.segment.clone() else {
            return Ok(());
        };
        let offset = head.end as u32;
        head.footer.seq = head.seq;
        let payload = head.footer.encode();
        let mut bytes = Frame::of(RecordKind::Footer, head.seq, &payload)
            .encode(segment.salt, u64::from(offset))
            .to_vec();
        bytes.extend_from_slice(&payload);
        bytes.extend_from_slice(&Footer::trailer(offset));
        self.write(head, &segment, &bytes)?;
        segment.set_sealed();
        let durable = self.make_durable(&segment)?;
        // Nothing may be appended after a footer, so this failure is final, too.
        self.check_names_of(head)
            .map_err(|e| self.durability.fail(e.to_string()))?;
        head.segment = None;
        head.footer = Footer::default();
        self.durability.advance(durable);
        segment.unpin();
        Ok(())
    }

    /// Begins the next segment.
    fn start(&self, head: &mut Head) -> Result<Arc<Segment>> {
        let id = head.next_segment;
        let Some(next) = id.checked_add(1) else {
            return Err(Error::NoSpace {
                what: "another segment: none of their numbers is left",
                path: segment_name(id),
            });
        };
        let name = segment_name(id);
        self.check_names_of(head)?;
        let file = match self.io.create(&name) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => self.take_left_over(&name)?,
            other => other.map_err(|e| Error::io("create", &name, e))?,
        };
        lock(file.as_ref(), &name)?;
        let header = Header {
            segment: id,
            store_id: self.options.store_id,
            seq: head.seq,
            checkpoint: head.checkpoint,
        };
        let written = file
            .set_len(0)
            .and_then(|()| write_full(file.as_ref(), &header.encode(), 0));
        if let Err(e) = written {
            if let Err(e) = self.io.remove(&name) {
                tracing::warn!("cannot remove the unfinished {name}: {e}");
            }
            return Err(Error::io("write", &name, e));
        }
        let segment = Arc::new(Segment::new(
            id,
            &self.options.store_id,
            HEADER_LEN as u64,
            false,
            &self.handles,
        ));
        segment.set_file(file);
        self.segments.write().insert(id, Arc::clone(&segment));
        head.next_segment = next;
        head.end = HEADER_LEN as u64;
        head.torn = false;
        head.segment = Some(Arc::clone(&segment));
        Ok(segment)
    }

    /// A segment file that was there before it was made: left behind when its header could not be written, or somebody
    /// else's.
    fn take_left_over(&self, name: &str) -> Result<Arc<dyn File>> {
        let at = |e| Error::io("open", name, e);
        let file = self.io.open(name, true).map_err(at)?;
        if file.len().map_err(at)? > HEADER_LEN as u64 {
            return Err(self.replaced(format!("{name} was made by somebody else")));
        }
        Ok(file)
    }

    /// Seals the head segment if it holds anything, so that garbage collection may take it.
    pub(crate) fn seal_head(&self) -> Result<()> {
        let mut head = self.head();
        self.durability.check()?;
        if head.segment.is_some() && head.end > HEADER_LEN as u64 {
            self.seal(&mut head)
        } else {
            Ok(())
        }
    }

    /// fdatasync of a segment and, for a new one, fsync of its folder; says what is durable then.
    fn make_durable(&self, segment: &Arc<Segment>) -> Result<Position> {
        let end = segment.len() as u32;
        let file: Arc<dyn File> = segment.file(self.io.as_ref())?;
        file.sync_data()
            .map_err(|e| self.durability.fail(format!("cannot sync {}: {e}", segment.name())))?;
        if self.linked.load(Ordering::Acquire) < segment.id {
            self.io
                .sync_dir(FOLDER)
                .map_err(|e| self.durability.fail(format!("cannot sync {FOLDER}: {e}")))?;
            self.linked.fetch_max(segment.id, Ordering::AcqRel);
        }
        Ok(Position {
            segment: segment.id,
            offset: end,
        })
    }

    /// Returns when everything appended before the call is durable.
    pub(crate) fn sync(&self) -> Result<()> {
        let newest = || {
            let head = self.head();
            head.segment.as_ref().map(|s| (Arc::clone(s), head.end as u32))
        };
        let Some((segment, end)) = newest() else {
            self.durability.check()?;
            return self.check_names();
        };
        let target = Position {
            segment: segment.id,
            offset: end,
        };
        self.durability.reach(target, || match newest() {
            Some((segment, _)) => {
                let durable = self.make_durable(&segment)?;
                self.check_names().map(|()| durable)
            }
            // Sealed in the meantime, which made it durable.
            None => Ok(target),
        })
    }

    /// Reads a block with its number.
    pub(crate) fn read_block(&self, r: BlockRef) -> Result<(u64, Vec<u8>)> {
        match self.segment(r.segment) {
            Some(segment) => segment.read_block(self.io.as_ref(), r),
            None if self.removed().contains(&r.segment) => Err(Error::Moved { segment: r.segment }),
            None => Err(damaged(r, "its segment is missing")),
        }
    }

    /// Reads a copy of a dictionary.
    pub(crate) fn read_dictionary(&self, id: DictionaryId, r: BlockRef) -> Result<Vec<u8>> {
        match self.segment(r.segment) {
            Some(segment) => segment.read_dictionary(self.io.as_ref(), id, r),
            None if self.removed().contains(&r.segment) => Err(Error::Moved { segment: r.segment }),
            None => Err(damaged(r, "its segment is missing")),
        }
    }

    /// Deletes a segment; those who are reading from it may finish. If that fails, it stays, and may be tried again.
    pub(crate) fn remove(&self, id: u32) -> Result<()> {
        let name = segment_name(id);
        if let Some(segment) = self.segment(id) {
            // Readers that come too late to open it themselves share this handle.
            segment.pin(self.io.as_ref())?;
            self.check_whole(&segment)?;
        }
        self.removed().insert(id);
        if let Err(e) = self.io.remove(&name) {
            self.removed().remove(&id);
            return Err(Error::io("remove", &name, e));
        }
        self.segments.write().remove(&id);
        self.io.sync_dir(FOLDER).map_err(|e| Error::io("sync", FOLDER, e))
    }
}

/// Takes a segment for this process alone.
pub(crate) fn lock(file: &dyn File, name: &str) -> Result<()> {
    match file.lock() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::InUse(name.to_owned())),
        Err(e) => Err(Error::io("lock", name, e)),
    }
}
