//! Reading, writing, cutting, holes, copies.

use super::*;

const B: u64 = BLOCK as u64;

fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| (i * 7 / 3) as u8 ^ seed).collect()
}

#[test]
fn bytes_written_anywhere_read_back_before_and_after_a_flush_and_a_restart() {
    let disk = Disk::new();
    let ino = disk.file("file");
    let mut expected = vec![0; 3 * BLOCK as usize + 100];
    for (offset, len, seed) in [(0, 10, 1), (4000, 5000, 2), (3 * B, 100, 3), (4090, 12, 4)] {
        let bytes = pattern(len, seed);
        disk.fs.write(ino, offset, &bytes, false).unwrap();
        expected[offset as usize..][..len].copy_from_slice(&bytes);
        assert_eq!(disk.all(ino)[..], expected[..disk.all(ino).len()]);
    }
    assert_eq!(disk.all(ino), expected);
    disk.fs.fsync(ino).unwrap();
    assert!(!disk.fs.is_dirty(ino));
    assert_eq!(disk.all(ino), expected);
    // A part of a stored block is written over, so it must be merged.
    disk.fs.write(ino, 5000, b"middle", false).unwrap();
    expected[5000..5006].copy_from_slice(b"middle");
    assert_eq!(disk.all(ino), expected);
    let disk = disk.reopen();
    assert_eq!(disk.all(ino), expected);
    assert_eq!(disk.fs.getattr(ino).unwrap().size, expected.len() as u64);
    assert_eq!(disk.fs.stats().panics, 0);
}

#[test]
fn what_is_cut_off_reads_as_zeros_when_the_file_grows_again() {
    for flushed in [false, true] {
        let disk = Disk::new();
        let ino = disk.file("file");
        disk.fs.write(ino, 0, &pattern(10_000, 9), false).unwrap();
        if flushed {
            disk.fs.fsync(ino).unwrap();
        }
        let size = |size| SetAttr {
            size: Some(size),
            ..SetAttr::default()
        };
        disk.fs.setattr(ino, size(5000), false).unwrap();
        disk.fs.setattr(ino, size(9000), false).unwrap();
        let mut expected = pattern(10_000, 9)[..5000].to_vec();
        expected.resize(9000, 0);
        assert_eq!(disk.all(ino), expected);
        assert_eq!(disk.reopen().all(ino), expected, "flushed: {flushed}");
    }
}

#[test]
fn holes_are_found_and_punched_blocks_become_holes() {
    let disk = Disk::new();
    let ino = disk.file("file");
    disk.fs.write(ino, 0, &pattern(8 * B as usize, 5), false).unwrap();
    disk.fs.write(ino, 1 << 40, b"far", false).unwrap();
    disk.fs.fsync(ino).unwrap();
    let seek = |offset, what| disk.fs.lseek(ino, offset, what);
    assert_eq!(seek(0, Seek::Hole).unwrap(), 8 * B);
    assert_eq!(seek(8 * B, Seek::Data).unwrap(), 1 << 40);
    assert_eq!(errno(seek((1 << 40) + 3, Seek::Data)), Errno::NXIO);
    let before = disk.fs.getattr(ino).unwrap().blocks;
    disk.fs
        .fallocate(ino, B + 100, 3 * B, Allocate::PunchHole, false)
        .unwrap();
    assert_eq!(seek(B, Seek::Hole).unwrap(), 2 * B);
    assert_eq!(seek(2 * B, Seek::Data).unwrap(), 4 * B);
    let mut expected = pattern(8 * B as usize, 5);
    expected[B as usize + 100..4 * B as usize + 100].fill(0);
    assert_eq!(disk.fs.read_wait(ino, 0, 8 * BLOCK).unwrap(), expected);
    disk.fs.fsync(ino).unwrap();
    assert!(disk.fs.getattr(ino).unwrap().blocks < before);
    assert_eq!(disk.reopen().fs.read_wait(ino, 0, 8 * BLOCK).unwrap(), expected);
}

#[test]
fn a_copy_of_whole_blocks_does_not_decode() {
    let disk = Disk::new();
    let (from, to) = (disk.file("from"), disk.file("to"));
    let bytes = pattern(5 * B as usize + 77, 1);
    disk.fs.write(from, 0, &bytes, false).unwrap();
    disk.fs.write(to, 0, &[0xff; 9000], false).unwrap();
    disk.fs.fsync(from).unwrap();
    let place = |ino| FilePosition { ino, offset: 0 };
    let copied = disk.fs.copy_file_range(place(from), place(to), 1 << 30, false).unwrap();
    assert_eq!(copied as usize, bytes.len());
    assert_eq!(disk.fs.stats().cache.decodes, 0, "nor does the end of the file");
    assert_eq!(disk.all(to), bytes);
    assert_eq!(disk.reopen().all(to), bytes);
}

/// The copy failed as a whole, after its first blocks had replaced what the target had: on an error the kernel keeps
/// its pages of the target and its size, so readers saw bytes that the file had no more.
#[test]
fn a_copy_that_fails_midway_says_how_far_it_came_and_the_next_one_why() {
    let disk = Disk::new();
    let (from, to) = (disk.file("from"), disk.file("to"));
    let bytes = pattern(2 * B as usize + 77, 1);
    disk.fs.write(from, 0, &bytes, false).unwrap();
    disk.fs.fsync(from).unwrap();
    spoil(&disk, from, 2, b"not a block at all");
    disk.fs.write(to, 0, &pattern(B as usize, 9), false).unwrap();
    let copy = |offset| {
        let place = |ino| FilePosition { ino, offset };
        // Not all of the last block, so that it has to be read.
        disk.fs
            .copy_file_range(place(from), place(to), 2 * B + 70 - offset, false)
    };
    assert_eq!(u64::from(copy(0).unwrap()), 2 * B);
    assert_eq!(disk.all(to), bytes[..2 * B as usize]);
    assert_eq!(errno(copy(2 * B)), Errno::IO);
}

#[test]
fn a_swapped_block_stays_cached_and_an_overwritten_one_is_never_seen_again() {
    let disk = Disk::new();
    let ino = disk.file("file");
    disk.fs.write(ino, 0, &pattern(4096, 3), false).unwrap();
    disk.fs.fsync(ino).unwrap();
    assert_eq!(disk.all(ino), pattern(4096, 3));
    let decodes = disk.fs.stats().cache.decodes;
    let block = codec().encode(&pattern(4096, 3), &Stop::new()).unwrap();
    spoil(&disk, ino, 0, &block);
    assert_eq!(disk.all(ino), pattern(4096, 3));
    assert_eq!(
        disk.fs.stats().cache.decodes,
        decodes,
        "the swap kept the block in memory"
    );
    disk.fs.write(ino, 0, &pattern(4096, 200), false).unwrap();
    disk.fs.fsync(ino).unwrap();
    assert_eq!(disk.all(ino), pattern(4096, 200));
}

#[test]
fn a_truncate_while_a_block_is_packed_stays_a_truncate() {
    let disk = Disk::new();
    let ino = disk.file("file");
    let bytes = pattern(4096, 5);
    disk.fs.write(ino, 0, &bytes, false).unwrap();
    disk.fs.fsync(ino).unwrap();
    // The packer reads the block and encodes it; meanwhile the file is cut and grows again.
    let old = disk.fs.store().extent(ino, 0).unwrap().unwrap();
    let block = codec().encode(&bytes, &Stop::new()).unwrap();
    let new = disk.fs.store().append_again(old.id, &block).unwrap();
    for size in [100, 4096] {
        let size = Some(size);
        let set = SetAttr {
            size,
            ..SetAttr::default()
        };
        disk.fs.setattr(ino, set, false).unwrap();
    }
    redirect(&disk, ino, 0, new);
    let mut expected = bytes[..100].to_vec();
    expected.resize(4096, 0);
    assert_eq!(disk.all(ino), expected, "bytes that were cut off came back");
    assert_eq!(disk.reopen().all(ino), expected);
}

#[test]
fn a_contents_change_clears_the_set_user_id_bit_when_asked() {
    let disk = Disk::new();
    let ino = disk.file("file");
    let perm = |perm| SetAttr {
        perm: Some(perm),
        ..SetAttr::default()
    };
    for (mode, after) in [(0o6755, 0o755), (0o2644, 0o2644)] {
        disk.fs.setattr(ino, perm(mode), false).unwrap();
        disk.fs.write(ino, 0, b"x", false).unwrap();
        assert_eq!(disk.fs.getattr(ino).unwrap().perm, mode);
        disk.fs.write(ino, 0, b"x", true).unwrap();
        assert_eq!(disk.fs.getattr(ino).unwrap().perm, after);
    }
}

/// Only `write` and `truncate` did: a set-user-id program could be replaced by whoever may write to it, and stay one.
#[test]
fn copies_into_a_file_and_holes_in_it_clear_the_set_user_id_bit_when_asked() {
    type Act = fn(&Filesystem, FilePosition, FilePosition, bool) -> Result<()>;
    let acts: [Act; 5] = [
        |fs, from, to, kill| fs.copy_file_range(from, to, B, kill).map(drop),
        |fs, from, to, kill| fs.copy_file_range(from, to, 10, kill).map(drop),
        |fs, _, to, kill| fs.fallocate(to.ino, 0, B, Allocate::PunchHole, kill),
        |fs, _, to, kill| fs.fallocate(to.ino, 5, 10, Allocate::ZeroRange { keep_size: true }, kill),
        |fs, _, to, kill| fs.fallocate(to.ino, 0, 3 * B, Allocate::Reserve { keep_size: false }, kill),
    ];
    for act in acts {
        let disk = Disk::new();
        let (from, to) = (disk.file("from"), disk.file("to"));
        for ino in [from, to] {
            disk.fs.write(ino, 0, &pattern(2 * B as usize, 7), false).unwrap();
            disk.fs.fsync(ino).unwrap();
        }
        let perm = SetAttr {
            perm: Some(0o6755),
            ..SetAttr::default()
        };
        disk.fs.setattr(to, perm, false).unwrap();
        let place = |ino| FilePosition { ino, offset: 0 };
        act(&disk.fs, place(from), place(to), false).unwrap();
        assert_eq!(disk.fs.getattr(to).unwrap().perm, 0o6755, "root keeps them");
        act(&disk.fs, place(from), place(to), true).unwrap();
        assert_eq!(disk.fs.getattr(to).unwrap().perm, 0o755);
        assert_eq!(disk.reopen().fs.getattr(to).unwrap().perm, 0o755);
    }
}

/// Nobody told the filesystem: the kernel showed the old `st_blocks` for an hour, and what was cached was lost.
#[test]
fn packing_and_garbage_collection_keep_what_is_cached_and_tell_the_kernel() {
    use crate::maintenance::{Effort, collect_garbage};
    use crate::packer::{Offline, Options, Packer, Scope};

    let disk = Disk::new();
    let (ino, other) = (disk.file("file"), disk.file("other"));
    let text = &include_bytes!("../../../../tests/data/text/alice29.txt")[..8 * BLOCK as usize];
    for (ino, contents) in [(other, &text.to_ascii_uppercase()[..]), (ino, text)] {
        disk.fs.write(ino, 0, contents, false).unwrap();
        disk.fs.fsync(ino).unwrap();
    }
    assert_eq!(disk.all(ino), text);
    let decodes = disk.fs.stats().cache.decodes;
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    disk.fs.on_stored(move |ino| tell.lock().push(ino));

    let place = || disk.fs.store().extent(ino, 3).unwrap().unwrap().location;
    let (first, blocks) = (place(), disk.fs.getattr(ino).unwrap().blocks);
    let packer = Packer::new(disk.fs.store().clone(), codec(), Arc::new(Offline), Options::default());
    packer
        .run(None, &Scope::Inodes(vec![ino]), false, 1, &|_| (), &Stop::new())
        .unwrap();
    let packed = place();
    assert_ne!(packed, first);
    assert!(disk.fs.getattr(ino).unwrap().blocks < blocks);
    assert!(told.lock().contains(&ino));
    assert_eq!(disk.all(ino), text);
    assert_eq!(disk.fs.stats().cache.decodes, decodes, "packed blocks stay in memory");

    disk.fs.unlink(ROOT, b"other").unwrap();
    told.lock().clear();
    let _done = collect_garbage(disk.fs.store(), Effort::All, &Stop::new(), &mut |_| ()).unwrap();
    assert_ne!(place(), packed);
    assert!(!told.lock().contains(&ino), "it takes as much as before");
    assert_eq!(disk.all(ino), text);
    assert_eq!(disk.fs.stats().cache.decodes, decodes, "so do moved ones");
}

/// All of it went into one transaction, which was too large for a record: EINVAL.
#[test]
fn a_hole_of_millions_of_blocks_can_be_punched() {
    let disk = Disk::new();
    let ino = disk.file("file");
    // As many changes as a record cannot hold: each is 4096 bytes.
    let (stride, count) = (4096 * B, 4400);
    for at in 0..=count {
        disk.fs.write(ino, at * stride, b"x", false).unwrap();
    }
    disk.fs.fsync(ino).unwrap();
    let mode = Allocate::ZeroRange { keep_size: true };
    disk.fs.fallocate(ino, B, count * stride - B, mode, false).unwrap();
    let data = |offset| disk.fs.lseek(ino, offset, Seek::Data);
    assert_eq!(data(0).unwrap(), 0);
    assert_eq!(data(B).unwrap(), count * stride);
    let before = disk.fs.store().seq();
    disk.fs.fallocate(ino, 0, u64::MAX / 2, mode, false).unwrap();
    assert_eq!(errno(data(0)), Errno::NXIO);
    assert_eq!(disk.fs.store().seq() - before, 1);
    assert_eq!(disk.fs.getattr(ino).unwrap().size, count * stride + 1);
}

/// Flushes once left blocks beyond the end, and a file that grew showed them where zeros were due.
#[test]
fn what_lies_beyond_the_end_is_not_seen_when_the_file_grows() {
    let size = |size| SetAttr {
        size: Some(size),
        ..SetAttr::default()
    };
    type Grow<'a> = &'a dyn Fn(&Filesystem, u64);
    let grow: [Grow<'_>; 2] = [
        &|fs, ino| {
            fs.setattr(ino, size(10 * B), false).unwrap();
        },
        &|fs, ino| {
            fs.write(ino, 9 * B, &[0; BLOCK as usize], false).unwrap();
        },
    ];
    for grow in grow {
        let disk = Disk::new();
        let ino = disk.file("file");
        disk.fs.write(ino, 0, &[7; 5000], false).unwrap();
        disk.fs.fsync(ino).unwrap();
        let extent = disk.fs.store().extent(ino, 0).unwrap().unwrap();
        let extents = vec![Some(extent)];
        let first = 7;
        disk.fs
            .journal
            .commit(vec![Change::PutExtents { ino, first, extents }])
            .unwrap();
        grow(&disk.fs, ino);
        disk.fs.fsync(ino).unwrap();
        let mut expected = vec![7; 5000];
        expected.resize(10 * BLOCK as usize, 0);
        assert_eq!(disk.all(ino), expected);
        assert_eq!(disk.reopen().all(ino), expected);
    }
}

/// Regression: after fallocate by a stranger, the kernel took the file for one with set-user-id for as long as it kept
/// the mode (xfstests generic/683 to 685). Its attributes were written anew, and nobody told it.
#[test]
fn the_kernel_learns_that_a_request_cleared_set_user_id() {
    type Act = fn(&Filesystem, u64, u64);
    let acts: [Act; 4] = [
        |fs, ino, _| {
            fs.fallocate(ino, 0, 10, Allocate::ZeroRange { keep_size: true }, true)
                .unwrap()
        },
        |fs, ino, _| {
            fs.fallocate(ino, 0, 10, Allocate::Reserve { keep_size: true }, true)
                .unwrap()
        },
        |fs, ino, _| {
            fs.write(ino, 0, b"bytes", true).unwrap();
        },
        |fs, ino, other| {
            let [from, to] = [other, ino].map(|ino| FilePosition { ino, offset: 0 });
            fs.copy_file_range(from, to, u64::from(BLOCK), true).unwrap();
        },
    ];
    for act in acts {
        let disk = Disk::new();
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = told.clone();
        disk.fs.on_stored(move |ino| tell.lock().push(ino));
        let (ino, other) = (disk.file("program"), disk.file("other"));
        for ino in [ino, other] {
            disk.fs.write(ino, 0, &[7; BLOCK as usize], false).unwrap();
            disk.fs.fsync(ino).unwrap();
        }
        let perm = SetAttr {
            perm: Some(0o6755),
            ..SetAttr::default()
        };
        disk.fs.setattr(ino, perm, false).unwrap();
        told.lock().clear();
        act(&disk.fs, ino, other);
        assert_eq!(disk.fs.getattr(ino).unwrap().perm, 0o755);
        assert!(told.lock().contains(&ino));
    }
}
