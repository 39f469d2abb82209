//! A store learns dictionaries from its files, keeps them through all that can happen to it, and says what their loss
//! costs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use lmfs_tests::{Noise, Scratch, diff};

const FILES: u64 = 60;

/// Records of which no two are equal and all are alike: `FILES` of them, and something else beside them.
fn fill(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let mut noise = Noise::new(17);
    for n in 0..FILES {
        let mut text = String::new();
        while text.len() < 10_000 {
            let kind = ["Einlagerung", "Umlagerung", "Auslieferung", "Ruecknahme"];
            let kind = kind.get(noise.below(4) as usize).unwrap();
            let (place, amount, cents) = (noise.below(100_000), noise.below(500), noise.below(100));
            writeln!(
                text,
                "{{[{place:06}]}};{kind};gebucht von Sachbearbeitung;Betrag={amount}.{cents:02} EUR;;"
            )
            .unwrap();
        }
        fs::write(folder.join(format!("{n}.wms")), text).unwrap();
    }
    fs::write(folder.join("note.txt"), "something else\n").unwrap();
}

/// The offsets in a segment file where a copy of the dictionary begins.
fn copies(segment: &[u8], id: &[u8]) -> Vec<usize> {
    let starts = segment.windows(18).enumerate();
    let found = starts.filter(|(_, bytes)| bytes.first() == Some(&0xd7) && bytes.get(14..) == Some(id));
    found.map(|(at, _)| at).collect()
}

/// Flips a bit in so many copies of a dictionary.
fn damage(scratch: &Scratch, id: &str, most: usize) -> usize {
    let id = u32::from_str_radix(id, 16).unwrap().to_be_bytes();
    let mut done = 0;
    for path in scratch.store_files("segments") {
        let mut bytes = fs::read(&path).unwrap();
        for at in copies(&bytes, &id) {
            if done < most {
                *bytes.get_mut(at + 100).unwrap() ^= 1;
                done += 1;
            }
        }
        fs::write(&path, bytes).unwrap();
    }
    done
}

#[test]
fn files_of_a_kind_are_learned_and_damage_to_what_was_learned_is_named_and_mended() {
    let scratch = Scratch::with_store(&["--model=none", "--block-size=4KiB"]);
    let original = scratch.path("original");
    fill(&original);

    let mount = scratch.mount(&[]);
    lmfs_tests::copy_in(&original, &mount.path("copy"));
    let packed = mount.pack(&["--json"]).json();
    assert_eq!(packed["dictionaries_learned"], 1, "{packed:#}");
    diff(&original, &mount.path("copy"));
    let status = mount.status();
    let dictionary = &status["dictionaries"][0];
    let id = dictionary["id"].as_str().unwrap().to_owned();
    assert_eq!(dictionary["kind"], "wms");
    assert!(dictionary["blocks"].as_u64().unwrap() >= FILES);
    let stored = status["stored_bytes"].as_u64().unwrap() + dictionary["stored_bytes"].as_u64().unwrap();
    let plain: u64 = status["logical_bytes"].as_u64().unwrap();
    println!("{plain} bytes in {stored}: {dictionary:#}");
    let shown = lmfs_tests::lmfs(["stat".as_ref(), mount.path("copy/7.wms").as_os_str()]).ok();
    assert!(shown.stdout.contains(&id), "{shown}");
    mount.umount();
    let shown = scratch.lmfs("status", &[]).ok();
    assert!(shown.stdout.contains(&id), "{shown}");

    // Without the index, the log says where it lies.
    fs::remove_dir_all(scratch.store().join("index")).unwrap();
    scratch.lmfs("rebuild", &[]).ok();
    scratch.lmfs("check", &["--data"]).ok();
    let mount = scratch.mount(&[]);
    diff(&original, &mount.path("copy"));
    mount.umount();

    // One copy is enough to read, and to make the other anew.
    assert_eq!(damage(&scratch, &id, 1), 1);
    let found = scratch.lmfs("check", &[]);
    assert_eq!(found.status.code(), Some(1), "{found}");
    assert!(
        found.stdout.contains(&id) && found.stdout.contains("--repair"),
        "{found}"
    );
    let mount = scratch.mount(&[]);
    diff(&original, &mount.path("copy"));
    mount.umount();
    let mended = scratch.lmfs("check", &["--repair"]);
    assert_eq!(mended.status.code(), Some(3), "{mended}");
    scratch.lmfs("check", &["--data"]).ok();

    // Without any copy, the check names the files that cannot be read, and only those cannot.
    assert!(damage(&scratch, &id, 9) >= 2);
    for args in [&[][..], &["--data"]] {
        let found = scratch.lmfs("check", args);
        assert_eq!(found.status.code(), Some(1), "{found}");
        for n in 0..FILES {
            let path = format!("/copy/{n}.wms (inode");
            assert!(found.stdout.contains(&path), "{path}: {found}");
        }
        assert!(!found.stdout.contains("note.txt"), "{found}");
    }
    let mount = scratch.mount(&[]);
    let error = fs::read(mount.path("copy/3.wms")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(5), "{error}");
    assert_eq!(fs::read(mount.path("copy/note.txt")).unwrap(), b"something else\n");
    // Written anew, a file is whole again.
    fs::copy(original.join("3.wms"), mount.path("copy/3.wms")).unwrap();
    assert_eq!(
        fs::read(original.join("3.wms")).unwrap(),
        fs::read(mount.path("copy/3.wms")).unwrap()
    );
    mount.umount();
}

#[test]
fn a_store_that_is_killed_while_it_learns_loses_nothing() {
    let scratch = Scratch::with_store(&["--model=none", "--block-size=4KiB"]);
    let original = scratch.path("original");
    fill(&original);
    let mount = scratch.mount(&[]);
    lmfs_tests::copy_in(&original, &mount.path("copy"));
    mount.umount();
    // A file is idle after a second, and learning takes some tenths of one.
    for wait in [900, 1150, 1300, 1600, 2200] {
        let mount = scratch.mount(&["--pack=idle", "--pack-idle=1"]);
        std::thread::sleep(std::time::Duration::from_millis(wait));
        mount.kill();
        scratch.lmfs("check", &["--data"]).ok();
    }
    scratch.lmfs("pack", &[]).ok();
    scratch.lmfs("check", &["--data"]).ok();
    let mount = scratch.mount(&[]);
    diff(&original, &mount.path("copy"));
    assert!(mount.count("/dictionaries/0/blocks") >= FILES);
    mount.umount();
}

/// Records of which no two are equal, in words that only files of this kind have.
fn fill_kind(folder: &Path, kind: u64, noise: &mut Noise) {
    const FILES_OF_A_KIND: u64 = 24;
    let words: Vec<String> = (0..24)
        .map(|_| (0..12).map(|_| (b'a' + noise.below(26) as u8) as char).collect())
        .collect();
    for n in 0..FILES_OF_A_KIND {
        let mut text = String::new();
        while text.len() < 10_000 {
            for word in &words {
                write!(text, "{word}={} ", noise.below(1000)).unwrap();
            }
            text.push('\n');
        }
        fs::write(folder.join(format!("{n}.k{kind}x")), text).unwrap();
    }
}

/// The most memory that a process has had, in bytes.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn many_dictionaries_in_use_take_no_more_memory_than_the_cache_may() {
    const CACHE: u64 = 8 << 20;
    /// What threads that decode have for themselves, and what the allocator keeps.
    const THREADS: u64 = 24 << 20;
    let kinds = lmfs_tests::rounds(5, 50);
    let scratch = Scratch::with_store(&["--model=none", "--block-size=4KiB"]);
    let original = scratch.path("original");
    fs::create_dir_all(&original).unwrap();
    let mut noise = Noise::new(50);
    for kind in 0..kinds {
        fill_kind(&original, kind, &mut noise);
    }
    let mount = scratch.mount(&[]);
    lmfs_tests::copy_in(&original, &mount.path("copy"));
    mount.pack(&[]);
    let learned = mount.status()["dictionaries"].as_array().unwrap().len() as u64;
    assert!(learned >= kinds, "{learned} dictionaries of {kinds} kinds");
    mount.umount();

    let mount = scratch.mount(&[&format!("--cache-size={CACHE}"), "--pack=off"]);
    let read = |n: u64, kind: u64| {
        let name = format!("{n}.k{kind}x");
        assert!(fs::read(original.join(&name)).unwrap() == fs::read(mount.path("copy").join(&name)).unwrap());
    };
    for n in 0..3 {
        read(n, 0);
    }
    let one = peak(mount.pid());
    // Each kind in turn, so that every read needs another dictionary than the one before.
    for n in 3..8 {
        for kind in 0..kinds {
            read(n, kind);
        }
    }
    let all = peak(mount.pid());
    println!(
        "one dictionary in use: at most {} KiB of memory; {kinds} of them: {} KiB",
        one >> 10,
        all >> 10
    );
    // Blocks and states share the cache.
    assert!(all < one + CACHE + THREADS, "{all} bytes after {one}");
    mount.umount();
}
