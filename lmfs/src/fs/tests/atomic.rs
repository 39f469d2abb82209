//! What fails, fails whole: the kernel keeps its pages and its idea of a file's size when it hears of a failure.

use lmfs_indexer::io::{Fault, FaultIo};

use super::*;

const B: u64 = BLOCK as u64;

/// A filesystem on a disk that can be told to fail.
fn faulty() -> (Disk, Arc<FaultIo>) {
    let io = Arc::new(MemIo::new());
    let faults = Arc::new(FaultIo::new(io.clone()));
    let store = Store::create(faults.clone(), CreateOptions::new([1; 16])).unwrap();
    let fs = Filesystem::new(Arc::new(store), codec(), options()).unwrap();
    (Disk { io, fs }, faults)
}

fn pattern(blocks: u64) -> Vec<u8> {
    (0..blocks * B).map(|at| (at % 251) as u8).collect()
}

/// Regression: a part was zeroed, or the size was not set; the caller heard of a failure and the kernel went on to show
/// the old bytes until it dropped its pages.
#[test]
fn a_failing_fallocate_changes_nothing() {
    let acts = [
        Allocate::PunchHole,
        Allocate::ZeroRange { keep_size: true },
        Allocate::ZeroRange { keep_size: false },
        Allocate::Reserve { keep_size: false },
    ];
    for (act, set_user_id) in acts.into_iter().flat_map(|act| [(act, false), (act, true)]) {
        let mut failures = 0;
        for writes in 0.. {
            let (disk, faults) = faulty();
            let ino = disk.file("file");
            disk.fs.write(ino, 0, &pattern(6), false).unwrap();
            disk.fs.fsync(ino).unwrap();
            if set_user_id {
                let perm = SetAttr {
                    perm: Some(0o4755),
                    ..SetAttr::default()
                };
                disk.fs.setattr(ino, perm, false).unwrap();
            }
            let before = (disk.fs.getattr(ino).unwrap(), disk.all(ino));
            faults.fail(Fault::NoSpace, writes, u64::MAX);
            let done = disk.fs.fallocate(ino, B + 5, 7 * B, act, set_user_id);
            faults.mend();
            if done.is_ok() {
                assert_ne!(before, (disk.fs.getattr(ino).unwrap(), disk.all(ino)));
                break;
            }
            failures += 1;
            assert_eq!(
                before,
                (disk.fs.getattr(ino).unwrap(), disk.all(ino)),
                "{act:?}, {writes} writes"
            );
        }
        assert_eq!(failures, 1, "one transaction, which is one write");
    }
}

/// Regression: each retry of a commit that failed appended all the blocks anew, up to 64 MiB a second.
#[test]
fn a_commit_that_keeps_failing_appends_its_blocks_once() {
    let (disk, faults) = faulty();
    let ino = disk.file("file");
    disk.fs.write(ino, 0, &pattern(2), false).unwrap();
    // The two blocks are appended, the transaction is not.
    faults.fail(Fault::NoSpace, 2, u64::MAX);
    assert_eq!(errno(disk.fs.fsync(ino)), Errno::NOSPC);
    let appended = disk.fs.store().totals().log_bytes;
    for _ in 0..10 {
        assert_eq!(errno(disk.fs.fsync(ino)), Errno::NOSPC);
    }
    assert_eq!(disk.fs.store().totals().log_bytes, appended);
    assert_eq!(disk.fs.store().pending_blocks(), 2);
    // What is written to again is appended again, and what was cut off is not committed.
    disk.fs.write(ino, 7, b"newer", false).unwrap();
    faults.mend();
    disk.fs.fsync(ino).unwrap();
    assert_eq!(disk.fs.store().pending_blocks(), 0);
    let mut expected = pattern(2);
    expected[7..12].copy_from_slice(b"newer");
    assert_eq!(disk.reopen().all(ino), expected);
}

/// Regression: as above, but what was appended was cut off, or its file deleted, before it could be committed.
#[test]
fn blocks_appended_for_what_is_gone_do_not_wait_for_ever() {
    for delete in [false, true] {
        let (disk, faults) = faulty();
        let ino = disk.file("file");
        disk.fs.write(ino, 0, &pattern(2), false).unwrap();
        faults.fail(Fault::NoSpace, 2, u64::MAX);
        assert_eq!(errno(disk.fs.fsync(ino)), Errno::NOSPC);
        faults.mend();
        if delete {
            disk.fs.unlink(ROOT, b"file").unwrap();
            disk.fs.forget(ino);
        } else {
            let size = SetAttr {
                size: Some(0),
                ..SetAttr::default()
            };
            disk.fs.setattr(ino, size, false).unwrap();
        }
        assert_eq!(disk.fs.store().pending_blocks(), 0, "garbage collection may have them");
    }
}

/// Regression: copies raised the stored size over data that was in memory alone, which a crash showed as zeros.
#[test]
fn a_copy_behind_written_data_stores_that_first() {
    let disk = Disk::new();
    let (from, to) = (disk.file("from"), disk.file("to"));
    disk.fs.write(from, 0, &pattern(1), false).unwrap();
    disk.fs.fsync(from).unwrap();
    disk.fs.write(to, 0, &[7; 2 * BLOCK as usize], false).unwrap();
    let place = |ino, offset| FilePosition { ino, offset };
    assert_eq!(
        disk.fs
            .copy_file_range(place(from, 0), place(to, 2 * B), B, false)
            .unwrap(),
        BLOCK
    );
    let disk = disk.crash();
    let mut expected = vec![7; 2 * BLOCK as usize];
    expected.extend(pattern(1));
    assert_eq!(disk.all(to), expected);
}

/// Regression: a mount showed whatever record the index led to, though the record says which block it is; `lmfs check`
/// called it damaged.
#[test]
fn another_block_than_the_one_named_is_not_read() {
    let disk = Disk::new();
    let (mine, theirs, copy) = (disk.file("mine"), disk.file("theirs"), disk.file("copy"));
    for ino in [mine, theirs] {
        disk.fs.write(ino, 0, &[ino as u8; BLOCK as usize], false).unwrap();
        let second = [ino as u8 + 100; BLOCK as usize];
        disk.fs.write(ino, B, &second, false).unwrap();
        disk.fs.fsync(ino).unwrap();
    }
    let secret = disk.fs.store().extent(theirs, 0).unwrap().unwrap();
    redirect(&disk, mine, 0, secret.location);
    // Also when the block is in memory for its owner.
    for cached in [false, true] {
        assert_eq!(errno(disk.fs.read_wait(mine, 0, 10)), Errno::IO, "{cached}");
        assert_eq!(disk.fs.read_wait(theirs, 0, 2).unwrap(), [theirs as u8; 2]);
    }
    // A copy shares the block, and what is wrong with it.
    let place = |ino| FilePosition { ino, offset: 0 };
    disk.fs.copy_file_range(place(mine), place(copy), 2 * B, false).unwrap();
    for ino in [mine, copy] {
        assert_eq!(errno(disk.fs.read_wait(ino, 0, 10)), Errno::IO);
        assert_eq!(disk.fs.read_wait(ino, B, 2).unwrap(), [mine as u8 + 100; 2]);
    }
}

/// Regression: extents were looked up before memory. What a flush moved from there to the index in between was called a
/// hole, once in 90 flushes.
#[test]
fn written_data_is_no_hole_while_it_is_flushed() {
    let disk = Disk::new();
    let stop = AtomicBool::new(false);
    let (odd, ino) = (AtomicU64::new(0), disk.file("file"));
    const LEN: u64 = 64 * BLOCK as u64;
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let generation = odd.load(Ordering::SeqCst);
                    let hole = disk.fs.lseek(ino, 0, Seek::Hole);
                    if generation % 2 == 1 && odd.load(Ordering::SeqCst) == generation {
                        assert_eq!(hole.unwrap(), LEN, "all of it is written");
                    }
                }
            });
        }
        for _ in 0..300 {
            let empty = SetAttr {
                size: Some(0),
                ..SetAttr::default()
            };
            disk.fs.setattr(ino, empty, false).unwrap();
            disk.fs.write(ino, 0, &vec![7; LEN as usize], false).unwrap();
            odd.fetch_add(1, Ordering::SeqCst);
            disk.fs.flush(ino).unwrap();
            odd.fetch_add(1, Ordering::SeqCst);
        }
        stop.store(true, Ordering::SeqCst);
    });
}
