//! Whatever flips below a store: the check names exactly the blocks that cannot be read, by path and offset.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lmfs_codec::{Codec, Options, Stop};
use lmfs_indexer::io::{Directory, Fault, FaultIo};
use lmfs_indexer::{
    Change, CreateOptions, Dirent, Error as StoreError, Extent, Inode, Io, Kind, MemIo, OpenOptions, ROOT_INO, Store,
    Time,
};
use rayon::prelude::*;

use super::names::Names;
use super::{Error, Job, Pace, Report, check_contents, structure};
use crate::testing::soak::step;

type Files = BTreeMap<String, Vec<u8>>;

const BLOCK: usize = 4096;
const ID: [u8; 16] = [3; 16];

fn codec() -> Codec {
    Codec::new(None, Options::default()).unwrap()
}

fn options() -> OpenOptions {
    OpenOptions {
        store_id: Some(ID),
        segment_size: 64 << 10,
        ..OpenOptions::default()
    }
}

/// What the files hold: text and noise, of lengths that end within a block.
fn contents() -> BTreeMap<u64, Vec<u8>> {
    let mut state = 1u64;
    let mut noise = |len: usize| -> Vec<u8> {
        let next = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        });
        next.take(len).collect()
    };
    let text = |len: usize| {
        (0..)
            .flat_map(|n: u32| format!("line {n} of a file, {}\n", n * n % 977).into_bytes())
            .take(len)
    };
    let mut files = BTreeMap::new();
    for ino in 2..12u64 {
        let len = 1000 + ino as usize * 5777;
        files.insert(ino, if ino % 2 == 0 { text(len).collect() } else { noise(len) });
    }
    files
}

fn made() -> Files {
    let io = MemIo::new();
    let mut create = CreateOptions::new(ID);
    create.segment_size = 64 << 10;
    Store::create(Arc::new(io.clone()), create).unwrap().close().unwrap();
    let (store, _) = Store::open(Arc::new(io.clone()), options()).unwrap();
    let (codec, time) = (codec(), Time::default());
    for (ino, bytes) in contents() {
        let mut changes = vec![
            Change::PutInode(Inode {
                size: bytes.len() as u64,
                ..Inode::new(ino, Kind::File, 0o644, time)
            }),
            Change::PutDirent {
                parent: ROOT_INO,
                name: format!("file-{ino}").into_bytes(),
                entry: Dirent { ino, kind: Kind::File },
            },
        ];
        let extents = bytes.chunks(BLOCK).map(|raw| {
            let new = store.append_block(&codec.stage(raw).unwrap()).unwrap();
            Some(Extent::new(new, 0, raw.len() as u32))
        });
        let extents = extents.collect();
        changes.push(Change::PutExtents { ino, first: 0, extents });
        let _report = store.commit(changes).unwrap();
    }
    store.close().unwrap();
    io.files()
}

fn inspect(store: &Arc<Store>) -> Report {
    look_through(store, true)
}

fn look_through(store: &Arc<Store>, data: bool) -> Report {
    let (codec, dir) = (codec(), tempfile::tempdir().unwrap());
    check_contents(&Job {
        store,
        codec: &codec,
        folder: &Directory::open(dir.path()).unwrap(),
        computing: None,
        block_size: BLOCK as u32,
        data,
        resume: false,
        pace: &Pace::new(None),
        stop: &Stop::new(),
        progress: &|_| (),
    })
    .unwrap()
}

/// Regression: a check read and decoded each intact block twice.
#[test]
fn an_intact_block_is_read_once() {
    let io = Arc::new(FaultIo::new(Arc::new(MemIo::from_files(made()))));
    let (store, _) = Store::open(io.clone(), options()).unwrap();
    // The first check opens the segments.
    let store = Arc::new(store);
    let blocks = inspect(&store).blocks;
    let calls = |data| {
        io.fail(Fault::Error, u64::MAX, 0);
        assert_eq!(look_through(&store, data).damage.len(), 0);
        io.mend().0
    };
    assert_eq!(calls(true) - calls(false), blocks);
}

/// Ctrl-C was not heard while the rows were looked at: a check of many files went on for minutes.
#[test]
fn a_stop_while_the_tree_is_looked_at_ends_the_check() {
    let (store, _) = Store::open(Arc::new(MemIo::from_files(made())), options()).unwrap();
    let store = Arc::new(store);
    let (codec, dir, stop) = (codec(), tempfile::tempdir().unwrap(), Stop::new());
    let job = Job {
        store: &store,
        codec: &codec,
        folder: &Directory::open(dir.path()).unwrap(),
        computing: None,
        block_size: BLOCK as u32,
        data: false,
        resume: false,
        pace: &Pace::new(None),
        stop: &stop,
        progress: &|step| {
            assert_eq!(step.stage, "checking the tree");
            stop.set();
        },
    };
    let mut report = Report::default();
    let names = Names::read(&store, &mut report).unwrap();
    let ended = structure::check(&job, &names, &mut report);
    assert!(matches!(ended, Err(Error::Interrupted)), "{ended:?}");
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Fate {
    Harmless,
    Contained,
    Refused,
}

/// Opens what is left: everything that is not named as damaged must be what was written.
fn fate(files: Files, what: &str) -> Fate {
    let store = match Store::open(Arc::new(MemIo::from_files(files)), options()) {
        Ok((store, _)) => Arc::new(store),
        Err(StoreError::LogDamaged { .. } | StoreError::NotAStore(_) | StoreError::NewerFormat { .. }) => {
            return Fate::Refused;
        }
        Err(other) => panic!("{what}: refused unclearly: {other}"),
    };
    let report = inspect(&store);
    let mut wrong = Vec::new();
    let codec = codec();
    for (ino, bytes) in contents() {
        let entry = store.dirent(ROOT_INO, format!("file-{ino}").as_bytes()).unwrap();
        assert_eq!(entry.map(|e| e.ino), Some(ino), "{what}: a name is lost");
        for (block, raw) in (0u64..).zip(bytes.chunks(BLOCK)) {
            let extent = store.extent(ino, block).unwrap();
            let extent = extent.unwrap_or_else(|| panic!("{what}: block {block} of {ino} became a hole"));
            match store.read_block_of(ino, block, &extent) {
                Ok(stored) => match codec.decode(&stored, &Stop::new()) {
                    Ok(found) => assert!(found == raw, "{what}: wrong bytes in block {block} of {ino}"),
                    Err(_) => wrong.push((ino, block)),
                },
                Err(_) => wrong.push((ino, block)),
            }
        }
    }
    let named = report.damage.iter().map(|d| {
        assert_eq!(d.path, format!("/file-{}", d.ino), "{what}");
        (d.ino, d.offset.unwrap() / BLOCK as u64)
    });
    assert_eq!(
        named.collect::<Vec<_>>(),
        wrong,
        "{what}: the check names what cannot be read"
    );
    if wrong.is_empty() {
        Fate::Harmless
    } else {
        Fate::Contained
    }
}

#[test]
fn every_flipped_byte_is_refused_or_named_where_it_is() {
    let good = made();
    let size: usize = good.values().map(Vec::len).sum();
    let mut cases = Vec::new();
    for (name, bytes) in &good {
        cases.extend((0..bytes.len()).step_by(step(97, 1)).map(|at| (name, at)));
    }
    let counts = [const { AtomicU64::new(0) }; 3];
    cases.par_iter().for_each(|(name, at)| {
        let mut bad = good.clone();
        bad.get_mut(*name).unwrap()[*at] ^= 1 << (at % 8);
        let fate = fate(bad, &format!("byte {at} of {name}"));
        counts[fate as usize].fetch_add(1, Ordering::Relaxed);
    });
    let [harmless, contained, refused] = counts.map(AtomicU64::into_inner);
    println!(
        "{} flips in a store of {size} bytes: {contained} contained to their block, {refused} refused, {harmless} harmless",
        cases.len()
    );
    assert!(size > 200_000 && cases.len() > 2000);
    assert!(contained > harmless + refused, "most bytes are contents");
}

/// Only blocks were decoded of a store that is mounted: a transaction that rotted was found when it was next opened.
#[test]
fn damaged_metadata_of_a_store_in_use_is_found() {
    let io = MemIo::from_files(made());
    let (store, _) = Store::open(Arc::new(io.clone()), options()).unwrap();
    let store = Arc::new(store);
    let before = inspect(&store);
    assert!(before.clean && before.warnings.is_empty(), "{before:?}");

    let files = io.files();
    let (name, bytes) = files.iter().find(|(name, _)| name.ends_with(".seg")).unwrap();
    let at = bytes.windows(6).position(|w| w == b"file-2").unwrap();
    let file = io.open(name, true).unwrap();
    file.write_at(b"F", at as u64).unwrap();
    let after = inspect(&store);
    assert!(
        !after.clean && after.damage.is_empty(),
        "no block is concerned: {after:?}"
    );
    assert!(after.warnings.iter().any(|w| w.starts_with(name.as_str())), "{after:?}");
}
