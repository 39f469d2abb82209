//! The claims of docs/SEMANTICS.md that nothing else checks: limits, and what is refused with which errno.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, symlink};

use lmfs_tests::{Mount, Scratch};
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, RenameFlags, SeekFrom, XattrFlags, fallocate, lgetxattr, linkat, llistxattr,
    lsetxattr, renameat_with, seek,
};
use rustix::io::Errno;

const BLOCK: u64 = 16 << 10;

fn mounted() -> (Scratch, Mount) {
    let scratch = Scratch::with_store(&["--model=none", "--block-size=16KiB"]);
    let mount = scratch.mount(&[]);
    (scratch, mount)
}

/// The errno of what has to be refused.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: std::io::Result<T>) -> Option<Errno> {
    Errno::from_io_error(&result.expect_err("should be refused"))
}

#[test]
fn sizes_and_offsets_end_where_the_page_says() {
    let (_scratch, mount) = mounted();
    let file = File::create_new(mount.path("file")).unwrap();
    file.set_len(i64::MAX as u64).unwrap();
    assert_eq!(file.metadata().unwrap().len(), i64::MAX as u64);
    file.set_len(0).unwrap();
    let attr = file.metadata().unwrap();
    assert_eq!((attr.blksize(), attr.blocks()), (BLOCK, 0));
    assert_eq!(fs::metadata(mount.path("")).unwrap().len(), 4096);
    symlink("x".repeat(4095), mount.path("long")).unwrap();
    assert_eq!(fs::read_link(mount.path("long")).unwrap().as_os_str().len(), 4095);
    drop(file);
    mount.umount();
}

#[test]
fn renames_links_and_directories_are_refused_as_promised() {
    let (_scratch, mount) = mounted();
    fs::create_dir_all(mount.path("dir/below")).unwrap();
    File::create_new(mount.path("file")).unwrap();
    let rename = |from: &str, to: &str, flags| renameat_with(CWD, mount.path(from), CWD, mount.path(to), flags);
    let both = RenameFlags::WHITEOUT | RenameFlags::EXCHANGE;
    assert_eq!(rename("file", "new", both), Err(Errno::INVAL));
    assert_eq!(rename("file", "dir", RenameFlags::NOREPLACE), Err(Errno::EXIST));
    assert_eq!(rename("file", "none", RenameFlags::EXCHANGE), Err(Errno::NOENT));
    assert_eq!(rename("dir", "dir/below/dir", RenameFlags::empty()), Err(Errno::INVAL));
    rename("file", "dir", RenameFlags::EXCHANGE).unwrap();
    assert!(mount.path("file/below").is_dir() && mount.path("dir").is_file());
    let link = linkat(CWD, mount.path("file"), CWD, mount.path("link"), AtFlags::empty());
    assert_eq!(link, Err(Errno::PERM));
    assert_eq!(refused(fs::remove_dir(mount.path("file"))), Some(Errno::NOTEMPTY));
    assert_eq!(refused(fs::remove_dir(mount.path("dir"))), Some(Errno::NOTDIR));
    assert_eq!(refused(fs::remove_file(mount.path("file"))), Some(Errno::ISDIR));
    let name = "x".repeat(256);
    assert_eq!(refused(fs::create_dir(mount.path(name))), Some(Errno::NAMETOOLONG));
    mount.umount();
}

#[test]
fn attributes_have_the_spaces_and_sizes_of_the_page() {
    let (_scratch, mount) = mounted();
    let path = mount.path("file");
    File::create_new(&path).unwrap();
    let set = |name: &str, len: usize| lsetxattr(&path, name, &vec![1; len], XattrFlags::empty());
    for name in ["user.a", "trusted.a", "security.a"] {
        set(name, 10).unwrap();
    }
    set("user.large", 65536).unwrap();
    assert_eq!(set("system.a", 1), Err(Errno::OPNOTSUPP));
    assert_eq!(set("user.lmfs.a", 1), Err(Errno::PERM));
    let mut bytes = vec![0; 1 << 16];
    let len = llistxattr(&path, &mut bytes).unwrap();
    assert!(!String::from_utf8_lossy(bytes.get(..len).unwrap()).contains("user.lmfs"));
    assert!(lgetxattr(&path, "user.lmfs.stat", &mut bytes).unwrap() > 0);
    assert!(lgetxattr(mount.path(""), "user.lmfs.pid", &mut bytes).unwrap() > 0);
    mount.umount();
}

#[test]
fn holes_are_whole_blocks_and_written_zeros_are_data() {
    let (_scratch, mount) = mounted();
    let file = File::options()
        .create_new(true)
        .read(true)
        .write(true)
        .open(mount.path("file"))
        .unwrap();
    file.write_all_at(&vec![0; 4 * BLOCK as usize], 0).unwrap();
    file.sync_all().unwrap();
    assert_eq!(seek(&file, SeekFrom::Hole(0)), Ok(4 * BLOCK), "written zeros are data");
    fallocate(
        &file,
        FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
        BLOCK - 5,
        BLOCK + 10,
    )
    .unwrap();
    file.sync_all().unwrap();
    assert_eq!(seek(&file, SeekFrom::Hole(0)), Ok(BLOCK));
    assert_eq!(seek(&file, SeekFrom::Data(BLOCK)), Ok(2 * BLOCK));
    assert_eq!(seek(&file, SeekFrom::Data(4 * BLOCK)), Err(Errno::NXIO));
    fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 100 * BLOCK).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 4 * BLOCK);
    fallocate(&file, FallocateFlags::empty(), 0, 5 * BLOCK).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 5 * BLOCK);
    for other in [FallocateFlags::COLLAPSE_RANGE, FallocateFlags::INSERT_RANGE] {
        assert_eq!(fallocate(&file, other, 0, BLOCK), Err(Errno::OPNOTSUPP));
    }
    drop(file);
    mount.umount();
}

#[test]
fn reading_leaves_the_access_time_alone() {
    let (scratch, mount) = mounted();
    fs::write(mount.path("file"), "contents").unwrap();
    let before = fs::metadata(mount.path("file")).unwrap().accessed().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    fs::read(mount.path("file")).unwrap();
    mount.umount();
    let mount = scratch.mount(&[]);
    assert_eq!(fs::metadata(mount.path("file")).unwrap().accessed().unwrap(), before);
    mount.umount();
}

#[test]
fn a_mount_for_reading_refuses_every_change() {
    let (scratch, mount) = mounted();
    fs::write(mount.path("file"), "contents").unwrap();
    mount.umount();
    let mount = scratch.mount(&["--read-only"]);
    assert_eq!(fs::read_to_string(mount.path("file")).unwrap(), "contents");
    assert_eq!(refused(File::create(mount.path("new"))), Some(Errno::ROFS));
    assert_eq!(refused(fs::write(mount.path("file"), "other")), Some(Errno::ROFS));
    assert_eq!(refused(fs::remove_file(mount.path("file"))), Some(Errno::ROFS));
    assert_eq!(
        refused(fs::rename(mount.path("file"), mount.path("other"))),
        Some(Errno::ROFS)
    );
    mount.umount();
}
