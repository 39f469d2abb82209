//! What is promised through a crash.

use super::*;

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

#[test]
fn a_damaged_block_fails_alone_and_is_counted_once() {
    let disk = Disk::new();
    let ino = disk.file("file");
    let bytes: Vec<u8> = (0..3 * 4096_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    disk.fs.write(ino, 0, &bytes, false).unwrap();
    disk.fs.fsync(ino).unwrap();
    // A block whose extent leads to other bytes.
    let wrong = disk.fs.store.append_block(ino, 1, b"not a block at all").unwrap();
    let old = disk.fs.store.extent(ino, 1).unwrap().unwrap();
    let new = lmfs_indexer::Extent { r: wrong, ..old };
    disk.fs
        .commit_swaps(vec![Change::SwapExtent {
            ino,
            block: 1,
            old: old.r,
            new,
        }])
        .unwrap();
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
