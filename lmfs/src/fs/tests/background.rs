//! What is stored and made durable without being asked for.

use std::time::{Duration, Instant};

use super::*;
use crate::testing::gate::GatedIo;
use crate::testing::until;

const B: u64 = BLOCK as u64;

/// Regression: one thread did both: as long as a flush waited for decodes, nothing that was committed became durable.
#[test]
fn the_log_is_made_durable_while_a_flush_takes_long() {
    let disk = Disk::new();
    let ino = disk.file("file");
    let node = disk.fs.inodes.get(ino).unwrap();
    // A flush that goes on for as long as this test wants.
    let long = wait(node.flushing.lock());
    disk.fs.write(ino, 0, b"bytes", false).unwrap();
    node.lock().dirty_since = Instant::now().checked_sub(Duration::from_secs(60));
    let held = Arc::strong_count(&node);
    until("the background flushes the file", || Arc::strong_count(&node) > held);
    disk.file("another");
    assert!(disk.fs.journal.is_unsynced());
    until("the log is made durable", || !disk.fs.journal.is_unsynced());
    drop(long);
}

/// Eight blocks stored, and the filesystem opened anew: none is in memory.
fn cold(commit_age: Duration) -> (Disk, u64) {
    let disk = Disk::with(Options {
        commit_age,
        ..options()
    });
    let ino = disk.file("file");
    for block in 0..8 {
        disk.fs
            .write(ino, block * B, &[b'a' + block as u8; BLOCK as usize], false)
            .unwrap();
    }
    (disk.reopen(), ino)
}

/// Regression: they were decoded one after another.
#[test]
fn a_flush_has_the_rest_of_several_blocks_decoded_at_a_time() {
    let (disk, ino) = cold(Duration::from_secs(1));
    disk.fs.shutdown().unwrap();
    let gated = GatedIo::new(disk.io.clone());
    let gate = gated.gate.clone();
    let (store, _report) = Store::open(Arc::new(gated), OpenOptions::default()).unwrap();
    let fs = Filesystem::new(Arc::new(store), codec(), options()).unwrap();
    let disk = Disk { fs, ..disk };
    for block in 0..8 {
        disk.fs.write(ino, block * B + 5, b"part", false).unwrap();
    }
    gate.close();
    std::thread::scope(|scope| {
        scope.spawn(|| disk.fs.fsync(ino).unwrap());
        until("two blocks are being decoded", || gate.waiting() == 2);
        gate.open();
    });
    for block in 0..8 {
        let mut expected = [b'a' + block as u8; BLOCK as usize];
        expected[5..9].copy_from_slice(b"part");
        assert_eq!(disk.fs.read_wait(ino, block * B, BLOCK).unwrap(), expected);
    }
}

/// Regression: all of them waited for the last one to be decoded.
#[test]
fn a_flush_that_takes_long_commits_what_it_has() {
    for (commit_age, commits) in [(Duration::ZERO, 4), (Duration::from_secs(3600), 1)] {
        let disk = Disk::with(Options {
            commit_age,
            ..options()
        });
        let ino = disk.file("file");
        disk.fs.write(ino, 0, &[7; 4 * BLOCK as usize - 100], false).unwrap();
        let before = disk.fs.store().seq();
        disk.fs.fsync(ino).unwrap();
        assert_eq!(disk.fs.store().seq() - before, commits);
        let disk = disk.crash();
        assert_eq!(disk.all(ino), [7; 4 * BLOCK as usize - 100]);
    }
}

/// Regression: a file with many blocks to decode kept the others, whose writers were promised five seconds, waiting for
/// all of them.
#[test]
fn a_file_with_much_to_decode_does_not_hold_up_another() {
    let (disk, slow) = cold(Duration::ZERO);
    let quick = disk.file("quick");
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    disk.fs.on_stored(move |ino| tell.lock().push(ino));
    for block in 0..8 {
        disk.fs.write(slow, block * B + 5, b"part", false).unwrap();
    }
    disk.fs.write(quick, 0, b"bytes", false).unwrap();
    store_older(&disk.fs);
    assert!(!disk.fs.is_dirty(slow) && !disk.fs.is_dirty(quick));
    let at = told.lock().iter().position(|ino| *ino == quick).unwrap();
    assert!(at > 0 && at + 1 < told.lock().len(), "{:?}", told.lock());
}

/// Regression: only bytes were counted: a hundred thousand decodes could wait in memory for 64 MiB, and an unmount for
/// hours.
#[test]
fn a_block_counts_whole_however_little_of_it_was_written() {
    let disk = Disk::with(Options {
        dirty_bytes: 8 * B,
        ..options()
    });
    let ino = disk.file("file");
    disk.fs
        .setattr(
            ino,
            SetAttr {
                size: Some(20 * B),
                ..SetAttr::default()
            },
            false,
        )
        .unwrap();
    for block in 0..8 {
        // Half of it: the other half is for blocks that are written whole.
        let (full, now) = (block >= 4, disk.fs.write_now(ino, block * B, b"x", false).unwrap());
        assert_eq!(now, (!full).then_some(1));
        if full {
            disk.fs.write(ino, block * B, &[b'x'; BLOCK as usize], false).unwrap();
        }
    }
    assert_eq!(
        disk.fs.write_now(ino, 9 * B, &[b'x'; BLOCK as usize], false).unwrap(),
        None
    );
    assert_eq!(disk.fs.stats().dirty_bytes, 4 + 4 * B);
    disk.fs.write(ino, 8 * B, b"x", false).unwrap();
    assert_eq!(disk.fs.stats().dirty_bytes, 1, "all others were stored to make room");
}
