//! Files made, overwritten and deleted, with checkpoints, garbage collection and crashes between, against a map.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use lmfs_indexer::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

type Model = BTreeMap<u64, BTreeMap<u64, Vec<u8>>>;

#[derive(Clone, Debug)]
enum Op {
    Write(u64, u64, Vec<u8>),
    Truncate(u64, u64),
    Delete(u64),
    Checkpoint,
    Collect,
    Reopen,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        12 => (2u64..8, 0u64..200, proptest::collection::vec(any::<u8>(), 1..400)).prop_map(|(i, b, v)| Op::Write(i, b, v)),
        2 => (2u64..8, 0u64..200).prop_map(|(i, b)| Op::Truncate(i, b)),
        2 => (2u64..8).prop_map(Op::Delete),
        1 => Just(Op::Checkpoint),
        2 => Just(Op::Collect),
        1 => Just(Op::Reopen),
    ];
    proptest::collection::vec(op, 1..120)
}

fn inode(ino: u64, size: u64) -> Inode {
    let t = Time { secs: -5, nanos: 7 };
    Inode {
        ino,
        kind: Kind::File,
        perm: 0o644,
        uid: 1,
        gid: 2,
        rdev: 0,
        nlink: 1,
        size,
        atime: t,
        mtime: t,
        ctime: t,
        crtime: t,
        parent: 0,
        target: Vec::new(),
    }
}

fn name(ino: u64) -> Vec<u8> {
    format!("file {ino}").into_bytes()
}

fn options() -> OpenOptions {
    OpenOptions {
        segment_size: 4096,
        ..OpenOptions::default()
    }
}

fn compare(store: &Store, model: &Model) {
    let names: Vec<_> = store
        .dirents(ROOT_INO, None, 100)
        .unwrap()
        .into_iter()
        .map(|(_, d)| d.ino)
        .collect();
    assert_eq!(names, model.keys().copied().collect::<Vec<_>>());
    for (ino, blocks) in model {
        let extents = store.extents(*ino, 0..200).unwrap();
        for (block, e) in (0..).zip(extents) {
            let bytes = e.map(|e| store.read_block_of(*ino, block, e.r).unwrap());
            assert_eq!(bytes.as_ref(), blocks.get(&block), "inode {ino} block {block}");
        }
        let stored: usize = blocks.values().map(Vec::len).sum();
        assert_eq!(store.stored_bytes(*ino).unwrap(), stored as u64);
    }
    let report = store
        .check(&CheckOptions { log: true }, &AtomicBool::new(false), &mut |_, _| ())
        .unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_history_reads_as_its_model(ops in ops()) {
        let io = Arc::new(MemIo::new());
        let mut create = CreateOptions::new([1; 16]);
        create.segment_size = 4096;
        let mut store = Store::create(io.clone(), create).unwrap();
        let mut model = Model::new();
        for op in ops {
            match op {
                Op::Write(ino, block, bytes) => {
                    let r = store.append_block(ino, block, &bytes).unwrap();
                    let extent = Extent { r, tag: 1, raw_len: bytes.len() as u32 };
                    let mut tx = vec![Change::PutExtents { ino, first: block, extents: vec![Some(extent)] }];
                    if !model.contains_key(&ino) {
                        tx.push(Change::PutInode(inode(ino, 200)));
                        tx.push(Change::PutDirent { parent: ROOT_INO, name: name(ino), entry: Dirent { ino, kind: Kind::File } });
                    }
                    let _ = store.commit(tx).unwrap();
                    model.entry(ino).or_default().insert(block, bytes);
                }
                Op::Truncate(ino, from) => if let Some(blocks) = model.get_mut(&ino) {
                    let _ = store.commit(vec![Change::TruncateExtents { ino, from }]).unwrap();
                    blocks.retain(|b, _| *b < from);
                },
                Op::Delete(ino) => if model.remove(&ino).is_some() {
                    let _ = store.commit(vec![
                        Change::DelDirent { parent: ROOT_INO, name: name(ino) }, Change::DelInode(ino),
                    ]).unwrap();
                },
                Op::Checkpoint => store.checkpoint().unwrap(),
                Op::Collect => {
                    let gc = GcOptions { max_live: 0.9, seal_head: true };
                    store.gc(&gc, &AtomicBool::new(false), &mut |_| ()).unwrap();
                }
                Op::Reopen => {
                    drop(store);
                    (store, _) = Store::open(io.clone(), options()).unwrap();
                    let totals = store.totals();
                    prop_assert_eq!(totals.inodes, model.len() as u64 + 1);
                }
            }
        }
        compare(&store, &model);
        drop(store);
        let (store, report) = Store::open(io, OpenOptions { read_only: true, ..options() }).unwrap();
        prop_assert!(report.warnings.is_empty(), "{:?}", report.warnings);
        compare(&store, &model);
    }
}

#[test]
fn a_flipped_byte_of_the_log_is_noticed_or_harmless() {
    let io = Arc::new(MemIo::new());
    let mut create = CreateOptions::new([1; 16]);
    create.segment_size = 4096;
    let store = Store::create(io.clone(), create).unwrap();
    let mut model = Model::new();
    for ino in 2..8 {
        let bytes = vec![ino as u8; 300];
        let r = store.append_block(ino, 0, &bytes).unwrap();
        let _ = store
            .commit(vec![
                Change::PutInode(inode(ino, 300)),
                Change::PutDirent {
                    parent: ROOT_INO,
                    name: name(ino),
                    entry: Dirent { ino, kind: Kind::File },
                },
                Change::PutExtents {
                    ino,
                    first: 0,
                    extents: vec![Some(Extent {
                        r,
                        tag: 0,
                        raw_len: 300,
                    })],
                },
            ])
            .unwrap();
        store.sync().unwrap();
        model.entry(ino).or_default().insert(0, bytes);
    }
    drop(store);
    let whole = io.files();
    let (mut refused, mut contained, mut flips) = (0, 0, 0);
    for (path, bytes) in &whole {
        for at in 0..bytes.len() {
            flips += 1;
            let mut files = whole.clone();
            files.get_mut(path).unwrap()[at] ^= 0x10;
            let io = Arc::new(MemIo::from_files(files));
            let Ok((store, _)) = Store::open(io, options()) else {
                refused += 1;
                continue;
            };
            // Every file that is there has its bytes, or an error that names it; a crash may have taken the last ones.
            let mut intact = 0;
            for (i, (ino, blocks)) in model.iter().enumerate() {
                let Some(e) = store.extent(*ino, 0).unwrap() else {
                    assert!(
                        i + 1 >= model.len(),
                        "inode {ino} is gone after a flip at {at} of {path}"
                    );
                    continue;
                };
                match store.read_block_of(*ino, 0, e.r) {
                    Ok(bytes) => {
                        assert_eq!(&bytes, &blocks[&0]);
                        intact += 1;
                    }
                    Err(Error::Damaged { ino: Some(i), .. }) => assert_eq!(i, *ino),
                    Err(e) => panic!("{e}"),
                }
            }
            assert!(intact + 1 >= model.len());
            contained += 1;
        }
    }
    println!("{flips} flips: {refused} refused, {contained} contained");
}
