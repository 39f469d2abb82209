//! Root in the store of somebody else, who turns its files and folders into links meanwhile: nothing outside is
//! touched.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lmfs_indexer::io::Directory;
use lmfs_tests::{Noise, Scratch, SetOnDrop, lmfs, rounds, run, run_within};
use rustix::fs::{CWD, RenameFlags, renameat_with};

/// Somebody who has no rights here but his own.
const OWNER: u32 = 12345;

/// A store that belongs to the owner, with some files in it; none where only root can make one.
fn store_of_somebody() -> Option<Scratch> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let scratch = Scratch::with_store(&["--model=none", "--parity=5%"]);
    let mount = scratch.mount(&[]);
    for n in 0..20 {
        fs::write(mount.path(format!("file-{n}")), Noise::new(n).bytes(30_000)).unwrap();
    }
    mount.umount();
    fs::set_permissions(scratch.path(""), Permissions::from_mode(0o755)).unwrap();
    let owner = format!("{OWNER}:{OWNER}");
    run(Command::new("chown").arg("-R").arg(owner).arg(scratch.store())).ok();
    Some(scratch)
}

/// What root alone may touch: folders with files, and files under the names that a store's have.
fn victim(scratch: &Scratch) -> PathBuf {
    let victim = scratch.path("victim");
    fs::create_dir(&victim).unwrap();
    for n in 0..100 {
        fs::create_dir(victim.join(format!("d{n}"))).unwrap();
        fs::write(victim.join(format!("d{n}/file")), "precious").unwrap();
    }
    for name in NAMES {
        fs::write(victim.join(name), "precious").unwrap();
    }
    fs::set_permissions(&victim, Permissions::from_mode(0o700)).unwrap();
    victim
}

/// Files of a store, and of folders in it.
const NAMES: [&str; 8] = [
    "lock",
    "control.sock",
    "lmfs.log",
    "check.json",
    "db",
    "conf",
    "mark",
    "mark.new",
];

/// All that can be seen of a tree: names, owners, modes, contents.
fn picture(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let stat = fs::symlink_metadata(&path).unwrap();
            let content = match stat.is_dir() {
                true => {
                    folders.push(path.clone());
                    Vec::new()
                }
                false => fs::read(&path).unwrap(),
            };
            let (uid, mode) = (stat.uid(), stat.mode());
            lines.push(format!("{} {uid} {mode:o} {content:?}", path.display()));
        }
    }
    lines.sort();
    lines
}

/// Swaps names of the store with links out of it, over and over, with the owner's rights.
fn race(store: &Path, victim: &Path, seed: u64, stop: &AtomicBool, swaps: &AtomicU64) {
    let mut noise = Noise::new(seed);
    let bait = store.join("bait");
    let _ = fs::create_dir(&bait);
    for name in ["index", "segments", "models"] {
        let _ = symlink(victim, bait.join(name));
    }
    for name in NAMES {
        let _ = symlink(victim.join(name), bait.join(name));
    }
    while !stop.load(Ordering::Relaxed) {
        let (name, inside) = match noise.below(4) {
            0 => ("index", ""),
            1 => ("segments", ""),
            2 => (["db", "conf", "mark", "mark.new"][noise.below(4) as usize], "index"),
            _ => (
                ["lock", "control.sock", "lmfs.log", "check.json"][noise.below(4) as usize],
                "",
            ),
        };
        let there = store.join(inside).join(name);
        let link = bait.join(name);
        // There and back again, at no moment that anybody could wait for.
        for _ in 0..2 {
            if renameat_with(CWD, &there, CWD, &link, RenameFlags::EXCHANGE).is_ok() {
                swaps.fetch_add(1, Ordering::Relaxed);
            }
            for _ in 0..noise.below(3000) {
                std::hint::spin_loop();
            }
        }
        // What makes root delete: folders where there are none, and no mark.
        if noise.below(20) == 0 {
            let _ = fs::remove_file(store.join("index/mark"));
            for n in 0..20 {
                let _ = fs::create_dir(store.join(format!("index/d{n}")));
            }
        }
    }
}

/// Regression: root's `lmfs rebuild` deleted folders wherever the owner of the store led it.
#[test]
fn root_is_led_nowhere_by_the_owner_of_a_store() {
    let Some(scratch) = store_of_somebody() else { return };
    let (store, victim) = (scratch.store(), victim(&scratch));
    let (before, seed) = (picture(&victim), 42);
    println!("seed {seed}");
    let (stop, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    let time = Duration::from_secs(rounds(8, 120));
    let point = scratch.mountpoint();
    let commands = thread::scope(|scope| {
        scope.spawn(|| {
            let owners = Directory::open(&store).unwrap();
            owners.as_owner(|| race(&store, &victim, seed, &stop, &swaps)).unwrap();
        });
        let _end = SetOnDrop(&stop);
        let begun = Instant::now();
        let mut commands = 0;
        while begun.elapsed() < time {
            let words: &[&[&str]] = &[
                &["rebuild"],
                &["status"],
                &["check", "--repair"],
                &["check", "--data"],
                &["gc"],
                &["mount"],
            ];
            for words in words {
                // It may succeed or be refused, but must end, and say no more than that.
                let mut command = Command::new(lmfs_tests::lmfs_path());
                command.arg(words[0]).arg(&store).args(&words[1..]);
                if words[0] == "mount" {
                    command.arg(&point);
                }
                run_within(&mut command, Duration::from_secs(120));
                if words[0] == "mount" {
                    let _ = lmfs(["umount".as_ref(), point.as_os_str()]);
                    let _ = run(Command::new("umount").arg("-l").arg(&point));
                }
                commands += 1;
            }
        }
        commands
    });
    println!(
        "{commands} commands of root's, {} swaps of the owner's",
        swaps.load(Ordering::Relaxed)
    );
    assert!(swaps.load(Ordering::Relaxed) > 100, "nobody raced");
    assert_eq!(picture(&victim), before, "something outside of the store was touched");
}

/// Regression: a store of somebody else gave him set-user-id programs and devices.
#[test]
fn what_root_mounts_for_somebody_has_no_set_user_id_and_no_devices() {
    let Some(scratch) = store_of_somebody() else { return };
    let point = scratch.mountpoint();
    let flags = || {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let line = table.lines().find(|line| line.split(' ').nth(4) == point.to_str());
        line.unwrap().split(' ').nth(5).unwrap().to_owned()
    };
    let mount = scratch.mount(&[]);
    assert!(flags().contains("nosuid") && flags().contains("nodev"), "{}", flags());
    mount.umount();
    let mount = scratch.mount(&["-o", "suid,dev"]);
    assert!(!flags().contains("nosuid") && !flags().contains("nodev"), "{}", flags());
    mount.umount();
    // And what root made there is the owner's.
    for folder in ["segments", "index"] {
        for file in scratch.store_files(folder) {
            assert_eq!(fs::metadata(&file).unwrap().uid(), OWNER, "{}", file.display());
        }
    }
    run(Command::new("chown").args(["-R", "0:0"]).arg(scratch.store())).ok();
    let mount = scratch.mount(&[]);
    assert!(!flags().contains("nosuid") && !flags().contains("nodev"), "{}", flags());
    mount.umount();
}
