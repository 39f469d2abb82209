//! Logs that were made to cost more than they are: what opening and checking them reads and takes of memory is counted,
//! bounded by their size, and printed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use super::checkpoint::{Begin, End};
use crate::index::packed;
use crate::index::page::Writer;
use crate::index::rows;
use crate::io::FaultIo;
use crate::log::{FRAME_LEN, Footer, Frame, Header, Position, RecordKind, Segment, segment_name};
use crate::testing::memory;
use crate::wire::put_varint;
use crate::{CheckOptions, CreateOptions, MAX_XATTR, MemIo, OpenOptions, Result, Store};
use std::sync::Arc;

const ID: [u8; 16] = [1; 16];

/// Bytes that the log has, about.
const LEN: usize = 2 << 20;
/// Times that each byte may be read. Opening reads the newest segment thrice, and writes its end anew.
const READINGS: u64 = 8;
/// Memory beside what grows with the log: a window, a page, and the like.
const BESIDE: usize = 4 << 20;

/// A segment under construction.
struct Made {
    salt: u32,
    id: u32,
    bytes: Vec<u8>,
}

impl Made {
    fn new(id: u32) -> Made {
        let header = Header {
            segment: id,
            store_id: ID,
            seq: 0,
            checkpoint: Position::default(),
        };
        Made {
            salt: Segment::new(id, &ID, 0, false, &Arc::default()).salt,
            id,
            bytes: header.encode(),
        }
    }

    fn at(&self) -> Position {
        Position {
            segment: self.id,
            offset: self.bytes.len() as u32,
        }
    }

    fn record(&mut self, kind: RecordKind, payload: &[u8]) -> Position {
        let (at, frame) = (self.at(), Frame::of(kind, 0, payload));
        self.bytes.extend(frame.encode(self.salt, u64::from(at.offset)));
        self.bytes.extend(payload);
        at
    }

    /// A frame alone, of a record that would have `len` bytes.
    fn claim(&mut self, kind: RecordKind, len: usize) {
        let frame = Frame {
            len: len as u32,
            ..Frame::of(kind, 0, &[])
        };
        let at = u64::from(self.at().offset);
        self.bytes.extend(frame.encode(self.salt, at));
    }

    fn begin(&mut self) -> Position {
        let mut payload = Vec::new();
        let begin = Begin {
            seq: 0,
            max_ino: 1,
            max_id: 0,
        };
        begin.encode(&mut payload);
        self.record(RecordKind::CheckpointBegin, &payload)
    }

    fn end(&mut self, begin: Position, rows: u64) {
        let mut payload = Vec::new();
        End { begin, rows }.encode(&mut payload);
        self.record(RecordKind::CheckpointEnd, &payload);
    }
}

/// Opens a store whose log are these segments, in every way, and checks it; prints and bounds what that takes.
fn assert_cheap(what: &str, segments: Vec<Made>) {
    let files = segments.into_iter().map(|made| (segment_name(made.id), made.bytes));
    let files: Vec<_> = files.collect();
    let len: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    for salvage in [false, true] {
        let io = Arc::new(FaultIo::new(Arc::new(MemIo::from_files(files.clone()))));
        let options = OpenOptions {
            salvage,
            ..OpenOptions::default()
        };
        let (peak, opened) = memory(|| -> Result<()> {
            let (store, _) = Store::open(io.clone(), options)?;
            store.check(&CheckOptions { log: true }, &mut |_, _| true).map(drop)
        });
        let (read, outcome) = (io.bytes_read(), opened.err().map(|e| e.to_string()));
        println!("{what}, {len} bytes: {read} read, {peak} of memory, {outcome:?}");
        // Each place may be read in vain so often before frames are believed: see `scan`.
        let vain = 64 * (len as u64 + (2 << 20));
        let readings = if what.contains("without records") { vain } else { 0 } + READINGS * (len as u64 + (1 << 20));
        assert!(read <= readings, "{what}: {read} bytes read, {readings} expected");
        assert!(peak <= 4 * len + BESIDE, "{what}: {peak} bytes of memory");
    }
}

#[test]
fn frames_that_claim_more_than_there_is_take_no_more_than_there_is() {
    for kind in [
        RecordKind::Block,
        RecordKind::Transaction,
        RecordKind::CheckpointRows,
        RecordKind::Footer,
    ] {
        for claimed in [1 << 10, 1 << 20, (1 << 24) - 1] {
            let mut made = Made::new(1);
            while made.bytes.len() < LEN {
                made.claim(kind, claimed);
            }
            let mut newest = Made::new(2);
            newest.record(RecordKind::Transaction, &[0]);
            assert_cheap(
                &format!("{} frames without records of {claimed}", kind.name()),
                vec![made, newest],
            );
        }
    }
}

/// Regression: each stretch that a footer names was read with the MiB that follows it.
#[test]
fn a_footer_of_many_stretches_costs_no_more_than_the_segment() {
    for (gap, len) in [(1, 1), (0, 1), (0, 0), (64 << 10, 1), (u64::from(u32::MAX), 1)] {
        let mut made = Made::new(1);
        made.bytes.resize(LEN, 7);
        let mut payload = Vec::new();
        put_varint(&mut payload, 0);
        for _ in 0..LEN / 4 {
            put_varint(&mut payload, gap);
            put_varint(&mut payload, len);
        }
        let at = made.record(RecordKind::Footer, &payload);
        made.bytes.extend(Footer::trailer(at.offset));
        let newest = Made::new(2);
        assert_cheap(&format!("stretches of {len} every {gap}"), vec![made, newest]);
    }
}

/// Regression: a checkpoint was tried as often as some record said that it is complete.
#[test]
fn checkpoints_that_are_named_again_and_again_are_tried_once() {
    let mut made = Made::new(1);
    // Rows enough that reading them is work; one is missing.
    let mut page = Writer::default();
    for n in 0..4000_u32 {
        page.push(&rows::meta_key(&n.to_be_bytes()), &[7; 200]);
    }
    let page = packed::pack(&page.take()).unwrap();
    let begins: Vec<_> = (0..2)
        .map(|_| {
            let begin = made.begin();
            made.record(RecordKind::CheckpointRows, &page);
            made.end(begin, 4001);
            begin
        })
        .collect();
    while made.bytes.len() < LEN {
        for begin in &begins {
            made.end(*begin, 4001);
        }
    }
    assert_cheap("two checkpoints named in turn", vec![made]);

    // And many of them, each of which leads to the same gap.
    let mut made = Made::new(1);
    while made.bytes.len() < LEN {
        let begin = made.begin();
        made.end(begin, 0);
    }
    let frame = Frame {
        seq: 9,
        ..Frame::of(RecordKind::Block, 9, &[1, 2])
    };
    let at = u64::from(made.at().offset);
    made.bytes.extend(frame.encode(made.salt, at));
    made.bytes.extend([1, 2]);
    let what = "many checkpoints before a gap";
    let files = [(segment_name(1), made.bytes)];
    let len = LEN as u64;
    let io = Arc::new(FaultIo::new(Arc::new(MemIo::from_files(files))));
    let (peak, opened) = memory(|| Store::open(io.clone(), OpenOptions::default()).map(drop));
    let read = io.bytes_read();
    println!(
        "{what}: {read} bytes read, {peak} of memory, {:?}",
        opened.as_ref().err().map(ToString::to_string)
    );
    assert!(opened.is_err(), "{what}");
    // Every one that is tried leads through the rest of the log.
    assert!(read < 50 * len, "{what}: {read} bytes read");
}

/// Regression: a key in a checkpoint could have any length, and each row after it could repeat it for one byte.
#[test]
fn rows_of_a_checkpoint_have_the_bounds_of_transactions() {
    let name = |len| vec![b'n'; len];
    let value = |len| vec![7; len];
    let xattr = |name: &[u8]| rows::named(rows::XATTR, 2, name);
    for (key, len, good) in [
        (rows::meta_key(&name(255)), 0, true),
        (rows::meta_key(&name(256)), 0, false),
        (rows::meta_key(&name(1 << 20)), 0, false),
        (rows::meta_key(b""), 0, false),
        (rows::meta_key(b"m"), MAX_XATTR, true),
        (rows::meta_key(b"m"), MAX_XATTR + 1, false),
        (xattr(&name(255)), MAX_XATTR, true),
        (xattr(&name(256)), 0, false),
        (xattr(b"x"), MAX_XATTR + 1, false),
    ] {
        let parsed = rows::parse(&key, &value(len)).is_some();
        assert_eq!(parsed, good, "a key of {} bytes with {len}", key.len());
    }
}

/// A store that is as it should be takes no more than that, too: the bounds are none that everything keeps.
#[test]
fn a_store_that_is_as_it_should_be_is_cheap() {
    let io = MemIo::new();
    let store = Store::create(Arc::new(io.clone()), CreateOptions::new(ID)).unwrap();
    for _ in 0..LEN / 4096 {
        store.append_block(&[7; 4096]).unwrap();
    }
    store.checkpoint().unwrap();
    store.close().unwrap();
    let mut made = Made::new(1);
    made.bytes = io.files().remove(&segment_name(1)).unwrap();
    assert!(made.bytes.len() > LEN && FRAME_LEN > 0);
    assert_cheap("a good store", vec![made]);
}
