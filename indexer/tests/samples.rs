//! Stores of every format version that ever was, as files: they stay readable.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use lmfs_indexer::*;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

const STORE_ID: [u8; 16] = *b"lmfs sample no 1";

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/samples/store-1/segments")
}

fn inode(ino: u64, kind: Kind) -> Inode {
    let birth = Time {
        secs: -86_400,
        nanos: 999_999_999,
    };
    let directory = kind == Kind::Directory;
    Inode {
        uid: 1000,
        gid: 100_000,
        rdev: if kind == Kind::CharDevice { 0x103 } else { 0 },
        size: if kind == Kind::File { 1 << 40 } else { 0 },
        atime: Time {
            secs: 1 << 33,
            nanos: 0,
        },
        target: if kind == Kind::Symlink {
            b"/some/where".to_vec()
        } else {
            Vec::new()
        },
        ..Inode::new(ino, kind, if directory { 0o1777 } else { 0o640 }, birth)
    }
}

/// Name, inode number and kind of what is in the root directory.
const ENTRIES: [(&[u8], u64, Kind); 5] = [
    (b"file", 2, Kind::File),
    (b"folder", 3, Kind::Directory),
    (b"link", 4, Kind::Symlink),
    (b"null", 5, Kind::CharDevice),
    (b"\xff\n pipe", 6, Kind::Fifo),
];

/// Bytes of the file's blocks; the third was written twice, the sixth dropped again.
fn blocks() -> BTreeMap<u64, Vec<u8>> {
    let text = |n: u64| format!("block {n} of the sample. ").repeat(20).into_bytes();
    [0, 1, 2, 70, 1 << 28].map(|n| (n, text(n))).into()
}

/// What the file has in the end: some of the blocks twice.
fn shown() -> BTreeMap<u64, Vec<u8>> {
    let mut shown = blocks();
    for (copy, of) in [(100, 1), (101, 2), (102, 0)] {
        shown.insert(copy, shown[&of].clone());
    }
    shown
}

fn put(store: &Store, block: u64, bytes: &[u8]) {
    let new = store.append_block(bytes).unwrap();
    let extents = vec![Some(Extent::new(new, 3, 16384).with_digest(block as u32))];
    let (ino, first) = (2, block);
    let _ = store.commit(vec![Change::PutExtents { ino, first, extents }]).unwrap();
}

/// Writes the sample of the format that this version writes. A new format gets a new folder; an old sample is
/// never written again.
#[test]
#[ignore = "writes the sample"]
fn write_the_sample() {
    let io = MemIo::new();
    let mut options = CreateOptions::new(STORE_ID);
    options.segment_size = 4096;
    let store = Store::create(Arc::new(io.clone()), options).unwrap();
    let mut root = inode(ROOT_INO, Kind::Directory);
    root.nlink = 3;
    let mut tx = vec![Change::PutInode(root)];
    for (name, ino, kind) in ENTRIES {
        let entry = Dirent { ino, kind };
        let (parent, name) = (ROOT_INO, name.to_vec());
        tx.push(Change::PutInode(inode(ino, kind)));
        tx.push(Change::PutDirent { parent, name, entry });
    }
    let _ = store.commit(tx).unwrap();
    put(&store, 2, b"an earlier version");
    put(&store, 71, b"dropped again");
    for (block, bytes) in blocks() {
        put(&store, block, &bytes);
    }
    store.checkpoint().unwrap();
    let (old, bytes) = (store.extent(2, 1).unwrap().unwrap(), &blocks()[&1]);
    let new = store.append_again(old.id, bytes).unwrap();
    let (first, other) = (store.extent(2, 0).unwrap().unwrap(), store.append_block(&blocks()[&0]));
    let _ = store
        .commit(vec![
            Change::SwapBlock {
                id: old.id,
                old: old.location,
                new,
                tag: 3,
                reference: first.id,
                hint: 2,
            },
            // Blocks 1 and 2 again, and a copy of block 0 that is found to be one.
            Change::CopyExtents {
                ino: 2,
                first: 100,
                from: 2,
                from_first: 1,
                count: 2,
            },
            Change::PutExtents {
                ino: 2,
                first: 102,
                extents: vec![Some(Extent::new(other.unwrap(), 3, 16384))],
            },
            Change::MergeBlock {
                id: store.max_id() + 1,
                into: first.id,
                hint: 0,
            },
            Change::PutExtents {
                ino: 2,
                first: 71,
                extents: vec![None],
            },
            Change::PutInode(Inode {
                nlink: 0,
                ..inode(7, Kind::File)
            }),
            Change::PutOrphan(7),
            Change::PutXattr {
                ino: 2,
                name: b"user.comment".to_vec(),
                value: b"a sample".to_vec(),
            },
            Change::PutMeta {
                key: b"key".to_vec(),
                value: b"value".to_vec(),
            },
        ])
        .unwrap();
    for (block, bytes) in [(3u64 << 27, 3000), (0, 1000)] {
        put(&store, block, &vec![b'x'; bytes]);
    }
    put(&store, 0, &blocks()[&0]);
    let (ino, from) = (2, 300_000_000);
    let _ = store.commit(vec![Change::TruncateExtents { ino, from }]).unwrap();
    store.close().unwrap();
    std::fs::create_dir_all(folder()).unwrap();
    for (path, bytes) in io.files() {
        if let Some(name) = path.strip_prefix("segments/") {
            std::fs::write(folder().join(name), bytes).unwrap();
        }
    }
}

#[test]
fn a_store_of_format_1_is_read() {
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        (format!("segments/{name}"), std::fs::read(entry.path()).unwrap())
    });
    let io = MemIo::from_files(files);
    assert!(io.files().len() > 1, "sealed segments and one that grows");
    let (store, report) = Store::open(Arc::new(io), OpenOptions::default()).unwrap();
    assert_eq!((report.cut_bytes, report.warnings), (0, Vec::new()));
    assert_eq!(store.store_id(), STORE_ID);
    let mut root = inode(ROOT_INO, Kind::Directory);
    root.nlink = 3;
    assert_eq!(store.inode(ROOT_INO).unwrap(), Some(root));
    let entries = ENTRIES.map(|(name, ino, kind)| (name.to_vec(), Dirent { ino, kind }));
    assert_eq!(store.dirents(ROOT_INO, None, 100).unwrap(), entries);
    for (_, ino, kind) in ENTRIES {
        assert_eq!(store.inode(ino).unwrap(), Some(inode(ino, kind)));
    }
    assert_eq!(store.orphans().unwrap(), [7]);
    assert_eq!(store.meta(b"key").unwrap().unwrap(), b"value");
    assert_eq!(store.xattr(2, b"user.comment").unwrap().unwrap(), b"a sample");
    let found = store.blocks(None, 100).unwrap();
    let bytes = found.iter().map(|(ino, block, e)| {
        assert_eq!((*ino, e.tag, e.raw_len), (2, 3, 16384));
        (*block, store.read_block_of(*ino, *block, e).unwrap())
    });
    assert_eq!(bytes.collect::<BTreeMap<_, _>>(), shown());
    assert_eq!((store.totals().blocks, store.totals().shared.blocks), (6, 2));
    let [first, second] = [102, 1].map(|block| store.extent(2, block).unwrap().unwrap());
    assert_eq!(store.reference(&second).unwrap(), Some(first));
    let options = CheckOptions { log: true };
    let report = store.check(&options, &mut |_, _| true);
    assert_eq!(report.unwrap().findings, []);
}
