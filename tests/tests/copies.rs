//! What is the same is stored once: copies within a mount, copies from outside, and what becomes of them when one of
//! them changes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use lmfs_tests::{Mount, Noise, Scratch, copy_in, data, diff, run};

/// Bytes of all files of a part of the store's folder.
fn folder(scratch: &Scratch, name: &str) -> u64 {
    let files = scratch.store_files(name);
    files.iter().map(|path| path.metadata().map_or(0, |m| m.len())).sum()
}

fn cp(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-r").arg(from).arg(to)).ok();
}

fn sync(mount: &Mount) {
    File::open(mount.path("")).unwrap().sync_all().unwrap();
}

#[test]
fn a_copy_of_a_large_file_takes_no_room() {
    const LEN: usize = 100_000_000;
    let scratch = Scratch::with_store(&[]);
    let mount = scratch.mount(&["--pack", "off"]);
    let bytes = Noise::new(7).bytes(LEN);
    fs::write(mount.path("original"), &bytes).unwrap();
    mount.pack(&[]);
    mount.umount();
    let (log, index) = (folder(&scratch, "segments"), folder(&scratch, "index"));

    let mount = scratch.mount(&["--pack", "off"]);
    let begun = Instant::now();
    fs::copy(mount.path("original"), mount.path("copy")).unwrap();
    println!("copied {LEN} bytes in {:?}", begun.elapsed());
    sync(&mount);
    assert_eq!(mount.count("/blocks/raw"), (LEN as u64).div_ceil(16 << 10));
    assert_eq!(mount.count("/shared_bytes"), mount.count("/stored_bytes"));
    assert!(fs::read(mount.path("copy")).unwrap() == bytes);
    mount.umount();
    let grown = folder(&scratch, "segments") - log;
    println!(
        "the log grew by {grown} bytes of {log}, the index from {index} to {}",
        folder(&scratch, "index")
    );
    assert!(grown < log / 1000, "{grown} bytes more");

    // Each of them is whole without the other, also in an index made anew.
    let mount = scratch.mount(&["--pack", "off"]);
    fs::remove_file(mount.path("original")).unwrap();
    mount.umount();
    scratch.lmfs("gc", &[]).ok();
    fs::remove_dir_all(scratch.store().join("index")).unwrap();
    let mount = scratch.mount(&["--pack", "off"]);
    assert!(fs::read(mount.path("copy")).unwrap() == bytes);
    assert_eq!(mount.count("/shared_bytes"), 0);
    mount.umount();
    scratch.lmfs("check", &["--data"]).ok();
}

#[test]
fn ten_copies_of_a_tree_take_the_room_of_one() {
    let scratch = Scratch::with_store(&["--model", "none"]);
    let original = scratch.path("original");
    fs::create_dir(&original).unwrap();
    let alice = fs::read(data("text/alice29.txt")).unwrap();
    fs::write(original.join("alice.txt"), &alice[..40_000]).unwrap();
    fs::write(original.join("short.txt"), &alice[..500]).unwrap();
    fs::write(original.join("noise.bin"), Noise::new(1).bytes(150_001)).unwrap();
    File::create(original.join("hole")).unwrap().set_len(100_000).unwrap();
    let mount = scratch.mount(&[]);
    copy_in(&original, &mount.path("0"));
    mount.pack(&[]);
    let (one, inodes) = (mount.count("/stored_bytes"), mount.count("/inodes"));
    // Some of them within the mount, some from outside, which the packer finds.
    for n in 1..10 {
        let from = if n % 2 == 0 { mount.path("0") } else { original.clone() };
        cp(&from, &mount.path(n.to_string()));
    }
    sync(&mount);
    mount.pack(&[]);
    assert!(mount.count("/stored_bytes") <= one, "{one}: {:#}", mount.status());
    assert!(mount.count("/inodes") > 9 * (inodes - 1));
    assert!(mount.count("/shared_bytes") >= 9 * one);
    for n in 0..10 {
        diff(&original, &mount.path(n.to_string()));
    }
    let stat = run(Command::new("du").args(["-s", "-B1"]).arg(mount.path("0"))).ok();
    println!("du of one copy: {}", stat.stdout.trim());

    // A change of one is none of another: written, cut, punched, deleted.
    let alice = |n: u32| mount.path(n.to_string()).join("alice.txt");
    let text = fs::read(alice(0)).unwrap();
    let mut file = File::options().write(true).open(alice(1)).unwrap();
    file.seek(SeekFrom::Start(20_000)).unwrap();
    file.write_all(b"another story").unwrap();
    file.sync_all().unwrap();
    drop(file);
    File::options()
        .write(true)
        .open(alice(2))
        .unwrap()
        .set_len(20_000)
        .unwrap();
    fs::remove_dir_all(mount.path("3")).unwrap();
    mount.pack(&[]);
    let mut changed = text.clone();
    changed[20_000..20_013].copy_from_slice(b"another story");
    assert!(fs::read(alice(1)).unwrap() == changed);
    assert!(fs::read(alice(2)).unwrap() == text[..20_000]);
    mount.umount();
    scratch.lmfs("gc", &[]).ok();
    scratch.lmfs("check", &["--data"]).ok();
    scratch.lmfs("rebuild", &[]).ok();
    let mount = scratch.mount(&["--read-only"]);
    for n in [0, 4, 5, 6, 7, 8, 9] {
        diff(&original, &mount.path(n.to_string()));
    }
    mount.umount();
}
