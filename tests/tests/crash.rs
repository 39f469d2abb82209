//! `kill -9` of the daemon while it copies and while it packs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use lmfs_tests::{Noise, Scratch, copy_in, data, diff, happens, lmfs_path, rounds, run, small_tree, until};

/// What a writer was promised: fsync returned for a file with these bytes.
type Promises = Mutex<Vec<(PathBuf, Vec<u8>)>>;

#[test]
fn everything_fsynced_is_there_after_a_kill_in_the_middle_of_copying() {
    let scratch = Scratch::with_store(&[]);
    let promises = Promises::default();
    let rounds = rounds(5, 50);
    for round in 0..rounds {
        let mount = scratch.mount(&[]);
        let before = promises.lock().unwrap().len();
        std::thread::scope(|scope| {
            for writer in 0..2 {
                let (root, promises) = (mount.path(""), &promises);
                scope.spawn(move || copy_and_fsync(&root, round, writer, promises));
            }
            // In the middle: some are promised, more are under way. The writers end with the mount, whatever happened.
            let enough = happens(|| promises.lock().unwrap().len() >= before + 12);
            mount.kill();
            assert!(enough, "nothing is promised");
        });
        let promised = promises.lock().unwrap();
        let mount = scratch.mount(&[]);
        for (name, bytes) in promised.iter() {
            let found =
                fs::read(mount.path(name)).unwrap_or_else(|error| panic!("round {round}, {}: {error}", name.display()));
            assert!(
                &found == bytes,
                "round {round}: {} has other bytes than were synced",
                name.display()
            );
        }
        mount.umount();
        scratch.lmfs("check", &["--data"]).ok();
    }
    println!(
        "{} files promised and kept in {rounds} rounds",
        promises.lock().unwrap().len()
    );
}

/// Writes files, syncs each and notes the promise, until the mount is gone.
fn copy_and_fsync(root: &Path, round: u64, writer: u64, promises: &Promises) {
    let mut noise = Noise::new(round * 2 + writer);
    let text = fs::read(data("text/alice29.txt")).unwrap();
    let folder = PathBuf::from(format!("round-{round}-{writer}"));
    if fs::create_dir(root.join(&folder)).is_err() {
        return;
    }
    for n in 0..10_000 {
        let name = folder.join(format!("file-{n}"));
        let begin = noise.below(100_000) as usize;
        let bytes = text.get(begin..begin + noise.below(50_000) as usize).unwrap().to_vec();
        let written = File::create(root.join(&name)).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_all()
        });
        // The folder of a file that is fsynced needs an fsync of its own to keep the name on other filesystems; here a
        // file's fsync covers everything before it, and docs/SEMANTICS.md says so.
        match written {
            Ok(()) => promises.lock().unwrap().push((name, bytes)),
            Err(_) => return,
        }
    }
}

#[test]
fn nothing_is_lost_by_a_kill_in_the_middle_of_packing() {
    let scratch = Scratch::with_store(&["--block-size=4KiB"]);
    let original = scratch.path("original");
    small_tree(&original);
    let mount = scratch.mount(&[]);
    copy_in(&original, &mount.path("copy"));
    run(Command::new("sync").arg("-f").arg(mount.path("copy"))).ok();

    let mut packing = Command::new(lmfs_path());
    packing
        .arg("pack")
        .arg(mount.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut packing = packing.spawn().unwrap();
    let queue = mount.count("/queue_bytes");
    until("something is packed", || {
        let ended = packing.try_wait().unwrap();
        assert!(ended.is_none(), "packing ended before it could be interrupted");
        mount.count("/queue_bytes") < queue
    });
    mount.kill();
    assert!(
        !packing.wait().unwrap().success(),
        "a client whose daemon died has failed"
    );

    let mount = scratch.mount(&[]);
    diff(&original, &mount.path("copy"));
    let left = mount.count("/queue_bytes");
    assert!(left < queue, "what was packed before the kill stays packed");
    assert!(left > 0, "and it was killed in the middle");
    mount.pack(&[]);
    assert_eq!(mount.count("/queue_bytes"), 0);
    diff(&original, &mount.path("copy"));
    mount.umount();
    scratch.lmfs("check", &["--data"]).ok();
}

#[test]
fn an_unmounted_store_can_be_killed_in_the_middle_of_packing() {
    let scratch = Scratch::with_store(&["--block-size=4KiB"]);
    let original = scratch.path("original");
    small_tree(&original);
    let mount = scratch.mount(&[]);
    copy_in(&original, &mount.path("copy"));
    mount.umount();
    let log_bytes = || -> u64 {
        let files = scratch.store_files("segments").into_iter();
        files.map(|file| fs::metadata(file).unwrap().len()).sum()
    };
    let before = log_bytes();
    let mut packing = Command::new(lmfs_path());
    packing
        .arg("pack")
        .arg(scratch.store())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut packing = packing.spawn().unwrap();
    until("packed blocks are written", || {
        let ended = packing.try_wait().unwrap();
        assert!(ended.is_none(), "packing ended before it could be interrupted");
        log_bytes() > before + 5000
    });
    packing.kill().unwrap();
    assert!(!packing.wait().unwrap().success());
    let status = scratch.lmfs("status", &["--json"]).ok().json();
    let left = status.get("queue_bytes").and_then(serde_json::Value::as_u64);
    assert!(left > Some(0), "killed in the middle: {status:#}");

    scratch.lmfs("check", &["--data"]).ok();
    let mount = scratch.mount(&[]);
    diff(&original, &mount.path("copy"));
    mount.umount();
}
