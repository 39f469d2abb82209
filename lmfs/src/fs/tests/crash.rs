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

/// The users of a busy mount that was detached still changed the store, which another process could have open by then.
#[test]
fn nothing_changes_any_more_once_the_end_has_begun() {
    let disk = Disk::new();
    let (ino, nameless) = (disk.file("file"), disk.file("nameless"));
    let handle = disk.fs.open(nameless).unwrap();
    disk.fs.unlink(ROOT, b"nameless").unwrap();
    disk.fs.shutdown().unwrap();
    let before = disk.fs.store().totals();
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
    assert_eq!(fs.store().totals(), before);
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
        assert_eq!(fs.store().pending_blocks(), 0, "flushed, call {after}");
        io.fail(Fault::NoSpace, after, 1);
        let place = |ino| FilePosition { ino, offset: 0 };
        failed[1] += u32::from(
            fs.copy_file_range(place(from), place(to), 5 * u64::from(BLOCK), false)
                .is_err(),
        );
        io.mend();
        assert_eq!(fs.store().pending_blocks(), 0, "copied, call {after}");
    }
    // A copy is one transaction.
    assert!(failed[0] > 3 && failed[1] > 0, "{failed:?}");
}
