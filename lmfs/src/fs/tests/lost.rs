//! Blocks that were written in part, and whose rest cannot be read: what can be kept, and who is told.

use super::*;

const B: u64 = BLOCK as u64;

/// Writes three blocks and damages the second: its extent leads to other bytes.
fn damaged_file(disk: &Disk, ino: u64) -> Vec<u8> {
    let bytes: Vec<u8> = (0..3 * 4096_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    disk.fs.write(ino, 0, &bytes, false).unwrap();
    disk.fs.fsync(ino).unwrap();
    spoil(disk, ino, 1, b"not a block at all");
    bytes
}

#[test]
fn a_damaged_block_fails_alone_and_is_counted_once() {
    let disk = Disk::new();
    let ino = disk.file("file");
    let handle = disk.fs.open(ino).unwrap();
    let bytes = damaged_file(&disk, ino);
    for _ in 0..3 {
        assert_eq!(errno(disk.fs.read_wait(ino, 4096, 10)), Errno::IO);
    }
    assert_eq!(disk.fs.read_wait(ino, 0, 4096).unwrap(), bytes[..4096]);
    assert_eq!(disk.fs.read_wait(ino, 8192, 4096).unwrap(), bytes[8192..]);
    assert_eq!(disk.fs.stats().bad_blocks, 1);
    // A partial write over it cannot be kept, and says so; a whole one heals it.
    disk.fs.write(ino, 5000, b"part", false).unwrap();
    disk.fs.fsync(ino).unwrap();
    assert_eq!(errno(disk.fs.tell_lost(handle)), Errno::IO);
    disk.fs.write(ino, 4096, &[9; 4096], false).unwrap();
    disk.fs.fsync(ino).unwrap();
    assert_eq!(disk.fs.read_wait(ino, 4096, 4096).unwrap(), [9; 4096]);
}

/// The background flush, one for another writer's sake, or one for `lmfs gc` gave the bytes up, and nobody was told.
/// Then one was, and the reader who closed the file first took the news from its writer.
#[test]
fn everybody_who_has_the_file_open_is_told_once_that_written_data_was_given_up() {
    type Act = fn(&Filesystem) -> Result<()>;
    let flush: [Act; 2] = [
        |fs| {
            store_older(fs);
            Ok(())
        },
        |fs| fs.sync(),
    ];
    for flush in flush {
        let disk = Disk::new();
        let (ino, other) = (disk.file("file"), disk.file("other"));
        let [writer, reader] = [(); 2].map(|()| disk.fs.open(ino).unwrap());
        damaged_file(&disk, ino);
        disk.fs.write(ino, 5000, b"nine byte", false).unwrap();
        flush(&disk.fs).unwrap();
        assert!(!disk.fs.is_dirty(ino));
        disk.fs.write(other, 0, b"y", false).unwrap();
        disk.fs.fsync(other).unwrap();
        let late = disk.fs.open(ino).unwrap();
        // A close may be that of a forked child, whom nobody asks.
        for handle in [reader, reader, writer, writer] {
            assert_eq!(errno(disk.fs.tell_lost_at_close(handle)), Errno::IO);
        }
        for handle in [writer, late, reader] {
            assert_eq!(errno(disk.fs.tell_lost(handle)), Errno::IO);
            disk.fs.tell_lost(handle).unwrap();
            disk.fs.tell_lost_at_close(handle).unwrap();
        }
        let later = disk.fs.open(ino).unwrap();
        disk.fs.tell_lost(later).unwrap();
        disk.fs.write(ino, 5000, b"again", false).unwrap();
        flush(&disk.fs).unwrap();
        for handle in [writer, later] {
            assert_eq!(errno(disk.fs.tell_lost(handle)), Errno::IO);
        }
    }
}

#[test]
fn a_file_that_lost_data_replaces_no_other() {
    let disk = Disk::new();
    let (ino, old) = (disk.file("new"), disk.file("old"));
    let handle = disk.fs.open(ino).unwrap();
    damaged_file(&disk, ino);
    disk.fs.write(ino, 5000, b"part", false).unwrap();
    let rename = || disk.fs.rename(ROOT, b"new", ROOT, b"old", RenameMode::Replace);
    assert_eq!(errno(rename()), Errno::IO);
    assert_eq!(disk.fs.lookup(ROOT, b"old").unwrap().ino, old);
    assert_eq!(errno(disk.fs.tell_lost(handle)), Errno::IO, "the writer is told, too");
    rename().unwrap();
}

/// The start of a block that only a later version can decode, as a model that is not there makes one undecodable.
fn newer_block() -> Vec<u8> {
    let mut block = vec![0; 64];
    block[..3].copy_from_slice(&[0xb5, 0x4c, 0xf0]);
    block
}

/// A disk with memory for 16 blocks and a file of `blocks` whole ones, `b'a'` and so on, and 100 bytes.
fn small(blocks: u64) -> (Disk, u64, Vec<u8>) {
    let disk = Disk::with(Options {
        dirty_bytes: 16 * B,
        ..options()
    });
    let ino = disk.file("file");
    let bytes: Vec<u8> = (0..blocks * B + 100).map(|at| b'a' + (at / B) as u8).collect();
    for (block, bytes) in (0..).zip(bytes.chunks(B as usize)) {
        disk.fs.write(ino, block * B, bytes, false).unwrap();
    }
    disk.fs.fsync(ino).unwrap();
    (disk, ino, bytes)
}

/// No block of the file behind it was stored any more, then no file could be written to, and the mount stayed for ever.
#[test]
fn a_block_whose_rest_cannot_be_read_holds_up_no_other() {
    let (disk, ino, mut expected) = small(3);
    let good = spoil(&disk, ino, 3, &newer_block());
    let end = expected.len() as u64;
    expected.extend((0..40 * B).map(|at| (at % 251) as u8));
    for (at, bytes) in (end..)
        .step_by(B as usize)
        .zip(expected[end as usize..].chunks(B as usize))
    {
        disk.fs.write(ino, at, bytes, false).unwrap();
    }
    assert_eq!(errno(disk.fs.fsync(ino)), Errno::IO);
    assert_eq!(disk.fs.stats().dirty_bytes, B, "only the one block waits");
    let other = disk.file("other");
    disk.fs.write(other, 0, &expected, false).unwrap();
    disk.fs.fsync(other).unwrap();
    assert_eq!(errno(disk.fs.sync()), Errno::IO, "it is told before the end");
    // What is stored survives a crash, and so does the block once it can be read.
    let copy = Disk::open(Arc::new(MemIo::from_files(disk.io.files())), options());
    assert_eq!(copy.fs.getattr(ino).unwrap().size, expected.len() as u64);
    assert_eq!(
        copy.fs.read_wait(ino, 4 * B, u32::MAX).unwrap(),
        expected[4 * B as usize..]
    );
    redirect(&disk, ino, 3, good);
    disk.fs.fsync(ino).unwrap();
    assert_eq!(disk.reopen().all(ino), expected);
}

/// Each such block takes memory until it can be stored: the writers of more of them have to be refused, and no others.
#[test]
fn memory_full_of_blocks_that_cannot_be_stored_stops_only_who_would_make_more() {
    let (disk, ino, _) = small(20);
    for block in 0..20 {
        spoil(&disk, ino, block, &newer_block());
    }
    let part = |block: u64| disk.fs.write(ino, block * B + 7, b"part", false);
    // Half of the memory, for the other half is for whole blocks.
    for block in 0..8 {
        part(block).unwrap();
    }
    assert_eq!(disk.fs.write_now(ino, 16 * B + 7, b"part", false).unwrap(), None);
    for block in 16..20 {
        assert_eq!(errno(part(block)), Errno::IO);
    }
    disk.fs.write(ino, 17 * B, &[7; 2 * BLOCK as usize], false).unwrap();
    part(18).unwrap();
    assert_eq!(
        disk.fs.read_wait(ino, 18 * B, 12).unwrap(),
        b"\x07\x07\x07\x07\x07\x07\x07part\x07"
    );
    let other = disk.file("other");
    for block in 0..40 {
        disk.fs.write(other, block * B + 7, b"part", false).unwrap();
    }
    disk.fs.fsync(other).unwrap();
    assert_eq!(errno(disk.fs.fsync(ino)), Errno::IO);
}

/// Regression: every flush of any other file said in the log that data could be stored again, and the next tick that it
/// could not: two lines a second.
#[test]
fn only_a_file_that_failed_says_that_data_can_be_stored_again() {
    let disk = Disk::new();
    let (stuck, other) = (disk.file("stuck"), disk.file("other"));
    disk.fs.write(stuck, 0, &[7; 4096], false).unwrap();
    disk.fs.fsync(stuck).unwrap();
    let mut newer = vec![0; 64];
    newer.splice(..3, [0xb5, 0x4c, 0xf0]);
    spoil(&disk, stuck, 0, &newer);
    disk.fs.write(stuck, 5, b"part", false).unwrap();
    assert!(disk.fs.fsync(stuck).is_err());
    let failing = || disk.fs.stats().failing;
    disk.fs.write(other, 0, b"bytes", false).unwrap();
    disk.fs.fsync(other).unwrap();
    assert!(failing());
    disk.fs.write(stuck, 0, &[8; 4096], false).unwrap();
    disk.fs.fsync(stuck).unwrap();
    assert!(!failing());
    // So does one whose data is not wanted any more.
    spoil(&disk, stuck, 0, &newer);
    disk.fs.write(stuck, 5, b"part", false).unwrap();
    assert!(disk.fs.fsync(stuck).is_err() && failing());
    disk.fs.unlink(ROOT, b"stuck").unwrap();
    assert!(!failing());
}

/// Regression: a file shared a stored block whose record was damaged, because its bytes were still in memory. Its data
/// was gone with them.
#[test]
fn what_is_written_does_not_depend_on_a_block_that_was_found_damaged() {
    let disk = Disk::new();
    let [first, shared, last] = ["first", "shared", "last"].map(|name| disk.file(name));
    let bytes: Vec<u8> = (0..BLOCK)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let extent = |ino| disk.fs.store().extent(ino, 0).unwrap().unwrap();
    disk.fs.write(first, 0, &bytes, false).unwrap();
    disk.fs.fsync(first).unwrap();
    assert_eq!(disk.fs.read_wait(first, 0, BLOCK).unwrap(), bytes);
    disk.fs.write(shared, 0, &bytes, false).unwrap();
    disk.fs.fsync(shared).unwrap();
    assert_eq!(extent(shared).id, extent(first).id, "as long as it is good");

    damage_record(&disk, extent(first).location);
    // What a check does, while the block is still in the cache.
    assert!(disk.fs.store().read_block(&extent(first)).is_err());
    assert_eq!(disk.fs.read_wait(first, 0, BLOCK).unwrap(), bytes);
    disk.fs.write(last, 0, &bytes, false).unwrap();
    disk.fs.fsync(last).unwrap();
    assert_ne!(extent(last).id, extent(first).id);
    let disk = disk.reopen();
    assert_eq!(errno(disk.fs.read_wait(first, 0, BLOCK)), Errno::IO);
    assert_eq!(disk.fs.read_wait(last, 0, BLOCK).unwrap(), bytes);
}

/// Flips a bit of the last byte of a stored block.
fn damage_record(disk: &Disk, location: lmfs_indexer::BlockRef) {
    let segment = disk
        .io
        .open(&format!("segments/{:08x}.seg", location.segment), true)
        .unwrap();
    // The frame and the number come before the block's bytes.
    let at = u64::from(location.offset) + 14 + u64::from(location.len);
    let mut byte = [0];
    segment.read_at(&mut byte, at).unwrap();
    segment.write_at(&[byte[0] ^ 1], at).unwrap();
}
