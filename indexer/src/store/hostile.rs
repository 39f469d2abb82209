//! Stores that no lmfs wrote: records with right checksums and contents that no filesystem may hold. What cannot be
//! right is refused with its place; what only contradicts the rest is found by the check and harms nothing else.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use super::checkpoint::{Begin, End};
use crate::change::encode_changes;
use crate::index::packed;
use crate::index::page::Writer;
use crate::index::rows;
use crate::log::{Header, Position, RecordKind, segment_name};
use crate::wire::{put_bytes, put_varint};
use crate::{
    BlockRef, Change, CheckOptions, Cookie, CreateOptions, Dictionary, DictionaryChange, Dirent, Error, Extent,
    GcOptions, Inode, Kind, MAX_COPIED, MemIo, OpenOptions, ROOT_INO, Result, Store, StoredBlock, Time,
};
use std::ops::ControlFlow;
use std::sync::Arc;

mod checkpoints;
mod dictionaries;
mod trees;

use checkpoints::with_checkpoint;

const GOOD: u64 = 2;

fn inode(ino: u64, kind: Kind) -> Inode {
    Inode {
        size: 5,
        ..Inode::new(ino, kind, 0o644, Time::default())
    }
}

fn name(parent: u64, name: &[u8], ino: u64, kind: Kind) -> Change {
    Change::PutDirent {
        parent,
        name: name.to_vec(),
        entry: Dirent { ino, kind },
    }
}

/// A new stored block, with a number of its own.
fn extent(ino: u64, first: u64, segment: u32, offset: u32, len: u32, raw_len: u32) -> Change {
    numbered(
        1000 + first % 1000 + 1000 * (ino % 1000),
        ino,
        first,
        (segment, offset, len),
        raw_len,
    )
}

fn numbered(id: u64, ino: u64, first: u64, (segment, offset, len): (u32, u32, u32), raw_len: u32) -> Change {
    let r = BlockRef { segment, offset, len };
    let extents = vec![Some(Extent::new((id, r), 0, raw_len))];
    Change::PutExtents { ino, first, extents }
}

/// A store with one good file.
fn store() -> (MemIo, Store) {
    let io = MemIo::new();
    let store = Store::create(Arc::new(io.clone()), CreateOptions::new([1; 16])).unwrap();
    let extents = vec![Some(Extent::new(store.append_block(b"bytes").unwrap(), 0, 5))];
    let _made = store
        .commit(vec![
            Change::PutInode(inode(GOOD, Kind::File)),
            name(ROOT_INO, b"good", GOOD, Kind::File),
            Change::PutExtents {
                ino: GOOD,
                first: 0,
                extents,
            },
        ])
        .unwrap();
    (io, store)
}

fn open(io: &MemIo, salvage: bool) -> Result<Store> {
    let options = OpenOptions {
        salvage,
        ..OpenOptions::default()
    };
    Store::open(Arc::new(MemIo::from_files(io.files())), options).map(|(store, _)| store)
}

fn assert_good(store: &Store, what: &str) {
    let extent = store.extent(GOOD, 0).unwrap().unwrap();
    assert_eq!(store.read_block_of(GOOD, 0, &extent).unwrap(), b"bytes", "{what}");
}

/// The log with this transaction at its end, which may be no transaction at all.
fn with_transaction(bytes: &[u8]) -> MemIo {
    let (io, store) = store();
    store.log.append_transaction(bytes, 0).unwrap();
    store.sync().unwrap();
    io
}

fn assert_refused(io: &MemIo, what: &str) {
    match open(io, false) {
        Err(Error::LogDamaged { segment, why, .. }) => {
            assert!(segment > 0 && why.len() > 10, "{what}: {why}");
            println!("{what}: {why}");
        }
        Err(e) => panic!("{what}: {e}"),
        Ok(_) => panic!("{what}: accepted"),
    }
    let salvaged = open(io, true).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_good(&salvaged, what);
}

#[test]
fn transactions_that_no_filesystem_may_hold_are_refused() {
    let long = [b'n'; 256];
    let names: [&[u8]; 8] = [b"", b".", b"..", b"/", b"a/b", b"../../etc/passwd", b"nul\0", &long];
    let mut cases: Vec<(String, Vec<Change>)> = Vec::new();
    for bad in names {
        let what = format!("the name {}", bad.escape_ascii());
        cases.push((what, vec![name(ROOT_INO, bad, GOOD, Kind::File)]));
    }
    let mut inodes = vec![
        inode(0, Kind::File),
        inode(1 << 63, Kind::File),
        inode(u64::MAX, Kind::File),
    ];
    inodes.push(Inode {
        size: 1 << 63,
        ..inode(3, Kind::File)
    });
    inodes.push(Inode {
        perm: 0o10000,
        ..inode(3, Kind::File)
    });
    inodes.push(Inode {
        target: vec![b'x'; 4096],
        ..inode(3, Kind::Symlink)
    });
    let nanos = 1_000_000_000;
    inodes.push(Inode {
        mtime: Time { secs: 0, nanos },
        ..inode(3, Kind::File)
    });
    inodes.push(inode(GOOD, Kind::Directory));
    cases.extend(
        inodes
            .into_iter()
            .map(|i| (format!("{i:?}").chars().take(60).collect(), vec![Change::PutInode(i)])),
    );
    for (what, change) in [
        ("inode 0 gets a name", name(ROOT_INO, b"zero", 0, Kind::File)),
        ("a name in inode 0", name(0, b"zero", GOOD, Kind::File)),
        ("block numbers that overflow", extent(GOOD, u64::MAX - 2, 1, 52, 5, 5)),
        ("a block beyond 2^63", extent(GOOD, 1 << 63, 1, 52, 5, 5)),
        ("blocks of an inode that does not exist", extent(77, 0, 1, 52, 5, 5)),
        ("deleting what does not exist", Change::DelInode(77)),
        ("an orphan number 0", Change::PutOrphan(0)),
        (
            "an attribute without a name",
            Change::PutXattr {
                ino: GOOD,
                name: Vec::new(),
                value: Vec::new(),
            },
        ),
        (
            "an attribute too large",
            Change::PutXattr {
                ino: GOOD,
                name: b"user.x".to_vec(),
                value: vec![0; 65537],
            },
        ),
    ] {
        cases.push((what.to_owned(), vec![change]));
    }
    for (what, changes) in &cases {
        let mut bytes = Vec::new();
        encode_changes(&mut bytes, changes);
        assert_refused(&with_transaction(&bytes), what);
        // Nor are they taken from the program itself.
        let (_, store) = store();
        assert!(store.commit(changes.clone()).is_err(), "{what}: committed");
    }
    let mut count = vec![5];
    for number in [GOOD, 0, u64::MAX] {
        put_varint(&mut count, number);
    }
    let mut length = vec![3, 1];
    put_varint(&mut length, u64::MAX);
    for (what, bytes) in [
        ("an unknown change", &[200, 1, 2, 3][..]),
        ("a change cut short", &[1, 3, 9]),
        ("2^64 - 1 extents", &count),
        ("a name of 2^64 - 1 bytes", &length),
        ("an overlong number", &[0xff; 30]),
    ] {
        assert_refused(&with_transaction(bytes), what);
    }
}

#[test]
fn numbers_at_the_end_of_their_range_are_refused() {
    // A block in the last segment there can be: no segment could follow.
    let mut bytes = Vec::new();
    encode_changes(&mut bytes, &[extent(GOOD, 1, u32::MAX, 52, 5, 5)]);
    assert_refused(&with_transaction(&bytes), "a block in segment 2^32 - 1");

    for (segment, seq) in [(u32::MAX, 2), (7, u64::MAX)] {
        let what = format!("segment {segment:08x} after transaction {seq}");
        let (io, store) = store();
        store.sync().unwrap();
        drop(store);
        let mut files = io.files();
        let header = Header {
            segment,
            store_id: [1; 16],
            seq,
            checkpoint: Position::default(),
        };
        files.insert(segment_name(segment), header.encode());
        let io = MemIo::from_files(files);
        assert_refused(&io, &what);
    }
}

/// A checkpoint of a store whose file has its block twice, with other rows of stored blocks and users.
fn with_rows(alter: fn(&[u8], &[u8]) -> Option<Vec<u8>>) -> MemIo {
    let (_, made) = store();
    let _twice = made.commit(vec![copy(GOOD, 1)]).unwrap();
    let (mut page, mut count) = (Writer::default(), 0);
    let mut push = |key: &[u8], value: &[u8]| {
        if let Some(value) = alter(key, value) {
            page.push(key, &value);
            count += 1;
        }
        ControlFlow::<()>::Continue(())
    };
    made.state().index.scan(b"", &mut push).unwrap();
    let (seq, max_ino, max_id) = (made.seq(), made.max_ino(), made.max_id());
    with_checkpoint(Begin { seq, max_ino, max_id }, &page.take(), count)
}

/// Block 0 of the good file once more, as another block.
fn copy(ino: u64, first: u64) -> Change {
    Change::CopyExtents {
        ino,
        first,
        from: GOOD,
        from_first: 0,
        count: 1,
    }
}

fn with_users(value: &[u8], users: u64) -> Option<Vec<u8>> {
    with_block(value, |stored| stored.users = users)
}

fn with_block(value: &[u8], alter: impl FnMut(&mut StoredBlock)) -> Option<Vec<u8>> {
    let mut blocks = rows::decode_blocks(0, value).unwrap();
    blocks.iter_mut().flatten().for_each(alter);
    rows::encode_blocks(0, &blocks)
}

/// The row of stored blocks with another one, 2, that refers to the first one, and the first one to that.
fn in_a_circle(value: &[u8]) -> Option<Vec<u8>> {
    let mut blocks = rows::decode_blocks(0, value).unwrap();
    let first = blocks.get(1).copied().flatten().unwrap();
    let referring = |reference, users| StoredBlock {
        reference,
        referrers: 1,
        users,
        ..first
    };
    let circle = [Some(referring(2, first.users)), Some(referring(1, 0))];
    blocks.splice(1..3, circle);
    rows::encode_blocks(0, &blocks)
}

/// The row of stored blocks with two others, 2 and 3: the first one needs both, which are longer than a chain may be.
fn in_a_large_chain(value: &[u8]) -> Option<Vec<u8>> {
    let mut blocks = rows::decode_blocks(0, value).unwrap();
    let first = blocks.get(1).copied().flatten().unwrap();
    let large = |reference| StoredBlock {
        reference,
        referrers: 1,
        users: 0,
        raw_len: 300 << 10,
        ..first
    };
    let referring = StoredBlock { reference: 2, ..first };
    blocks.resize(blocks.len().max(4), None);
    blocks.splice(1..4, [Some(referring), Some(large(3)), Some(large(0))]);
    rows::encode_blocks(0, &blocks)
}

/// Regression: an index that lies made a reader decode as many bytes as it liked.
#[test]
fn a_chain_of_too_many_bytes_is_damage() {
    let rows = with_rows(|key, value| match key.first() {
        Some(&rows::BLOCKS) => in_a_large_chain(value),
        _ => Some(value.to_vec()),
    });
    let store = open(&rows, false).unwrap();
    let extent = store.extent(GOOD, 0).unwrap().unwrap();
    let error = store.reference(&extent).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("more bytes of other blocks"), "{error}");
}

#[test]
fn counts_and_rows_of_users_that_lie_are_found_and_harm_nothing_else() {
    type Alter = fn(&[u8], &[u8]) -> Option<Vec<u8>>;
    let cases: [(&str, Alter, &str); 9] = [
        ("as it is", |_, value| Some(value.to_vec()), ""),
        (
            "too large a chain",
            |key, value| match key.first() {
                Some(&rows::BLOCKS) => in_a_large_chain(value),
                _ => Some(value.to_vec()),
            },
            "needs more bytes of other blocks than may be",
        ),
        (
            "too many users",
            |key, value| match key.first() {
                Some(&rows::BLOCKS) => with_users(value, 9),
                _ => Some(value.to_vec()),
            },
            "2 blocks of files name the stored block 1, the index says 9",
        ),
        (
            "too few users",
            |key, value| match key.first() {
                Some(&rows::BLOCKS) => with_users(value, 1),
                _ => Some(value.to_vec()),
            },
            "2 blocks of files name the stored block 1, the index says 1",
        ),
        (
            "a stored block that is not there",
            |key, value| (key.first() != Some(&rows::BLOCKS)).then(|| value.to_vec()),
            "names a stored block that does not exist",
        ),
        (
            "a reference to nothing",
            |key, value| match key.first() {
                Some(&rows::BLOCKS) => with_block(value, |stored| stored.reference = 7),
                _ => Some(value.to_vec()),
            },
            "refers to a stored block that does not exist",
        ),
        (
            "too many referrers",
            |key, value| match key.first() {
                Some(&rows::BLOCKS) => with_block(value, |stored| stored.referrers = 5),
                _ => Some(value.to_vec()),
            },
            "0 stored blocks refer to the stored block 1, the index says 5",
        ),
        (
            "references in a circle",
            |key, value| match key.first() {
                Some(&rows::BLOCKS) => in_a_circle(value),
                _ => Some(value.to_vec()),
            },
            "refers to others in too long a chain, or in a circle",
        ),
        (
            "users that cannot be found",
            |key, value| (key.first() != Some(&rows::USERS)).then(|| value.to_vec()),
            "which files use which stored blocks is wrong",
        ),
    ];
    for (what, alter, finding) in cases {
        let store = open(&with_rows(alter), false).unwrap_or_else(|e| panic!("{what}: {e}"));
        let found = store
            .check(&CheckOptions::default(), &mut |_, _| true)
            .unwrap()
            .findings;
        assert_eq!(found.is_empty(), finding.is_empty(), "{what}: {found:?}");
        assert!(
            finding.is_empty() || found.iter().any(|f| f.what.contains(finding)),
            "{what}: {found:?}"
        );
        // The other user goes, is copied and coded anew: what is left can be read or is an error, and is never wrong.
        let extent = store.extent(GOOD, 0).unwrap().unwrap();
        let new = store.append_again(extent.id, b"longer bytes").unwrap();
        let swap = Change::SwapBlock {
            id: extent.id,
            old: extent.location,
            new,
            tag: 1,
            reference: 0,
            hint: 0,
        };
        let steps = [
            swap,
            Change::TruncateExtents { ino: GOOD, from: 1 },
            copy(GOOD, 2),
            Change::MergeBlock {
                id: 1,
                into: 7,
                hint: 0,
            },
            Change::DelInode(GOOD),
        ];
        for change in steps {
            if let Err(e) = store.commit(vec![change]) {
                assert!(matches!(e, Error::InvalidChange(_) | Error::Index(_)), "{what}: {e}");
            }
            if let Some(extent) = store.extent(GOOD, 0).unwrap() {
                match store.read_block(&extent) {
                    Ok(bytes) => assert!(bytes == b"bytes" || bytes == b"longer bytes", "{what}"),
                    Err(e) => assert!(matches!(e, Error::Damaged { .. }), "{what}: {e}"),
                }
            }
        }
        let gc = GcOptions {
            max_live: 1.0,
            seal_head: true,
        };
        let collected = store.gc(&gc, &mut |_| true);
        assert!(collected.is_ok(), "{what}: {collected:?}");
        store.close().unwrap();
    }
}

/// Regression: one transaction could hold 1.6 million copies of 4096 blocks, which took tens of gigabytes to apply.
#[test]
fn a_transaction_of_too_many_copies_is_refused() {
    let copies = |n: usize| {
        let copy = Change::CopyExtents {
            ino: GOOD,
            first: 100_000,
            from: GOOD,
            from_first: 50_000,
            count: MAX_COPIED,
        };
        vec![copy; n]
    };
    let (most, more) = (copies(256), copies(257));
    let (_, made) = store();
    let _copied = made.commit(most.clone()).unwrap();
    assert!(matches!(made.commit(more.clone()), Err(Error::InvalidChange(_))));
    let mut bytes = Vec::new();
    encode_changes(&mut bytes, &most);
    assert_good(&open(&with_transaction(&bytes), false).unwrap(), "256 copies");
    bytes.clear();
    encode_changes(&mut bytes, &more);
    assert_refused(&with_transaction(&bytes), "257 copies");
}
