//! Very many small files in one directory of a mount: a million in `make soak`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::HashSet;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use lmfs_tests::{Mount, Scratch, lmfs_path, rounds, run_within};

/// Threads that make files.
const MAKERS: u64 = 4;

fn name(number: u64) -> String {
    // In no order of names.
    format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn contents(number: u64) -> String {
    format!("{number:0100}\n")
}

/// Runs a step and prints how long it took.
fn timed<T>(step: &str, run: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let result = run();
    println!("{step}: {:.1} s", begun.elapsed().as_secs_f64());
    result
}

fn make(mount: &Mount, files: u64) {
    std::thread::scope(|scope| {
        for maker in 0..MAKERS {
            scope.spawn(move || {
                for number in (maker..files).step_by(MAKERS as usize) {
                    fs::write(mount.path("many").join(name(number)), contents(number)).unwrap();
                }
            });
        }
    });
}

/// All names are listed, each once, and files here and there have their contents.
fn look(mount: &Mount, files: u64) {
    let listed = fs::read_dir(mount.path("many")).unwrap();
    let mut names = HashSet::new();
    for entry in listed {
        let name = entry.unwrap().file_name();
        assert!(names.insert(name.clone()), "{name:?} is listed twice");
    }
    assert_eq!(names.len() as u64, files);
    for number in (0..files).step_by(1 + files as usize / 1000) {
        let path = mount.path("many").join(name(number));
        assert_eq!(fs::read_to_string(path).unwrap(), contents(number));
    }
}

fn check(scratch: &Scratch) {
    let mut check = Command::new(lmfs_path());
    check.arg("check").arg("--data").arg(scratch.store());
    run_within(&mut check, Duration::from_secs(1800)).ok();
}

#[test]
fn very_many_files_are_made_listed_checked_and_mounted_again() {
    let files = rounds(3_000, 1_000_000);
    let scratch = Scratch::with_store(&["--model=none"]);
    let mount = scratch.mount(&[]);
    fs::create_dir(mount.path("many")).unwrap();
    println!("{files} files");
    timed("make", || make(&mount, files));
    timed("list", || look(&mount, files));
    timed("unmount", || mount.umount());
    timed("check, data and all", || check(&scratch));

    let mount = timed("mount", || scratch.mount(&[]));
    let index = mount.count("/index_bytes");
    println!("{} bytes a file in the index", index / files);
    assert!(index / files < 400, "the index takes {index} bytes");
    timed("list, cold", || look(&mount, files));
    fs::write(mount.path("one more"), "and then the power fails").unwrap();
    fs::File::open(mount.path("one more")).unwrap().sync_all().unwrap();
    mount.kill();
    let mount = timed("mount after a crash", || scratch.mount(&[]));
    timed("list, after the crash", || look(&mount, files));
    assert!(mount.path("one more").is_file());
    mount.umount();
}
