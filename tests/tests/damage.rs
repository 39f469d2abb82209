//! Bits that flip and tails that go missing on the disk below a store.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::Path;

use lmfs_tests::{Noise, Scratch, diff, rounds};

fn flip(path: &Path, at: u64, bit: u64) {
    let mut bytes = fs::read(path).unwrap();
    *bytes.get_mut(at as usize).unwrap() ^= 1 << bit;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_flipped_bit_in_a_segment_is_contained_or_refused() {
    let (scratch, original) = Scratch::filled(&["--block-size=4KiB"]);
    let mut noise = Noise::new(3);
    let (mut contained, mut refused, mut harmless) = (0, 0, 0);
    let rounds = rounds(12, 300);
    for round in 0..rounds {
        let segments = scratch.store_files("segments");
        let path = segments
            .get(noise.below(segments.len() as u64) as usize)
            .unwrap()
            .clone();
        let good = fs::read(&path).unwrap();
        let at = noise.below(good.len() as u64);
        flip(&path, at, noise.below(8));
        let what = format!("round {round}, byte {at} of {}", path.display());
        let checked = scratch.lmfs("check", &["--data"]);
        let code = checked.status.code();
        assert!(matches!(code, Some(0..=2)), "{what}: {checked}");

        let mounted = lmfs_tests::lmfs([
            "mount".as_ref(),
            "--pack=off".as_ref(),
            scratch.store().as_os_str(),
            scratch.mountpoint().as_os_str(),
        ]);
        if mounted.status.success() {
            let found = read_all(&original, &scratch.path("mnt/copy"));
            lmfs_tests::lmfs(["umount".as_ref(), scratch.mountpoint().as_os_str()]).ok();
            let (right, failed) = found.unwrap_or_else(|wrong| panic!("{what}: wrong bytes in {wrong}"));
            assert!(right > 20, "{what}: only {right} files are readable, {failed} are not");
            if failed > 0 {
                contained += 1;
                assert_eq!(code, Some(1), "{what}: check has to find what reading finds: {checked}");
            } else {
                harmless += 1;
            }
        } else {
            mounted.refused(&["the log is damaged at segment"]);
            refused += 1;
        }
        fs::write(&path, good).unwrap();
        // The index was made from the flipped log: make it anew.
        let _ = fs::remove_dir_all(scratch.store().join("index"));
    }
    println!("{rounds} flips: {contained} contained to a range, {refused} refused, {harmless} without effect");
    scratch.lmfs("check", &["--data"]).ok();
    let mount = scratch.mount(&[]);
    diff(&original, &mount.path("copy"));
    mount.umount();
}

/// Reads every file of the copy: how many are right, how many give an error; `Err` names one with wrong bytes.
fn read_all(original: &Path, copy: &Path) -> Result<(u32, u32), String> {
    let (mut right, mut failed) = (0, 0);
    let mut folders = vec![original.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let kind = path.symlink_metadata().unwrap().file_type();
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                let other = copy.join(path.strip_prefix(original).unwrap());
                match fs::read(&other) {
                    Ok(bytes) if bytes == fs::read(&path).unwrap() => right += 1,
                    Ok(_) => return Err(other.display().to_string()),
                    Err(_) => failed += 1,
                }
            }
        }
    }
    Ok((right, failed))
}

#[test]
fn a_damaged_index_is_made_anew() {
    let (scratch, original) = Scratch::filled(&["--block-size=4KiB"]);
    let mut noise = Noise::new(5);
    for round in 0..rounds(6, 100) {
        let index = scratch.store().join("index");
        fs::create_dir_all(&index).unwrap();
        let files = scratch.store_files("index");
        let files: Vec<_> = files
            .iter()
            .filter(|path| fs::metadata(path).unwrap().len() > 0)
            .collect();
        if files.is_empty() {
            // An index that is kept in memory leaves nothing to damage but the folder.
            fs::write(index.join("db"), noise.bytes(5000)).unwrap();
        } else {
            let path = files.get(noise.below(files.len() as u64) as usize).unwrap();
            let len = fs::metadata(path).unwrap().len();
            if round % 2 == 0 {
                flip(path, noise.below(len), noise.below(8));
            } else {
                let file = fs::File::options().write(true).open(path).unwrap();
                file.set_len(noise.below(len)).unwrap();
            }
        }
        let mount = scratch.mount(&[]);
        diff(&original, &mount.path("copy"));
        fs::write(mount.path(format!("after-{round}")), "still writable").unwrap();
        mount.umount();
    }
    scratch.lmfs("check", &["--data"]).ok();
}

#[test]
fn a_torn_tail_of_the_log_loses_nothing_older() {
    let (scratch, original) = Scratch::filled(&["--block-size=4KiB"]);
    let mut noise = Noise::new(13);
    for round in 0..rounds(4, 50) {
        let mount = scratch.mount(&[]);
        diff(&original, &mount.path("copy"));
        // What was there when the store was opened is durable; a crash can only tear what came after.
        let last = scratch.store_files("segments").pop().unwrap();
        let durable = fs::metadata(&last).unwrap().len();
        fs::write(mount.path(format!("later-{round}")), noise.bytes(100_000)).unwrap();
        mount.kill();
        let len = fs::metadata(&last).unwrap().len();
        let file = fs::File::options().write(true).open(&last).unwrap();
        file.set_len(len - noise.below(300.min(len - durable + 1))).unwrap();
    }
    let mount = scratch.mount(&[]);
    diff(&original, &mount.path("copy"));
    mount.umount();
    scratch.lmfs("check", &["--data"]).ok();
}
