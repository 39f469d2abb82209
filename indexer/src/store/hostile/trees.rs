//! Trees that contradict themselves, and blocks that lie where others do.

use super::*;

#[test]
fn trees_that_contradict_themselves_are_opened_and_found() {
    let directory = |ino, parent| {
        Change::PutInode(Inode {
            parent,
            ..inode(ino, Kind::Directory)
        })
    };
    let most = i64::MAX as u64;
    let cases: Vec<(&str, Vec<Change>)> = vec![
        (
            "directories in a circle",
            vec![
                directory(3, 4),
                directory(4, 3),
                name(4, b"three", 3, Kind::Directory),
                name(3, b"four", 4, Kind::Directory),
            ],
        ),
        (
            "a directory in itself",
            vec![directory(3, 3), name(3, b"me", 3, Kind::Directory)],
        ),
        (
            "a hard link to a directory",
            vec![
                directory(3, ROOT_INO),
                name(ROOT_INO, b"a", 3, Kind::Directory),
                name(ROOT_INO, b"b", 3, Kind::Directory),
            ],
        ),
        (
            "the root below itself",
            vec![name(ROOT_INO, b"root", ROOT_INO, Kind::Directory)],
        ),
        ("a name of nothing", vec![name(ROOT_INO, b"nothing", 99, Kind::File)]),
        (
            "a name of another kind",
            vec![name(ROOT_INO, b"good", GOOD, Kind::Socket)],
        ),
        ("a name in a file", vec![name(GOOD, b"inside", GOOD, Kind::File)]),
        ("a name in nothing", vec![name(98, b"inside", GOOD, Kind::File)]),
        ("no root", vec![Change::DelInode(ROOT_INO)]),
        (
            "a wrong count of links",
            vec![Change::PutInode(Inode {
                nlink: u32::MAX,
                ..inode(GOOD, Kind::File)
            })],
        ),
        ("an inode without a name", vec![Change::PutInode(inode(5, Kind::File))]),
        ("the greatest number", vec![Change::PutInode(inode(most, Kind::File))]),
        ("an orphan with a name", vec![Change::PutOrphan(GOOD)]),
        ("an orphan that is not there", vec![Change::PutOrphan(97)]),
        ("blocks of a directory", vec![extent(ROOT_INO, 0, 1, 52, 5, 5)]),
        ("a block in no segment", vec![extent(GOOD, 1, 77, 52, 5, 5)]),
        (
            "a block beyond the end",
            vec![extent(GOOD, 1, 1, u32::MAX, u32::MAX, u32::MAX)],
        ),
        (
            "a block as long as may be",
            vec![extent(GOOD, most - 1, 1, 52, u32::MAX, u32::MAX)],
        ),
        ("a block that is a transaction", vec![extent(GOOD, 1, 1, 60, 5, 5)]),
        (
            "another file's block",
            vec![Change::PutInode(inode(6, Kind::File)), extent(6, 0, 1, 52, 5, 5)],
        ),
    ];
    for (what, changes) in cases {
        let mut bytes = Vec::new();
        encode_changes(&mut bytes, &changes);
        let io = with_transaction(&bytes);
        let io = Arc::new(io);
        let (store, _) = Store::open(io.clone(), OpenOptions::default()).unwrap_or_else(|e| panic!("{what}: {e}"));
        let report = store.check(&CheckOptions { log: true }, &mut |_, _| true).unwrap();
        let mut found = report.findings.first().map(|f| f.what.clone());
        if store.extent(GOOD, 0).unwrap().is_some() {
            assert_good(&store, what);
        }
        for (ino, block, e) in store.blocks(None, 100).unwrap() {
            match store.read_block_of(ino, block, &e) {
                Ok(bytes) => assert_eq!((ino, &bytes[..]), (GOOD, &b"bytes"[..]), "{what}"),
                Err(Error::Damaged { ino: Some(i), why, .. }) => {
                    assert_eq!(i, ino, "{what}");
                    found = found.or(Some(why));
                }
                Err(e) => panic!("{what}: {e}"),
            }
        }
        println!("{what}: {}", found.unwrap_or_else(|| panic!("{what}: not found")));
        // Work goes on, and the store can be put away and opened again.
        let ino = store.max_ino() + 1;
        match store.commit(vec![Change::PutInode(inode(ino, Kind::File))]) {
            Ok(_) => {}
            Err(Error::InvalidChange(_)) => assert!(ino > most, "{what}"),
            Err(e) => panic!("{what}: {e}"),
        }
        let gc = GcOptions {
            max_live: 1.0,
            seal_head: true,
        };
        let collected = store.gc(&gc, &mut |_| true);
        assert!(collected.is_ok(), "{what}: {collected:?}");
        store.checkpoint().unwrap();
        let totals = store.totals();
        store.close().unwrap();
        let (store, _) = Store::open(io, OpenOptions::default()).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(store.totals().inodes, totals.inodes, "{what}");
    }
}

#[test]
fn blocks_that_overlap_are_named_with_whose_place_they_take() {
    let (_, made) = store();
    let BlockRef { segment, offset, .. } = made.extent(GOOD, 0).unwrap().unwrap().location;
    let mut bytes = Vec::new();
    let changes = [
        Change::PutInode(inode(6, Kind::File)),
        extent(6, 7, segment, offset, 5, 5),
        extent(GOOD, 1, segment, offset + 4, 5, 5),
        // One that lies beside them.
        extent(6, 8, segment, 0, 5, 5),
    ];
    encode_changes(&mut bytes, &changes);
    let store = open(&with_transaction(&bytes), false).unwrap();
    let report = store.check(&CheckOptions::default(), &mut |_, _| true).unwrap();
    let overlaps = report.findings.iter().filter(|f| f.what.contains("overlaps"));
    let found: Vec<_> = overlaps
        .map(|f| (f.ino.unwrap(), f.block.unwrap(), &f.what[..]))
        .collect();
    let expected = [
        (6, 7, "the block overlaps block 0 of inode 2 in the log"),
        (GOOD, 1, "the block overlaps block 7 of inode 6 in the log"),
    ];
    assert_eq!(found, expected);
}
