//! A store that can be read and not written: a DVD, a snapshot, a disk that the kernel remounted read-only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lmfs_tests::{Scratch, diff, lmfs, run};

/// A folder that is read-only while this lives: bind-mounted over itself.
struct ReadOnly(PathBuf);

impl ReadOnly {
    fn make(folder: &Path) -> Self {
        run(Command::new("mount").arg("--bind").arg(folder).arg(folder)).ok();
        let made = Self(folder.to_path_buf());
        run(Command::new("mount").args(["-o", "remount,bind,ro"]).arg(folder)).ok();
        assert!(fs::write(folder.join("new"), b"").is_err());
        made
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").arg("-l").arg(&self.0));
    }
}

/// The lock, the log and the control socket all wanted to be written.
fn everything_that_reads_works(scratch: &Scratch, original: &Path) {
    let (store, point) = (scratch.store(), scratch.mountpoint());
    let status = scratch.lmfs("status", &["--fail", "--json"]).ok().json();
    assert!(status.pointer("/logical_bytes").unwrap().as_u64() > Some(100_000));
    let checked = scratch.lmfs("check", &["--data"]).ok();
    assert_eq!(checked.stderr.matches("warn").count(), 0, "{checked}");

    // What wants to write says that it cannot.
    let mount = |options: &[&str]| {
        let paths = ["mount".as_ref(), store.as_os_str(), point.as_os_str()];
        lmfs(paths.into_iter().chain(options.iter().map(std::ffi::OsStr::new)))
    };
    mount(&[]).refused(&["-o ro"]);
    for command in ["gc", "pack", "rebuild"] {
        scratch.lmfs(command, &[]).refused(&["read-only"]);
    }
    scratch.lmfs("check", &["--repair"]).refused(&["read-only"]);

    // In the background, with a log that cannot be written, and a control socket that lies elsewhere.
    let mounted = mount(&["-o", "ro"]).ok();
    assert!(mounted.stderr.contains("log"), "{mounted}");
    diff(original, &point.join("copy"));
    for target in [&store, &point] {
        let status = lmfs(["status".as_ref(), target.as_os_str(), "--json".as_ref()])
            .ok()
            .json();
        assert_eq!(status.pointer("/mount/read_only").unwrap(), true);
    }
    lmfs(["check".as_ref(), "--data".as_ref(), point.as_os_str()]).ok();
    let second = scratch.path("second");
    let _ = fs::create_dir(&second);
    lmfs(["mount".as_ref(), "-oro".as_ref(), store.as_os_str(), second.as_os_str()]).refused(&["in use by"]);
    lmfs(["umount".as_ref(), point.as_os_str()]).ok();
    lmfs(["status".as_ref(), store.as_os_str()]).ok();

    // In the foreground.
    let mount = scratch.mount(&["-o", "ro"]);
    diff(original, &mount.path("copy"));
    mount.umount();
}

#[test]
fn a_store_on_read_only_media_is_checked_mounted_and_unmounted() {
    let (scratch, original) = Scratch::filled(&[]);
    let media = ReadOnly::make(&scratch.store());
    everything_that_reads_works(&scratch, &original);
    drop(media);
    // Copied without it.
    fs::remove_file(scratch.store().join("lock")).unwrap();
    let media = ReadOnly::make(&scratch.store());
    everything_that_reads_works(&scratch, &original);
    drop(media);
    let mount = scratch.mount(&[]);
    diff(&original, &mount.path("copy"));
    mount.umount();
}
