//! Many at once: writers of one file and of many, races of names, a busy mount, what is open while the daemon dies.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::process::Command;
use std::sync::Barrier;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lmfs_tests::{Mount, Noise, Scratch, lmfs, rounds, run};
use rustix::fs::{RenameFlags, renameat_with};

const THREADS: usize = 64;

/// A store without a language model, in small blocks.
fn store() -> Scratch {
    Scratch::with_store(&["--model=none", "--block-size=4KiB"])
}

/// Unmounts, and has every block of the store decoded.
fn finish(scratch: &Scratch, mount: Mount) {
    mount.umount();
    scratch.lmfs("check", &["--data"]).ok();
}

#[test]
fn readers_and_writers_of_one_file_see_whole_writes() {
    const RECORD: usize = 3000;
    let (scratch, each) = (store(), rounds(20, 250));
    let mount = scratch.mount(&["--cache-size=1MiB", "--pack=idle", "--pack-idle=1"]);
    fs::write(mount.path("file"), vec![0; RECORD * THREADS]).unwrap();
    std::thread::scope(|scope| {
        for number in 0..THREADS {
            let mount = &mount;
            scope.spawn(move || {
                let file = OpenOptions::new()
                    .read(true)
                    .write(true)
                    .open(mount.path("file"))
                    .unwrap();
                let mut noise = Noise::new(number as u64);
                let mut record = vec![0; RECORD];
                for round in 1..=each {
                    if number % 2 == 0 {
                        // Each writer has a record of its own, across blocks and pages.
                        file.write_all_at(&vec![round as u8; RECORD], (number * RECORD) as u64)
                            .unwrap();
                    } else {
                        let other = noise.below(THREADS as u64) * RECORD as u64;
                        file.read_exact_at(&mut record, other).unwrap();
                        assert!(record.iter().all(|byte| u64::from(*byte) <= each));
                    }
                }
            });
        }
    });
    let check = |mount: &Mount| {
        let bytes = fs::read(mount.path("file")).unwrap();
        for (number, record) in bytes.chunks(RECORD).enumerate() {
            let expected = if number % 2 == 0 { each as u8 } else { 0 };
            assert!(record.iter().all(|byte| *byte == expected), "record {number}");
        }
    };
    check(&mount);
    mount.umount();
    let mount = scratch.mount(&[]);
    check(&mount);
    finish(&scratch, mount);
}

#[test]
fn writers_of_many_files_disturb_nobody() {
    let scratch = store();
    let mount = scratch.mount(&["--cache-size=1MiB", "--pack=idle", "--pack-idle=1"]);
    let len = rounds(100_000, 3_000_000) as usize;
    std::thread::scope(|scope| {
        for number in 0..THREADS as u64 {
            let mount = &mount;
            scope.spawn(move || {
                let (path, bytes) = (mount.path(format!("file-{number}")), Noise::new(number).bytes(len));
                let mut file = File::create(&path).unwrap();
                for piece in bytes.chunks(7777) {
                    file.write_all(piece).unwrap();
                }
                file.sync_all().unwrap();
                assert!(fs::read(&path).unwrap() == bytes);
            });
        }
    });
    mount.umount();
    let mount = scratch.mount(&["--cache-size=1MiB"]);
    for number in 0..THREADS as u64 {
        let found = fs::read(mount.path(format!("file-{number}"))).unwrap();
        assert!(found == Noise::new(number).bytes(len), "file-{number}");
    }
    finish(&scratch, mount);
}

#[test]
fn appends_of_many_writers_are_all_there_and_whole() {
    let (scratch, each) = (store(), rounds(25, 1000));
    let mount = scratch.mount(&[]);
    std::thread::scope(|scope| {
        for number in 0..THREADS {
            let mount = &mount;
            scope.spawn(move || {
                let mut file = OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(mount.path("log"))
                    .unwrap();
                for round in 0..each {
                    // One write(2) a line.
                    file.write_all(format!("writer {number} line {round} {}\n", "x".repeat(number)).as_bytes())
                        .unwrap();
                }
            });
        }
    });
    let text = fs::read_to_string(mount.path("log")).unwrap();
    let mut next = HashMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [_, number, _, round, filling] = words[..] else {
            panic!("a torn line: {line:?}");
        };
        assert_eq!(filling.len().to_string(), number, "a torn line: {line:?}");
        let expected: &mut u64 = next.entry(number.to_owned()).or_default();
        assert_eq!(
            round,
            expected.to_string(),
            "lines of writer {number} are lost or out of order"
        );
        *expected += 1;
    }
    assert_eq!(next.len(), THREADS);
    assert!(next.values().all(|lines| *lines == each));
    finish(&scratch, mount);
}

#[test]
fn races_of_renames_lose_no_file_and_make_no_circle() {
    const DEPTH: usize = 10;
    let (scratch, each) = (store(), rounds(100, 20_000));
    let mount = scratch.mount(&[]);
    // A chain of ten directories, with a file in each, moved about by all at once.
    let mut at = mount.path("0");
    for level in 1..=DEPTH {
        fs::create_dir(&at).unwrap();
        fs::write(at.join("file"), format!("{level}")).unwrap();
        at.push(level.to_string());
    }
    let folders = |mount: &Mount| -> Vec<_> {
        let mut found = vec![mount.path("")];
        let mut next = 0;
        while let Some(folder) = found.get(next).cloned() {
            next += 1;
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            found.extend(entries.map(|entry| entry.path()).filter(|path| path.is_dir()));
        }
        found
    };
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (mount, folders) = (&mount, &folders);
            scope.spawn(move || {
                let mut noise = Noise::new(number);
                let mut known = folders(mount);
                for round in 0..each {
                    if round % 10 == 0 {
                        known = folders(mount);
                    }
                    let mut pick = || known.get(noise.below(known.len() as u64) as usize).cloned().unwrap();
                    let (from, to) = (pick(), pick());
                    let flags = match round % 3 {
                        0 => RenameFlags::EXCHANGE,
                        _ => RenameFlags::NOREPLACE,
                    };
                    let to = if round % 3 == 0 {
                        to
                    } else {
                        to.join(format!("{number}-{round}"))
                    };
                    // Most are refused: the others were quicker, or a directory would move into itself.
                    let _ = renameat_with(rustix::fs::CWD, &from, rustix::fs::CWD, &to, flags);
                }
            });
        }
    });
    let check = |mount: &Mount| {
        let found = folders(mount);
        assert_eq!(found.len(), DEPTH + 1, "{found:?}");
        let files: BTreeSet<String> = found
            .iter()
            .flat_map(|folder| fs::read_to_string(folder.join("file")))
            .collect();
        assert_eq!(files.len(), DEPTH);
        for folder in found {
            let below = fs::read_dir(&folder)
                .unwrap()
                .filter(|entry| entry.as_ref().unwrap().path().is_dir());
            assert_eq!(fs::metadata(&folder).unwrap().nlink(), 2 + below.count() as u64);
        }
    };
    check(&mount);
    mount.kill();
    let mount = scratch.mount(&[]);
    check(&mount);
    finish(&scratch, mount);
}

#[test]
fn memory_stays_bounded_while_more_is_written_and_read() {
    let (scratch, megabytes) = (store(), rounds(150, 2000) as usize);
    let mount = scratch.mount(&["--cache-size=1MiB"]);
    let piece = Noise::new(1).bytes(1 << 20);
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (mount, piece) = (&mount, &piece);
            scope.spawn(move || {
                let mut file = File::create(mount.path(format!("{writer}"))).unwrap();
                for _ in 0..megabytes / 4 {
                    file.write_all(piece).unwrap();
                }
                file.seek(SeekFrom::Start(0)).unwrap();
                mount.forget_pages(format!("{writer}"));
                let mut file = File::open(mount.path(format!("{writer}"))).unwrap();
                let mut found = vec![0; piece.len()];
                for _ in 0..megabytes / 4 {
                    file.read_exact(&mut found).unwrap();
                    assert!(found == *piece);
                }
            });
        }
    });
    let status = fs::read_to_string(format!("/proc/{}/status", mount.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: usize = peak.trim().trim_end_matches(" kB").parse().unwrap();
    // 64 MiB of written data may wait, as much is on its way to the log, and a cache of 1 MiB; not all that was
    // written.
    println!("{megabytes} MiB written and read: at most {} MiB of memory", peak >> 10);
    assert!(peak >> 10 < 300, "{peak} KiB\n{status}");
    finish(&scratch, mount);
}

#[test]
fn a_busy_mount_is_not_unmounted_and_goes_on() {
    let scratch = store();
    let mount = scratch.mount(&[]);
    let mut file = File::create(mount.path("open")).unwrap();
    file.write_all(b"before").unwrap();
    lmfs(["umount".as_ref(), mount.path("").as_os_str()]).refused(&["is busy"]);
    file.write_all(b" and after").unwrap();
    file.sync_all().unwrap();
    // Nor is the store mounted a second time, elsewhere.
    fs::create_dir(scratch.path("second")).unwrap();
    scratch
        .lmfs("mount", &[scratch.path("second").to_str().unwrap()])
        .refused(&["in use"]);
    drop(file);
    assert_eq!(fs::read(mount.path("open")).unwrap(), b"before and after");
    finish(&scratch, mount);
}

#[test]
fn an_open_file_without_a_name_lives_until_close_and_is_gone_after_a_kill() {
    let scratch = store();
    let mount = scratch.mount(&[]);
    let bytes = Noise::new(1).bytes(500_000);
    let mut open = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(mount.path("file"))
        .unwrap();
    open.write_all(&bytes).unwrap();
    open.sync_all().unwrap();
    fs::remove_file(mount.path("file")).unwrap();
    mount.pack(&["-q"]);
    let mut found = Vec::new();
    open.seek(SeekFrom::Start(0)).unwrap();
    open.read_to_end(&mut found).unwrap();
    assert!(found == bytes);
    assert_eq!(mount.count("/inodes"), 2);
    File::open(mount.path("")).unwrap().sync_all().unwrap();
    mount.kill();
    drop(open);
    let mount = scratch.mount(&[]);
    assert_eq!(fs::read_dir(mount.path("")).unwrap().count(), 0);
    assert_eq!(mount.count("/inodes"), 1, "only the root is left");
    assert_eq!(mount.count("/logical_bytes"), 0);
    finish(&scratch, mount);
}

#[test]
fn a_sparse_file_of_1_tib_takes_what_was_written() {
    const TIB: u64 = 1 << 40;
    let scratch = store();
    let mount = scratch.mount(&[]);
    let file = File::create_new(mount.path("sparse")).unwrap();
    file.set_len(TIB).unwrap();
    for offset in [0, TIB / 3, TIB - 5] {
        file.write_all_at(b"here!", offset).unwrap();
    }
    file.sync_all().unwrap();
    drop(file);
    mount.pack(&["-q"]);
    mount.umount();
    let mount = scratch.mount(&[]);
    let file = File::open(mount.path("sparse")).unwrap();
    let attr = file.metadata().unwrap();
    assert_eq!(attr.len(), TIB);
    assert!(attr.blocks() * 512 < 20_000, "{} blocks", attr.blocks());
    let mut bytes = [1; 5];
    for (offset, expected) in [(TIB / 3, b"here!"), (TIB - 5, b"here!"), (TIB / 2, &[0; 5])] {
        file.read_exact_at(&mut bytes, offset).unwrap();
        assert_eq!(&bytes, expected, "at {offset}");
    }
    let data = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(4096)).unwrap();
    assert_eq!(data, TIB / 3 / 4096 * 4096);
    drop(file);
    finish(&scratch, mount);
}

#[test]
fn a_file_that_was_cut_in_the_middle_of_a_block_is_no_damage() {
    let scratch = store();
    let mount = scratch.mount(&[]);
    let text: Vec<u8> = b"a line of text\n".iter().copied().cycle().take(20_000).collect();
    for (name, size) in [("before", 10_000), ("after", 10_000)] {
        fs::write(mount.path(name), &text).unwrap();
        File::open(mount.path(name)).unwrap().sync_all().unwrap();
        if name == "after" {
            mount.pack(&["-q"]);
        }
        let file = OpenOptions::new().write(true).open(mount.path(name)).unwrap();
        file.set_len(size).unwrap();
        file.sync_all().unwrap();
    }
    finish(&scratch, mount);
    let mount = scratch.mount(&[]);
    for name in ["before", "after"] {
        assert!(fs::read(mount.path(name)).unwrap() == text.get(..10_000).unwrap());
    }
    finish(&scratch, mount);
}

#[test]
fn names_of_any_bytes_and_times_before_1970_come_back() {
    let scratch = store();
    let mount = scratch.mount(&[]);
    let mut noise = Noise::new(1970);
    let mut expected = HashMap::new();
    for number in 0..200_u64 {
        let len = if number < 20 {
            255
        } else {
            1 + noise.below(255) as usize
        };
        let mut name = noise.bytes(len);
        for byte in &mut name {
            if matches!(byte, 0 | b'/') {
                *byte = 0xff;
            }
        }
        if name == b"." || name == b".." || expected.contains_key(&name) {
            continue;
        }
        let time = UNIX_EPOCH - Duration::new(noise.below(3_000_000_000), noise.below(1_000_000_000) as u32);
        let file = File::create_new(mount.path(OsStr::from_bytes(&name))).unwrap();
        file.set_times(FileTimes::new().set_modified(time).set_accessed(time))
            .unwrap();
        expected.insert(name, time);
    }
    let check = |mount: &Mount| {
        let mut found: HashMap<Vec<u8>, SystemTime> = HashMap::new();
        for entry in fs::read_dir(mount.path("")).unwrap() {
            let entry = entry.unwrap();
            let attr = entry.metadata().unwrap();
            assert_eq!(attr.accessed().unwrap(), attr.modified().unwrap());
            found.insert(entry.file_name().as_bytes().to_vec(), attr.modified().unwrap());
        }
        assert!(found == expected);
    };
    check(&mount);
    let long = mount.path("x".repeat(256));
    assert_eq!(
        File::create(long).unwrap_err().raw_os_error(),
        Some(rustix::io::Errno::NAMETOOLONG.raw_os_error())
    );
    mount.umount();
    let mount = scratch.mount(&[]);
    check(&mount);
    finish(&scratch, mount);
}

#[test]
fn locks_keep_others_out_until_they_are_let_go() {
    let scratch = store();
    let mount = scratch.mount(&[]);
    let file = File::create(mount.path("lock")).unwrap();
    file.lock().unwrap();
    let path = mount.path("lock");
    let flock = || {
        run(Command::new("flock").args(["-n", "-E", "9"]).arg(&path).arg("true"))
            .status
            .code()
    };
    assert_eq!(flock(), Some(9), "another process took the lock, too");
    drop(file);
    assert_eq!(flock(), Some(0));
    finish(&scratch, mount);
}

#[test]
fn many_start_at_once_and_one_creates() {
    let scratch = store();
    let mount = scratch.mount(&[]);
    for round in 0..rounds(5, 200) {
        let start = Barrier::new(16);
        let created = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        File::create_new(mount.path(format!("one-{round}"))).is_ok()
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .filter(|made| *made)
                .count()
        });
        assert_eq!(created, 1, "round {round}: O_EXCL let {created} in");
    }
    finish(&scratch, mount);
}
