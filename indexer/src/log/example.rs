//! The worked example of docs/FORMAT.md, section "Store": what is written there is what is written to the disk.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::{Log, LogOptions, Position, Resume};
use crate::change::{decode_transaction, encode_changes};
use crate::{Change, Dirent, Extent, Inode, Kind, MemIo, ROOT_INO, Time};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The bytes of the hex dump in the document: lines of an offset and at most 16 bytes.
fn documented() -> Vec<u8> {
    let text = include_str!("../../../docs/FORMAT.md");
    let store = text.split("\n## Store\n").nth(1).unwrap();
    let example = store.split("\n### A segment, byte by byte\n").nth(1).unwrap();
    let dump = example.split("```").nth(1).unwrap();
    let mut bytes = Vec::new();
    for line in dump.lines().filter(|l| !l.trim().is_empty()) {
        let (offset, rest) = line.split_once("  ").unwrap();
        assert_eq!(usize::from_str_radix(offset, 16).unwrap(), bytes.len());
        let hex = rest.split_whitespace();
        bytes.extend(hex.map(|byte| u8::from_str_radix(byte, 16).unwrap()));
    }
    bytes
}

fn changes(r: crate::BlockRef) -> Vec<Change> {
    let birth = Time {
        secs: 1_000_000_000,
        nanos: 5,
    };
    vec![
        Change::PutInode(Inode {
            uid: 1000,
            gid: 100,
            size: 5,
            mtime: Time {
                secs: birth.secs - 1,
                nanos: 0,
            },
            ..Inode::new(2, Kind::File, 0o644, birth)
        }),
        Change::PutDirent {
            parent: ROOT_INO,
            name: b"a".to_vec(),
            entry: Dirent {
                ino: 2,
                kind: Kind::File,
            },
        },
        Change::PutExtents {
            ino: 2,
            first: 0,
            // CRC-32 of the bytes.
            extents: vec![Some(Extent::new((1, r), 0, 5).with_digest(0x3610_a686)), None],
        },
    ]
}

#[test]
fn the_example_of_the_format_document_is_what_is_written() {
    let io = MemIo::new();
    let options = LogOptions {
        store_id: *b"0123456789abcdef",
        segment_size: 4096,
    };
    let resume = Resume {
        segments: BTreeMap::new(),
        handles: Arc::default(),
        head: None,
        next_segment: 1,
        seq: 0,
        checkpoint: Position::default(),
        since: 0,
        rows: super::Measured::default(),
    };
    let log = Log::new(Arc::new(io.clone()), options, resume);
    let r = log.append_block(1, b"hello", |_| ()).unwrap();
    let changes = changes(r);
    let mut bytes = Vec::new();
    encode_changes(&mut bytes, &changes);
    assert_eq!(decode_transaction(&bytes).unwrap(), changes);
    log.append_transaction(&bytes, 0).unwrap();
    log.seal_head().unwrap();
    let files = io.files();
    let written = files.get("segments/00000001.seg").unwrap();
    let lines = written.chunks(16).enumerate().map(|(i, line)| {
        let hex: Vec<String> = line.iter().map(|b| format!("{b:02x}")).collect();
        format!("{:04x}  {}\n", i * 16, hex.join(" "))
    });
    let dump: String = lines.collect();
    assert!(documented() == *written, "the document should say:\n{dump}");
}

#[test]
fn frames_are_checked_as_the_document_says() {
    let (store_id, segment, offset) = ([7u8; 16], 9u32, 1234u64);
    let salt = super::Segment::new(segment, &store_id, 0, false, &Arc::default()).salt;
    let frame = super::Frame::of(super::RecordKind::Block, 3, b"payload");
    let bytes = frame.encode(salt, offset);
    let mut covered = store_id.to_vec();
    covered.extend_from_slice(&segment.to_le_bytes());
    covered.extend_from_slice(&offset.to_le_bytes());
    covered.extend_from_slice(bytes.get(..8).unwrap());
    covered.extend_from_slice(bytes.get(10..).unwrap());
    let check = crc32fast::hash(&covered).to_le_bytes();
    assert_eq!(bytes.get(8..10), check.get(..2));
}
