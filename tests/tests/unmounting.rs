//! `lmfs umount` takes away the store's mount that was named, or says why not, and finds the daemon wherever its store
//! is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::Path;
use std::process::Command;

use lmfs_tests::{Finished, Mount, Scratch, lmfs, run};

fn umount(path: &Path) -> Finished {
    lmfs(["umount".as_ref(), path.as_os_str()])
}

fn status(path: &Path) -> Finished {
    lmfs(["status".as_ref(), path.as_os_str(), "--json".as_ref()])
}

fn is_mounted(point: &Path) -> bool {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().any(|line| line.split(' ').nth(4) == point.to_str())
}

/// A mount with a file in it, and where it is mounted.
fn mounted() -> (Scratch, Mount) {
    let scratch = Scratch::with_store(&["--model=none"]);
    let mount = scratch.mount(&[]);
    fs::create_dir(mount.path("folder")).unwrap();
    fs::write(mount.path("folder/file"), "kept").unwrap();
    (scratch, mount)
}

fn assert_kept(scratch: &Scratch) {
    let mount = scratch.mount(&[]);
    assert_eq!(fs::read(mount.path("folder/file")).unwrap(), b"kept");
    mount.umount();
}

/// Regression: of a store, a plain folder or a file it said "nothing is mounted" and succeeded.
#[test]
fn what_is_no_mount_is_an_error_and_a_store_means_its_mount() {
    let (scratch, mount) = mounted();
    let plain = scratch.path("plain");
    fs::create_dir(&plain).unwrap();
    umount(&plain).refused(&["nothing is mounted"]);
    umount(&mount.path("folder")).refused(&["lies in the mount", "lmfs umount"]);
    umount(&mount.path("folder/file")).refused(&["lies in the mount"]);
    umount(Path::new("/proc")).refused(&["not of lmfs"]);
    assert!(is_mounted(&scratch.mountpoint()));
    umount(&scratch.store()).ok();
    assert!(!is_mounted(&scratch.mountpoint()), "the store's mount is meant");
    assert!(mount.wait());
    umount(&scratch.store()).refused(&["is not mounted"]);
    assert_kept(&scratch);
}

/// Regression: the daemon's own mount went instead, and what was named stayed, dead.
#[test]
fn a_bind_mount_takes_only_itself_away() {
    let (scratch, mount) = mounted();
    let (bound, part) = (scratch.path("bound"), scratch.path("part"));
    for (from, to) in [(mount.path(""), &bound), (mount.path("folder"), &part)] {
        fs::create_dir(to).unwrap();
        run(Command::new("mount").arg("--bind").arg(from).arg(to)).ok();
    }
    for (bind, file) in [(&bound, "folder/file"), (&part, "file")] {
        assert_eq!(fs::read(bind.join(file)).unwrap(), b"kept");
        status(bind).ok();
        umount(bind).ok();
        assert!(!is_mounted(bind) && is_mounted(&scratch.mountpoint()));
        assert_eq!(fs::read(mount.path("folder/file")).unwrap(), b"kept");
    }
    mount.umount();
    assert_kept(&scratch);
}

/// The last bind mount is all there is of a mount whose own place is gone: then the daemon ends, and is waited for.
#[test]
fn the_last_bind_mount_ends_the_daemon() {
    let (scratch, mount) = mounted();
    let bound = scratch.path("bound");
    fs::create_dir(&bound).unwrap();
    run(Command::new("mount").arg("--bind").arg(mount.path("")).arg(&bound)).ok();
    run(Command::new("umount").arg(mount.path(""))).ok();
    fs::write(bound.join("folder/late"), "kept, too").unwrap();
    umount(&bound).ok();
    let status = lmfs(["check".as_ref(), scratch.store().as_os_str()]);
    status.ok();
    assert!(mount.wait());
    assert_kept(&scratch);
}

/// A mount may be moved, and another one lie above it.
#[test]
fn the_daemon_takes_its_own_mount_away_wherever_it_is() {
    let (scratch, mount) = mounted();
    let point = scratch.mountpoint();
    run(Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(&point)).ok();
    let refused = umount(&scratch.store());
    run(Command::new("umount").arg(&point)).ok();
    refused.refused(&["hidden below another mount"]);
    assert_eq!(fs::read(mount.path("folder/file")).unwrap(), b"kept");

    // Only what lies in a private mount can be moved.
    let (private, moved) = (scratch.path("private"), scratch.path("private/moved"));
    fs::create_dir(&private).unwrap();
    run(Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(&private)).ok();
    run(Command::new("mount").arg("--make-private").arg(&private)).ok();
    fs::create_dir(&moved).unwrap();
    let moving = run(Command::new("mount").arg("--move").arg(&point).arg(&moved));
    let moves = moving.status.success();
    let done = umount(if moves { &moved } else { &point });
    let left = is_mounted(&moved) || is_mounted(&point);
    run(Command::new("umount").arg("-l").arg(&private)).ok();
    done.ok();
    assert!(!left);
    assert!(mount.wait());
    assert_kept(&scratch);
}

/// Regression: a daemon without the file of its socket was called gone, and one whose store was moved could not be
/// found.
#[test]
fn a_daemon_is_found_without_its_socket_and_with_its_store_elsewhere() {
    let (scratch, mount) = mounted();
    let point = scratch.mountpoint();
    fs::remove_file(scratch.store().join("control.sock")).unwrap();
    for path in [&point, &scratch.store()] {
        let said = status(path).ok().json();
        assert_eq!(said.pointer("/mount/pid").unwrap().as_u64(), Some(mount.pid().into()));
    }
    lmfs([
        "mount".as_ref(),
        scratch.store().as_os_str(),
        scratch.path("").as_os_str(),
    ])
    .refused(&[]);
    let moved = scratch.path("moved");
    fs::rename(scratch.store(), &moved).unwrap();
    for path in [&point, &moved] {
        let said = status(path).ok().json();
        assert_eq!(said.get("store").unwrap().as_str(), moved.to_str());
        lmfs(["pack".as_ref(), path.as_os_str()]).ok();
        lmfs(["gc".as_ref(), path.as_os_str()]).ok();
    }
    // Another store in its old place is none of its business.
    lmfs(["init".as_ref(), "--model=none".as_ref(), scratch.store().as_os_str()]).ok();
    umount(&scratch.store()).refused(&["is not mounted"]);
    mount.umount();
    fs::remove_dir_all(scratch.store()).unwrap();
    fs::rename(&moved, scratch.store()).unwrap();
    assert_kept(&scratch);
}

/// Regression: whoever made a mount of his own that named a store led root's umount of it to the daemon of that store.
#[test]
fn a_mount_is_not_what_its_source_says() {
    let (scratch, mount) = mounted();
    let copy = scratch.path("copy");
    run(Command::new("cp").arg("-a").arg(scratch.store()).arg(&copy)).ok();
    let second = scratch.path("second");
    fs::create_dir(&second).unwrap();
    lmfs(["mount".as_ref(), copy.as_os_str(), second.as_os_str()]).ok();
    // The mount table still names the path, where now the first store lies.
    fs::rename(&copy, scratch.path("away")).unwrap();
    fs::rename(scratch.store(), &copy).unwrap();
    umount(&second).ok();
    assert!(!is_mounted(&second) && is_mounted(&scratch.mountpoint()));
    fs::rename(&copy, scratch.store()).unwrap();
    mount.umount();
    assert_kept(&scratch);
}
