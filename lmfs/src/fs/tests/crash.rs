//! What is promised through a crash.

use super::*;
use lmfs_indexer::io::{Fault, FaultIo};

#[test]
fn what_was_synced_is_there_and_what_was_not_is_whole_or_absent() {
    let disk = Disk::new();
    let kept = disk.file("kept");
    disk.fs.write(kept, 0, &[1; 9000], false).unwrap();
    disk.fs.fsync(kept).unwrap();
    let lost = disk.file("lost");
    disk.fs.write(lost, 0, &[2; 9000], false).unwrap();
    disk.fs.write(kept, 0, &[3; 100], false).unwrap();
    let disk = disk.crash();
    assert_eq!(disk.all(kept), [1; 9000]);
    if let Ok(attr) = disk.fs.lookup(ROOT, b"lost") {
        assert_eq!(attr.size, 0, "no size without the data");
    }
}

/// Writes three blocks and damages the second: its extent leads to other bytes.
fn damaged_file(disk: &Disk, ino: u64) -> Vec<u8> {
    let bytes: Vec<u8> = (0..3 * 4096_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    disk.fs.write(ino, 0, &bytes, false).unwrap();
    disk.fs.fsync(ino).unwrap();
    let wrong = disk.fs.store.append_block(ino, 1, b"not a block at all").unwrap();
    let old = disk.fs.store.extent(ino, 1).unwrap().unwrap();
    let new = lmfs_indexer::Extent { r: wrong, ..old };
    let swap = Change::SwapExtent {
        ino,
        block: 1,
        old: old.r,
        new,
    };
    assert!(disk.fs.commit_swaps(vec![swap]).unwrap().is_empty());
    bytes
}

#[test]
fn a_damaged_block_fails_alone_and_is_counted_once() {
    let disk = Disk::new();
    let ino = disk.file("file");
    let bytes = damaged_file(&disk, ino);
    for _ in 0..3 {
        assert_eq!(errno(disk.fs.read_wait(ino, 4096, 10)), Errno::IO);
    }
    assert_eq!(disk.fs.read_wait(ino, 0, 4096).unwrap(), bytes[..4096]);
    assert_eq!(disk.fs.read_wait(ino, 8192, 4096).unwrap(), bytes[8192..]);
    assert_eq!(disk.fs.stats().bad_blocks, 1);
    // A partial write over it cannot be kept, and says so; a whole one heals it.
    disk.fs.write(ino, 5000, b"part", false).unwrap();
    assert_eq!(errno(disk.fs.fsync(ino)), Errno::IO);
    disk.fs.write(ino, 4096, &[9; 4096], false).unwrap();
    disk.fs.fsync(ino).unwrap();
    assert_eq!(disk.fs.read_wait(ino, 4096, 4096).unwrap(), [9; 4096]);
}

/// The background flush, one for another writer's sake, or one for `lmfs gc` gave the bytes up, and nobody was told.
#[test]
fn written_data_that_the_background_gave_up_is_told_at_the_next_fsync_close_or_write() {
    type Act = fn(&Filesystem, u64) -> Result<()>;
    let tell: [Act; 3] = [
        |fs, ino| fs.fsync(ino),
        |fs, ino| fs.flush(ino),
        |fs, ino| fs.write(ino, 0, b"x", false).map(drop),
    ];
    for tell in tell {
        let flush: [Act; 2] = [
            |fs, _| {
                fs.flush_older(std::time::Duration::ZERO);
                Ok(())
            },
            |fs, _| fs.sync(),
        ];
        for flush in flush {
            let disk = Disk::new();
            let (ino, other) = (disk.file("file"), disk.file("other"));
            let _handle = disk.fs.open(ino).unwrap();
            damaged_file(&disk, ino);
            disk.fs.write(ino, 5000, b"nine byte", false).unwrap();
            flush(&disk.fs, ino).unwrap();
            assert!(!disk.fs.is_dirty(ino));
            disk.fs.write(other, 0, b"y", false).unwrap();
            disk.fs.fsync(other).unwrap();
            assert_eq!(errno(tell(&disk.fs, ino)), Errno::IO);
            tell(&disk.fs, ino).unwrap();
        }
    }
}

#[test]
fn a_file_that_lost_data_replaces_no_other() {
    let disk = Disk::new();
    let (ino, old) = (disk.file("new"), disk.file("old"));
    let _handle = disk.fs.open(ino).unwrap();
    damaged_file(&disk, ino);
    disk.fs.write(ino, 5000, b"part", false).unwrap();
    let rename = || disk.fs.rename(ROOT, b"new", ROOT, b"old", RenameMode::Replace);
    assert_eq!(errno(rename()), Errno::IO);
    assert_eq!(disk.fs.lookup(ROOT, b"old").unwrap().ino, old);
    assert_eq!(errno(disk.fs.fsync(ino)), Errno::IO, "the writer is told, too");
    rename().unwrap();
}

/// The users of a busy mount that was detached still changed the store, which another process could have open by then.
#[test]
fn nothing_changes_any_more_once_the_end_has_begun() {
    let disk = Disk::new();
    let (ino, nameless) = (disk.file("file"), disk.file("nameless"));
    let handle = disk.fs.open(nameless).unwrap();
    disk.fs.unlink(ROOT, b"nameless").unwrap();
    disk.fs.shutdown().unwrap();
    let before = disk.fs.store.totals();
    let (fs, file) = (&disk.fs, Create::new(Kind::File, 0o644));
    let size = SetAttr {
        size: Some(7),
        ..SetAttr::default()
    };
    let refused = [
        errno(fs.create(ROOT, b"another", file, ME)),
        errno(fs.write(ino, 0, b"x", false)),
        errno(fs.setattr(ino, size, false)),
        errno(fs.rename(ROOT, b"file", ROOT, b"name", RenameMode::Replace)),
        errno(fs.link(ino, ROOT, b"link")),
        errno(fs.unlink(ROOT, b"file")),
        errno(fs.rmdir(ROOT, b"file")),
        errno(fs.setxattr(ino, b"user.x", b"", XattrMode::Any, |_| true)),
        errno(fs.removexattr(ino, b"user.x")),
        errno(fs.fallocate(ino, 0, 10, Allocate::PunchHole, false)),
    ];
    assert_eq!(refused, [Errno::NOTCONN; 10]);
    fs.release(handle).unwrap();
    fs.forget(nameless);
    fs.fsync(ino).unwrap();
    assert_eq!(fs.store.totals(), before);
    assert!(disk.crash().fs.lookup(ROOT, b"file").is_ok());
}

/// Blocks that were appended and then not committed were spared by garbage collection until the next mount.
#[test]
fn what_a_full_disk_left_uncommitted_is_garbage() {
    let io = Arc::new(FaultIo::new(Arc::new(MemIo::new())));
    let store = Store::create(io.clone(), CreateOptions::new([1; 16])).unwrap();
    let fs = Filesystem::new(Arc::new(store), codec(), options()).unwrap();
    let file = |name: &[u8]| fs.create(ROOT, name, Create::new(Kind::File, 0o644), ME).unwrap().ino;
    let (from, to) = (file(b"from"), file(b"to"));
    let mut failed = [0; 2];
    for after in 0..12 {
        fs.write(from, 0, &vec![after as u8; 5 * BLOCK as usize], false)
            .unwrap();
        io.fail(Fault::NoSpace, after, 1);
        failed[0] += u32::from(fs.fsync(from).is_err());
        io.mend();
        fs.fsync(from).unwrap();
        assert_eq!(fs.store.pending_blocks(), 0, "flushed, call {after}");
        io.fail(Fault::NoSpace, after, 1);
        let place = |ino| Place { ino, offset: 0 };
        failed[1] += u32::from(
            fs.copy_file_range(place(from), place(to), 5 * u64::from(BLOCK), false)
                .is_err(),
        );
        io.mend();
        assert_eq!(fs.store.pending_blocks(), 0, "copied, call {after}");
    }
    assert!(failed.iter().all(|n| *n > 3), "{failed:?}");
}
