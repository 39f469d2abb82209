//! A disk that is full, or nearly.

use super::*;
use crate::maintenance::{Effort, collect_garbage};
use crate::packer::{self, Offline, Packer, Scope};
use crate::store::reserve;

fn text(len: usize) -> &'static [u8] {
    &include_bytes!("../../../../tests/data/text/alice29.txt")[..len]
}

/// Data was appended until the last byte, and nothing was left for deleting.
#[test]
fn what_is_left_of_a_full_disk_is_kept_for_deleting() {
    let disk = Disk::new();
    let (ino, other, target) = (disk.file("file"), disk.file("other"), disk.file("target"));
    for ino in [ino, other] {
        disk.fs.write(ino, 0, text(20_000), false).unwrap();
        disk.fs.fsync(ino).unwrap();
    }
    // Less than an eighth of what the store takes and could take, but not nothing.
    let free = |bytes| disk.io.set_free_space(disk.fs.store().checkpoint_room() + bytes);
    free(1500);
    assert_eq!(reserve::available(disk.fs.store(), reserve::Purpose::Data).unwrap(), 0);
    let before = disk.fs.store().totals().log_bytes;
    disk.fs.write(ino, 0, b"more", false).unwrap();
    assert_eq!(errno(disk.fs.fsync(ino)), Errno::NOSPC);
    let allocate = Allocate::Reserve { keep_size: true };
    assert_eq!(errno(disk.fs.fallocate(target, 0, 1, allocate, false)), Errno::NOSPC);
    let packer = Packer::new(
        disk.fs.store().clone(),
        codec(),
        Arc::new(Offline),
        packer::Options::default(),
    );
    let packed = packer.run(None, &Scope::Inodes(vec![other]), false, 1, &|_| (), &Stop::new());
    assert!(matches!(packed, Err(packer::error::Error::DiskFull(_))), "{packed:?}");
    assert_eq!(disk.fs.store().totals().log_bytes, before, "nothing was appended");
    let stat = disk.fs.statfs().unwrap();
    assert_eq!(stat.available, 0);

    // With even less left there are no new names; deleting goes on.
    disk.fs
        .create(ROOT, b"new", Create::new(Kind::File, 0o644), ME)
        .unwrap();
    disk.io.set_free_space(0);
    let refused = disk.fs.create(ROOT, b"newer", Create::new(Kind::File, 0o644), ME);
    assert_eq!(errno(refused), Errno::NOSPC);
    let place = |ino| FilePosition { ino, offset: 0 };
    let copied = disk.fs.copy_file_range(place(other), place(target), 8192, false);
    assert_eq!(errno(copied), Errno::NOSPC);
    assert_eq!(errno(disk.fs.link(ino, ROOT, b"link")), Errno::NOSPC);
    disk.fs.unlink(ROOT, b"other").unwrap();

    // What waited is stored once there is room.
    disk.io.set_free_space(1 << 40);
    disk.fs.fsync(ino).unwrap();
    assert_eq!(disk.all(ino)[..4], *b"more");
}

/// It copied as much as there was room for, which freed nothing and left no room for deleting.
#[test]
fn garbage_collection_that_does_not_fit_takes_no_room() {
    let disk = Disk::new();
    let (ino, other) = (disk.file("file"), disk.file("other"));
    for ino in [ino, other] {
        disk.fs.write(ino, 0, text(20_000), false).unwrap();
        disk.fs.fsync(ino).unwrap();
    }
    disk.fs.unlink(ROOT, b"other").unwrap();
    disk.io.set_free_space(200 << 10);
    for _ in 0..3 {
        let refused = collect_garbage(disk.fs.store(), Effort::All, &Stop::new(), &mut |_| ());
        assert!(
            matches!(refused, Err(lmfs_indexer::Error::NoSpace { .. })),
            "{refused:?}"
        );
    }
    let before = disk.fs.store().totals();
    disk.io.set_free_space(1 << 20);
    let done = collect_garbage(disk.fs.store(), Effort::All, &Stop::new(), &mut |_| ()).unwrap();
    assert!(done.moved_blocks > 0);
    assert!(disk.fs.store().totals().log_bytes < before.log_bytes);
    assert_eq!(disk.all(ino), text(20_000));
}
