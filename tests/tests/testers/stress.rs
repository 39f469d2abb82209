//! stress-ng: what else programs do to files, from many processes at once.

use std::process::Command;
use std::time::Duration;

use lmfs_tests::{rounds, run_within};

use super::{finish, store};

/// The stressors of the class "filesystem" (and some of others) that use the files of a folder.
const STRESSORS: [&str; 40] = [
    "access",
    "chdir",
    "chmod",
    "chown",
    "copy-file",
    "dentry",
    "dir",
    "dirdeep",
    "dirmany",
    "dnotify",
    "fallocate",
    "fanotify",
    "fcntl",
    "filename",
    "flock",
    "fpunch",
    "fstat",
    "getdent",
    "handle",
    "hdd",
    "inotify",
    "iomix",
    "io",
    "lease",
    "link",
    "locka",
    "lockf",
    "lockofd",
    "mknod",
    "msync",
    "open",
    "readahead",
    "rename",
    "revio",
    "seek",
    "symlink",
    "sync-file",
    "touch",
    "utime",
    "xattr",
];

/// Sizes of files, far below the usual gigabyte (of copy-file the least it takes).
const SIZES: [&str; 14] = [
    "--copy-file-bytes",
    "128m",
    "--fallocate-bytes",
    "64m",
    "--hdd-bytes",
    "16m",
    "--iomix-bytes",
    "16m",
    "--readahead-bytes",
    "16m",
    "--sync-file-bytes",
    "16m",
    "--msync-bytes",
    "16m",
];

/// Its exit status when something is not there to be stressed.
const NOT_IMPLEMENTED: i32 = 4;

#[test]
fn stress_ng_finds_no_fault() {
    let seconds = rounds(1, 20);
    let scratch = store();
    let mount = scratch.mount(&["--cache-size=1MiB", "--pack=idle", "--pack-idle=1"]);
    let mut missing = Vec::new();
    for stressor in STRESSORS {
        let mut command = Command::new("stress-ng");
        command.args([
            &format!("--{stressor}"),
            "2",
            "--verify",
            "--oomable",
            "-t",
            &format!("{seconds}s"),
        ]);
        command.args(SIZES).arg("--temp-path").arg(mount.path(""));
        let finished = run_within(&mut command, Duration::from_secs(120 + 5 * seconds));
        match finished.status.code() {
            Some(0) => println!("stress-ng: {stressor} passed in {seconds} s"),
            Some(NOT_IMPLEMENTED) => missing.push(stressor),
            _ => panic!("{finished}"),
        }
    }
    println!("stress-ng: not on this machine: {missing:?}");
    assert!(missing.len() <= 3, "too little was stressed: without {missing:?}");
    finish(&scratch, mount);
}
