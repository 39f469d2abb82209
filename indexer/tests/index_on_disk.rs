//! The index on disk: believed after a clean close, and only if every row is there.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use lmfs_indexer::{
    Change, CreateOptions, Dirent, Inode, Kind, OpenOptions, OpenReport, ROOT_INO, RealIo, Store, Time,
};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const FILES: u64 = 3_000;

/// Rows of a kilobyte that make an index too large for memory.
const ROWS: u32 = 10_000;

fn file(ino: u64) -> Inode {
    Inode {
        size: ino,
        ..Inode::new(ino, Kind::File, 0o644, Time { secs: 1, nanos: 2 })
    }
}

fn add(store: &Store, ino: u64) {
    let _ = store
        .commit(vec![
            Change::PutInode(file(ino)),
            Change::PutDirent {
                parent: ROOT_INO,
                name: format!("file {ino}").into_bytes(),
                entry: Dirent { ino, kind: Kind::File },
            },
        ])
        .unwrap();
}

fn create(dir: &Path) -> Store {
    let io = Arc::new(RealIo::new(dir).unwrap());
    let store = Store::create(io, CreateOptions::new([3; 16])).unwrap();
    for ino in 2..2 + FILES {
        add(&store, ino);
    }
    store
}

/// A store whose index is in sled.
fn create_large(dir: &Path) -> Store {
    let store = create(dir);
    for from in (0..ROWS).step_by(100) {
        let put = |n: u32| Change::PutMeta {
            key: n.to_be_bytes().to_vec(),
            value: large_row(n),
        };
        let _put = store.commit((from..from + 100).map(put).collect()).unwrap();
    }
    store
}

fn large_row(n: u32) -> Vec<u8> {
    vec![n as u8; 1000]
}

fn is_in_sled(dir: &Path) -> bool {
    let there = |name| dir.join("index").join(name).exists();
    assert!(there("db") != there("rows"), "one of both, and not the other");
    there("db")
}

fn open(dir: &Path) -> lmfs_indexer::Result<(Store, OpenReport)> {
    Store::open(Arc::new(RealIo::new(dir).unwrap()), OpenOptions::default())
}

fn assert_whole(store: &Store) {
    for ino in 2..2 + FILES {
        assert_eq!(store.inode(ino).unwrap(), Some(file(ino)));
        let name = format!("file {ino}");
        let entry = store.dirent(ROOT_INO, name.as_bytes()).unwrap();
        assert_eq!(entry.map(|e| e.ino), Some(ino));
    }
    assert_eq!(store.totals().inodes, FILES + 1);
}

fn on_disk(files: &[PathBuf]) -> u64 {
    files.iter().map(|f| fs::metadata(f).unwrap().blocks() * 512).sum()
}

#[test]
fn the_index_of_a_small_store_takes_little_more_than_its_rows() {
    let dir = tempfile::tempdir().unwrap();
    let io = Arc::new(RealIo::new(dir.path()).unwrap());
    let store = Store::create(io, CreateOptions::new([3; 16])).unwrap();
    add(&store, 2);
    store.close().unwrap();
    let all: Vec<_> = files(&dir.path().join("index")).collect();
    let bytes = on_disk(&all);
    println!("index: {bytes} bytes for one file");
    assert!(
        bytes <= 8 << 10,
        "more than a block for the rows and one for the mark: {bytes} bytes"
    );
    let (store, report) = open(dir.path()).unwrap();
    assert_eq!((report.rebuilt, store.inode(2).unwrap()), (None, Some(file(2))));
}

#[test]
fn a_store_that_grows_and_shrinks_has_its_index_in_sled_only_while_it_is_large() {
    let dir = tempfile::tempdir().unwrap();
    create(dir.path()).close().unwrap();
    assert!(!is_in_sled(dir.path()));
    fs::remove_dir_all(dir.path()).unwrap();
    fs::create_dir(dir.path()).unwrap();
    create_large(dir.path()).close().unwrap();
    assert!(is_in_sled(dir.path()));
    for small in [false, true] {
        let (store, report) = open(dir.path()).unwrap();
        assert_eq!(report.rebuilt, None);
        assert_whole(&store);
        for n in 0..ROWS {
            let key = n.to_be_bytes();
            let expected = (!small || n % 100 == 0).then(|| large_row(n));
            assert_eq!(store.meta(&key).unwrap(), expected);
            if !small && n % 100 > 0 {
                let value = Vec::new();
                let _del = store
                    .commit(vec![Change::PutMeta {
                        key: key.to_vec(),
                        value,
                    }])
                    .unwrap();
            }
        }
        store.close().unwrap();
        assert!(!is_in_sled(dir.path()), "after 99 % were deleted");
    }
}

/// What is saved in a file needs no folder that can be written, unlike sled's.
#[test]
fn a_store_that_is_opened_for_reading_uses_an_index_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    for (large, why) in [
        (false, None),
        (true, Some("sled writes to its files even to read them")),
    ] {
        fs::remove_dir_all(dir.path()).unwrap();
        fs::create_dir(dir.path()).unwrap();
        let store = if large {
            create_large(dir.path())
        } else {
            create(dir.path())
        };
        store.close().unwrap();
        let options = OpenOptions {
            read_only: true,
            ..OpenOptions::default()
        };
        let io = Arc::new(RealIo::new(dir.path()).unwrap());
        let (store, report) = Store::open(io, options).unwrap();
        assert_eq!(report.rebuilt.as_deref(), why);
        assert_whole(&store);
        drop(store);
        assert_eq!(is_in_sled(dir.path()), large);
        assert_eq!(open(dir.path()).unwrap().1.rebuilt, None);
    }
}

/// Looks at the folder of a closed store whose index is one file, and of one whose index is in sled.
fn in_a_file_and_in_sled(look: fn(&Path)) {
    for (large, create) in [(false, create as fn(&Path) -> Store), (true, create_large)] {
        let dir = tempfile::tempdir().unwrap();
        create(dir.path()).close().unwrap();
        assert_eq!(is_in_sled(dir.path()), large);
        look(dir.path());
    }
}

#[test]
fn a_clean_close_spares_reading_the_log_and_a_crash_does_not() {
    in_a_file_and_in_sled(spares_reading_the_log);
}

fn spares_reading_the_log(dir: &Path) {
    let (store, report) = open(dir).unwrap();
    assert_eq!(report.rebuilt, None);
    assert_whole(&store);
    let bytes = store.totals().index_bytes;
    // Not what sled puts into files of their own, in a folder below.
    let all: Vec<_> = files(&dir.join("index"))
        .filter(|file| file.parent() == Some(&dir.join("index")))
        .collect();
    println!("index: {bytes} bytes for {FILES} files");
    assert_eq!(bytes, on_disk(&all));
    add(&store, 2 + FILES);
    store.sync().unwrap();
    drop(store);

    let (store, report) = open(dir).unwrap();
    assert!(report.rebuilt.is_some(), "it was never closed");
    assert_eq!(store.max_ino(), 2 + FILES);
    store.close().unwrap();
    let (store, report) = open(dir).unwrap();
    assert_eq!(report.rebuilt, None);
    assert_eq!(store.max_ino(), 2 + FILES);
}

/// sled's threads had the file locked for a while after it was closed, so the index was made anew.
#[test]
fn an_index_that_was_put_away_can_be_opened_at_once() {
    let dir = tempfile::tempdir().unwrap();
    create_large(dir.path()).close().unwrap();
    assert!(is_in_sled(dir.path()));
    for round in 0..60 {
        let (store, report) = open(dir.path()).unwrap();
        assert_eq!(report.rebuilt, None, "round {round}");
        add(&store, 2 + FILES + round);
        store.close().unwrap();
    }
}

#[test]
fn the_index_folder_can_be_deleted() {
    let dir = tempfile::tempdir().unwrap();
    create(dir.path()).close().unwrap();
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    let (store, report) = open(dir.path()).unwrap();
    assert!(report.rebuilt.is_some());
    assert_whole(&store);
}

#[test]
fn flipped_bits_and_cut_files_of_the_index_never_cost_a_row() {
    in_a_file_and_in_sled(damage_costs_no_row);
}

fn damage_costs_no_row(dir: &Path) {
    let index = dir.join("index");
    let (mut tried, mut believed) = (0, 0);
    let saved: Vec<_> = files(&index).map(|f| (f.clone(), fs::read(f).unwrap())).collect();
    for (path, bytes) in &saved {
        for n in 0..6 {
            fs::remove_dir_all(&index).unwrap();
            fs::create_dir(&index).unwrap();
            for (path, bytes) in &saved {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, bytes).unwrap();
            }
            let mut bad = bytes.clone();
            let at = bad.len() * n / 6;
            if n % 2 == 0 {
                bad.truncate(at);
            } else {
                *bad.get_mut(at).unwrap() ^= 0x10;
            }
            fs::write(path, bad).unwrap();
            let (store, report) = open(dir).unwrap();
            believed += u32::from(report.rebuilt.is_none());
            tried += 1;
            assert_whole(&store);
        }
    }
    println!("{tried} damaged indexes opened, {believed} of them still whole");
}

fn files(dir: &Path) -> impl Iterator<Item = std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found.into_iter()
}

#[test]
fn a_log_cut_after_a_clean_close_is_damage_and_not_a_torn_tail() {
    let dir = tempfile::tempdir().unwrap();
    create(dir.path()).close().unwrap();
    let segment = files(&dir.path().join("segments")).next().unwrap();
    let bytes = fs::read(&segment).unwrap();
    fs::write(&segment, bytes.get(..bytes.len() - 100).unwrap()).unwrap();
    let Err(error) = open(dir.path()) else {
        panic!("a store without its last transactions was opened for writing");
    };
    assert!(error.to_string().contains("100 bytes"), "{error}");
    fs::write(&segment, &bytes).unwrap();
    assert_whole(&open(dir.path()).unwrap().0);
}

#[test]
fn a_flipped_bit_in_the_last_segment_is_not_cut_off_after_a_clean_close() {
    let dir = tempfile::tempdir().unwrap();
    create(dir.path()).close().unwrap();
    let segment = files(&dir.path().join("segments")).next().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.len() - 3_000;
    *bytes.get_mut(at).unwrap() ^= 1;
    fs::write(&segment, &bytes).unwrap();
    let (store, report) = open(dir.path()).unwrap();
    assert_eq!((report.cut_bytes, report.rebuilt), (0, None));
    assert_whole(&store);
    assert_eq!(fs::read(&segment).unwrap().len(), bytes.len());
}
