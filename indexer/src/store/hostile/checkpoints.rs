//! Checkpoints that cannot be right, and pages of them that cannot be unpacked.

use super::*;

pub(super) fn with_checkpoint(begin: Begin, page: &[u8], count: u64) -> MemIo {
    with_packed_checkpoint(begin, &packed::pack(page).unwrap(), count)
}

fn with_packed_checkpoint(begin: Begin, page: &[u8], count: u64) -> MemIo {
    let (io, store) = store();
    let log = &store.log;
    let at = log
        .append(RecordKind::CheckpointBegin, 20, |out, _| begin.encode(out))
        .unwrap();
    log.append(RecordKind::CheckpointRows, page.len(), |out, _| {
        out.extend_from_slice(page)
    })
    .unwrap();
    let end = End { begin: at, rows: count };
    log.append(RecordKind::CheckpointEnd, 25, |out, _| end.encode(out))
        .unwrap();
    store.sync().unwrap();
    io
}

/// Pages of a checkpoint that do not decompress, or to more than there may be: no memory is taken for them.
#[test]
fn pages_that_cannot_be_unpacked_are_passed_over() {
    let begin = Begin {
        seq: 2,
        max_ino: 9,
        max_id: 9,
    };
    let mut page = Writer::default();
    page.push(&rows::meta_key(b"key"), &b"value ".repeat(20));
    let good = packed::pack(&page.take()).unwrap();
    let mut long = Vec::new();
    put_varint(&mut long, u64::MAX);
    long.extend_from_slice(good.get(2..).unwrap());
    let enormous = packed::pack(&vec![0; packed::MAX_ROWS + 1]).unwrap();
    let twice = [&good[..], good.get(2..).unwrap()].concat();
    for page in [vec![], vec![0xff; 40], long, enormous, twice] {
        let store = open(&with_packed_checkpoint(begin, &page, 1), false).unwrap();
        assert_eq!(store.inode(GOOD).unwrap().map(|i| i.ino), Some(GOOD));
        assert_eq!(store.log.checkpoint(), Position::default(), "{page:02x?}");
    }
    let store = open(&with_packed_checkpoint(begin, &good, 1), false).unwrap();
    assert_ne!(store.log.checkpoint(), Position::default());
}

/// The transactions before it are still there, so a checkpoint that cannot be right costs nothing.
#[test]
fn checkpoints_that_cannot_be_right_are_passed_over() {
    let page = |key: Vec<u8>, value: &[u8]| {
        let mut page = Writer::default();
        page.push(&key, value);
        page.take()
    };
    let file = rows::encode_inode_row(0, &inode(9, Kind::File));
    let name = |name: &[u8]| {
        let entry = Dirent {
            ino: 9,
            kind: Kind::File,
        };
        let cookie = Cookie::new(1, 0).unwrap();
        page(
            rows::named(rows::DIRENT, ROOT_INO, name),
            &rows::encode_dirent(&entry, cookie),
        )
    };
    let listed = |cookie, name: &[u8]| {
        let entry = Dirent {
            ino: 9,
            kind: Kind::File,
        };
        page(
            rows::cookie_key(ROOT_INO, Cookie(cookie)),
            &rows::encode_listed(&entry, name),
        )
    };
    let good = |seq| Begin {
        seq,
        max_ino: 9,
        max_id: 9,
    };
    // The row of stored blocks: `before` that are not in use, and one with so many users.
    let block = |before: usize, users: u64| {
        let mut row = vec![0; before];
        // Present and shared; 5 bytes in segment 1 at 52, tag 0, 5 raw bytes.
        row.extend([1 | 32, 5, 1, 52, 0, 5]);
        put_varint(&mut row, users);
        row.extend([0; 4]);
        row
    };
    let mut falling = Vec::new();
    for key in [b"ib", b"ia"] {
        put_varint(&mut falling, 0);
        put_bytes(&mut falling, key);
        put_bytes(&mut falling, b"");
    }
    for (what, begin, page, count) in [
        ("a name with a slash", good(2), name(b"a/b"), 1),
        ("a name of dots", good(2), name(b".."), 1),
        ("a listed name with a slash", good(2), listed(1 << 16, b"a/b"), 1),
        ("a cookie of no transaction", good(2), listed(65_535, b"a"), 1),
        ("a cookie that lseek cannot take", good(2), listed(1 << 63, b"a"), 1),
        ("inode 0", good(2), page(rows::key(rows::INODE, 0), &file), 1),
        (
            "inode 2^64 - 1",
            good(2),
            page(rows::key(rows::INODE, u64::MAX), &file),
            1,
        ),
        ("an unknown row", good(2), page(b"zzzzzzzzzzzz".to_vec(), b""), 1),
        (
            "a run beyond all blocks",
            good(2),
            page(rows::run_key(9, u64::MAX), &[1, 1]),
            1,
        ),
        (
            "the last run there can be",
            good(2),
            page(rows::run_key(9, u64::MAX / rows::RUN), &[0]),
            1,
        ),
        ("a wrong count", good(2), page(rows::key(rows::INODE, 9), &file), 7),
        ("falling keys", good(2), falling, 2),
        ("no page", good(2), vec![0xff; 40], 1),
        (
            "the last transaction there can be",
            good(u64::MAX),
            page(rows::key(rows::INODE, 9), &file),
            1,
        ),
        (
            "the last inode there can be",
            Begin {
                seq: 2,
                max_ino: u64::MAX,
                max_id: 9,
            },
            page(rows::key(rows::INODE, 9), &file),
            1,
        ),
        (
            "the last stored block there can be",
            Begin {
                seq: 2,
                max_ino: 9,
                max_id: u64::MAX,
            },
            page(rows::key(rows::INODE, 9), &file),
            1,
        ),
        ("stored block 0", good(2), page(rows::blocks_key(0), &block(0, 2)), 1),
        (
            "a stored block beyond all",
            good(2),
            page(rows::blocks_key(u64::MAX / rows::RUN), &block(0, 2)),
            1,
        ),
        (
            "a shared block without a user",
            good(2),
            page(rows::blocks_key(1), &block(0, 0)),
            1,
        ),
        (
            "a block with 2^31 users",
            good(2),
            page(rows::blocks_key(1), &block(0, 1 << 31)),
            1,
        ),
        (
            "65 stored blocks",
            good(2),
            page(rows::blocks_key(1), &[&[0; 64][..], &block(0, 2)].concat()),
            1,
        ),
        ("a user in inode 0", good(2), page(rows::users_key(1, 0, 0), b""), 1),
        (
            "a user with a value",
            good(2),
            page(rows::users_key(1, GOOD, 0), b"x"),
            1,
        ),
        ("65 extents", good(2), page(rows::run_key(9, 0), &[0x84, 2]), 1),
        (
            "extents of stored block 0",
            good(2),
            page(rows::run_key(9, 0), &[5, 1, 5]),
            1,
        ),
    ] {
        let store = open(&with_checkpoint(begin, &page, count), false).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_good(&store, what);
        assert_eq!(store.max_ino(), GOOD, "{what}");
        let _made = store.commit(vec![Change::PutInode(inode(3, Kind::File))]).unwrap();
    }
}
