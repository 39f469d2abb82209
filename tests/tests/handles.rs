//! What NFS servers and backup programs remember of a filesystem, file handles and places in directories, means the
//! same when the kernel's cache and the daemon are gone. Needs root, as open_by_handle_at(2) does.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]
#![allow(unsafe_code, reason = "file handles are in no safe interface")]

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use lmfs_tests::{Mount, Scratch, run};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir, SeekFrom, linkat, open, openat, seek};
use rustix::io::Errno;

/// `struct file_handle` with the most bytes that one may have (MAX_HANDLE_SZ).
#[repr(C)]
struct Handle {
    bytes: u32,
    kind: i32,
    data: [u8; 128],
}

fn handle(path: &Path) -> Handle {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let mut handle = Handle {
        bytes: 128,
        kind: 0,
        data: [0; 128],
    };
    let mut mount = 0;
    // SAFETY: the path ends with a zero byte, and the handle has room for as many bytes as it says.
    let result = unsafe {
        let handle = (&raw mut handle).cast();
        libc::name_to_handle_at(libc::AT_FDCWD, path.as_ptr(), handle, &raw mut mount, 0)
    };
    assert_eq!(result, 0, "name_to_handle_at: {}", io::Error::last_os_error());
    handle
}

fn open_handle(mount: &Mount, handle: &mut Handle, flags: i32) -> io::Result<OwnedFd> {
    let root = File::open(mount.path(""))?;
    // SAFETY: the handle is one that name_to_handle_at has made.
    let fd = unsafe { libc::open_by_handle_at(root.as_raw_fd(), (&raw mut *handle).cast(), flags) };
    match fd {
        ..0 => Err(io::Error::last_os_error()),
        // SAFETY: it was just opened, and nobody else knows it.
        fd => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
    }
}

fn is_stale(result: io::Result<OwnedFd>) -> bool {
    matches!(result, Err(error) if Errno::from_io_error(&error) == Some(Errno::STALE))
}

/// Regression: a handle was stale as soon as the kernel had forgotten the inode.
#[test]
fn file_handles_outlive_the_cache_and_the_daemon() {
    let scratch = Scratch::with_store(&["--model=none"]);
    let mount = scratch.mount(&[]);
    fs::create_dir_all(mount.path("a/b")).unwrap();
    fs::write(mount.path("a/b/file"), "contents").unwrap();
    fs::write(mount.path("a/gone"), "").unwrap();
    let ino = fs::metadata(mount.path("a/b/file")).unwrap().ino();
    let [mut file, mut dir, mut gone, mut root] =
        ["a/b/file", "a/b", "a/gone", ""].map(|name| handle(&mount.path(name)));
    mount.umount();

    let mount = scratch.mount(&[]);
    let found = open_handle(&mount, &mut file, libc::O_RDONLY).unwrap();
    let mut text = String::new();
    let mut found = File::from(found);
    found.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), found.metadata().unwrap().ino()), ("contents", ino));
    drop(found);
    let found = open_handle(&mount, &mut dir, libc::O_DIRECTORY).unwrap();
    let path = fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd())).unwrap();
    assert_eq!(
        path,
        fs::canonicalize(mount.path("a/b")).unwrap(),
        "found by way of \"..\""
    );
    assert_eq!(names(&found).len(), 3);
    open_handle(&mount, &mut root, libc::O_DIRECTORY).unwrap();
    drop(found);

    assert!(open_handle(&mount, &mut gone, libc::O_RDONLY).is_ok());
    fs::remove_file(mount.path("a/gone")).unwrap();
    assert!(
        is_stale(open_handle(&mount, &mut gone, libc::O_RDONLY)),
        "of a removed file"
    );
    mount.umount();
    let mount = scratch.mount(&[]);
    assert!(
        is_stale(open_handle(&mount, &mut gone, libc::O_RDONLY)),
        "after a restart, too"
    );
    mount.umount();
}

/// Regression: an inode's number was all that a handle had of it.
#[test]
fn a_file_handle_never_leads_to_another_file_with_the_same_number() {
    let scratch = Scratch::with_store(&["--model=none"]);
    let copy = |from: &str, to: &str| {
        let _ = fs::remove_dir_all(scratch.path(to));
        run(Command::new("cp")
            .arg("-a")
            .arg(scratch.path(from))
            .arg(scratch.path(to)))
        .ok();
    };
    copy("store", "backup");
    let mount = scratch.mount(&[]);
    fs::write(mount.path("first"), "first").unwrap();
    let ino = fs::metadata(mount.path("first")).unwrap().ino();
    let mut first = handle(&mount.path("first"));
    mount.umount();
    copy("backup", "store");
    let mount = scratch.mount(&[]);
    fs::write(mount.path("second"), "second").unwrap();
    assert_eq!(fs::metadata(mount.path("second")).unwrap().ino(), ino);
    assert!(is_stale(open_handle(&mount, &mut first, libc::O_RDONLY)));
    open_handle(&mount, &mut handle(&mount.path("second")), libc::O_RDONLY).unwrap();
    mount.umount();
}

/// The entries from where a directory is read next: each name with the place after it.
fn entries(dir: impl AsFd, most: usize) -> Vec<(u64, String)> {
    let mut buffer = [MaybeUninit::uninit(); 8192];
    let mut dir = RawDir::new(dir, &mut buffer);
    let mut entries = Vec::new();
    while let Some(entry) = dir.next().filter(|_| entries.len() < most) {
        let entry = entry.unwrap();
        let name = entry.file_name().to_str().unwrap().to_owned();
        entries.push((entry.next_entry_cookie(), name));
    }
    entries
}

fn names(dir: impl AsFd) -> Vec<String> {
    entries(dir, usize::MAX).into_iter().map(|(_, name)| name).collect()
}

fn open_dir(mount: &Mount) -> OwnedFd {
    open(mount.path("dir"), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap()
}

/// Regression: seekdir(3) led to other entries, silently, once the directory had been read from its start again, and in
/// every directory that was opened anew.
#[test]
fn a_place_in_a_directory_is_found_again() {
    let scratch = Scratch::with_store(&["--model=none"]);
    let mount = scratch.mount(&[]);
    fs::create_dir(mount.path("dir")).unwrap();
    for i in 0..2000 {
        // Not in the order of names, and with gaps.
        File::create_new(mount.path(format!("dir/{}", (i * 1237) % 2003))).unwrap();
    }
    for i in (0..2003).step_by(7) {
        let _ = fs::remove_file(mount.path(format!("dir/{i}")));
    }
    let all = entries(open_dir(&mount), usize::MAX);
    let places = |of: &dyn Fn() -> OwnedFd| {
        for at in (0..all.len() - 1).rev().step_by(17) {
            let dir = of();
            seek(&dir, SeekFrom::Start(all[at].0)).unwrap();
            assert_eq!(entries(&dir, 1)[0], all[at + 1]);
        }
    };
    let one = open_dir(&mount);
    assert_eq!(entries(&one, 1)[0], all[0]);
    places(&|| one.try_clone().unwrap());
    places(&|| open_dir(&mount));
    drop(one);
    mount.umount();
    let mount = scratch.mount(&[]);
    assert_eq!(entries(open_dir(&mount), usize::MAX), all);
    places(&|| open_dir(&mount));
    mount.umount();
}

/// Regression: `O_TMPFILE` was EOPNOTSUPP.
#[test]
fn a_file_made_without_a_name_gets_one_when_it_is_whole() {
    let scratch = Scratch::with_store(&["--model=none"]);
    let mount = scratch.mount(&[]);
    fs::create_dir(mount.path("dir")).unwrap();
    let tmpfile = |flags| {
        openat(
            CWD,
            mount.path("dir"),
            OFlags::TMPFILE | OFlags::RDWR | flags,
            Mode::RUSR,
        )
    };
    let link = |file: &OwnedFd, name| {
        let open = format!("/proc/self/fd/{}", file.as_raw_fd());
        linkat(CWD, open, CWD, mount.path(name), AtFlags::SYMLINK_FOLLOW)
    };
    let (whole, never) = (tmpfile(OFlags::empty()).unwrap(), tmpfile(OFlags::EXCL).unwrap());
    let dropped = tmpfile(OFlags::empty()).unwrap();
    rustix::io::write(&whole, b"contents").unwrap();
    rustix::io::write(&dropped, b"nothing").unwrap();
    assert_eq!(rustix::fs::fstat(&whole).unwrap().st_nlink, 0);
    assert_eq!(fs::read_dir(mount.path("dir")).unwrap().count(), 0);
    assert_eq!(link(&never, "never"), Err(Errno::NOENT));
    link(&whole, "dir/whole").unwrap();
    rustix::fs::fsync(&whole).unwrap();
    assert_eq!(fs::metadata(mount.path("dir/whole")).unwrap().nlink(), 1);
    // The daemon dies; what has no name goes, what has one stays.
    let inodes = mount.count("/inodes");
    drop((whole, never, dropped));
    mount.kill();
    let mount = scratch.mount(&[]);
    assert_eq!(fs::read_to_string(mount.path("dir/whole")).unwrap(), "contents");
    assert_eq!(mount.count("/inodes"), inodes - 2);
    mount.umount();
}

/// Regression: statx(2) told no time of birth.
#[test]
fn a_file_is_born_once() {
    let scratch = Scratch::with_store(&["--model=none"]);
    let mount = scratch.mount(&[]);
    let before = std::time::SystemTime::now();
    fs::write(mount.path("file"), "first").unwrap();
    let born = |mount: &Mount, name: &str| fs::metadata(mount.path(name)).unwrap().created().unwrap();
    let birth = born(&mount, "file");
    assert!(before <= birth && birth <= std::time::SystemTime::now());
    fs::write(mount.path("file"), "second").unwrap();
    let file = File::open(mount.path("file")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    fs::rename(mount.path("file"), mount.path("renamed")).unwrap();
    assert_eq!(file.metadata().unwrap().created().unwrap(), birth);
    drop(file);
    mount.umount();
    let mount = scratch.mount(&[]);
    assert_eq!(born(&mount, "renamed"), birth);
    let modified = fs::metadata(mount.path("renamed")).unwrap().modified().unwrap();
    assert_eq!(modified, std::time::UNIX_EPOCH);
    assert!(born(&mount, "") < birth, "the root is older");
    mount.umount();
}

/// Regression: fstat(2) of an `O_PATH` descriptor said ESTALE once the file's last other descriptor was closed.
#[test]
fn an_o_path_descriptor_shows_a_removed_file() {
    let scratch = Scratch::with_store(&["--model=none"]);
    let mount = scratch.mount(&[]);
    for was_open in [false, true] {
        fs::write(mount.path("file"), "data").unwrap();
        let path = open(mount.path("file"), OFlags::PATH, Mode::empty()).unwrap();
        let file = was_open.then(|| File::open(mount.path("file")).unwrap());
        fs::remove_file(mount.path("file")).unwrap();
        drop(file);
        // The kernel asks again when it has let go of the last descriptor that could read.
        lmfs_tests::until("the file is deleted", || mount.count("/open_files") == 0);
        let stat = rustix::fs::fstat(&path).unwrap();
        assert_eq!((stat.st_nlink, stat.st_size), (0, 4));
    }
    mount.umount();
}
