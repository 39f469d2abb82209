//! pjdfstest: what POSIX says of every call, with other users, with all its features that Linux has.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use lmfs_tests::{Finished, Scratch, run};

use super::{config, finish, store, tester};

/// Skipped because they remount the filesystem read-only, and so run one by one.
const REMOUNTING: [&str; 13] = [
    "chmod::erofs_named",
    "chown::erofs_named",
    "chown::lchown::erofs_named",
    "link::erofs_named",
    "mkdir::erofs_new_file",
    "mkfifo::erofs_new_file",
    "open::erofs_named",
    "open::erofs_new_file",
    "rename::erofs_named",
    "rmdir::erofs_named",
    "symlink::erofs_new_file",
    "truncate::erofs_named",
    "unlink::erofs_named",
];

/// Skipped for good; docs/TESTING.md says why.
const SKIPPED: [&str; 1] = ["link::link_count_max"];

#[test]
fn pjdfstest_passes_all_but_one_test_that_is_skipped() {
    let scratch = store();
    // Its unprivileged users have to reach the mount.
    fs::set_permissions(scratch.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    let mount = scratch.mount(&["-o", "allow_other"]);
    let second = SecondFilesystem::mount(&scratch);
    let pjdfstest = |config: &Path| {
        let mut command = tester("pjdfstest");
        command
            .arg("-c")
            .arg(config)
            .arg("-p")
            .arg(mount.path(""))
            .arg("-s")
            .arg(&second.0);
        command
    };

    let settings = config("pjdfstest.toml");
    let finished = run(&mut pjdfstest(&settings)).ok();
    let (passed, skipped) = results(&finished);
    let expected: BTreeSet<&str> = REMOUNTING.into_iter().chain(SKIPPED).collect();
    assert_eq!(skipped, expected, "skipped are others than expected: {finished}");
    assert!(passed.len() > 380, "it ran next to nothing: {finished}");

    let settings = fs::read_to_string(settings).unwrap();
    let remounting = scratch.path("remount.toml");
    fs::write(
        &remounting,
        settings.replace("allow_remount = false", "allow_remount = true"),
    )
    .unwrap();
    let path = mount_without_helpers(&scratch);
    for name in REMOUNTING {
        let finished = run(pjdfstest(&remounting)
            .env("PATH", &path)
            .arg("-e")
            .arg(format!("pjdfstest::tests::{name}")))
        .ok();
        let (passed, _) = results(&finished);
        assert_eq!(passed, BTreeSet::from([name]), "{finished}");
    }
    println!(
        "pjdfstest: {} passed, {} skipped",
        passed.len() + REMOUNTING.len(),
        SKIPPED.len()
    );
    finish(&scratch, mount);
}

/// The tests that passed, and those that were skipped.
fn results(finished: &Finished) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let ended = |word: &str| {
        let lines = finished.stdout.lines();
        lines.filter_map(|line| Some(line.strip_suffix(word)?.trim())).collect()
    };
    (ended(" ok"), ended(" skipped"))
}

/// A PATH on which `mount` is `mount -i`: mount(8) would hand a remount of fuse.lmfs to mount.fuse, which knows no
/// lmfs.
fn mount_without_helpers(scratch: &Scratch) -> std::ffi::OsString {
    let bin = scratch.path("bin");
    fs::create_dir(&bin).unwrap();
    fs::write(bin.join("mount"), "#!/bin/sh\nPATH=${PATH#*:} exec mount -i \"$@\"\n").unwrap();
    fs::set_permissions(bin.join("mount"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut path = bin.into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    path
}

/// Another filesystem, for EXDEV.
struct SecondFilesystem(std::path::PathBuf);

impl SecondFilesystem {
    fn mount(scratch: &Scratch) -> Self {
        let at = scratch.path("second");
        fs::create_dir(&at).unwrap();
        run(Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&at)).ok();
        Self(at)
    }
}

impl Drop for SecondFilesystem {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
