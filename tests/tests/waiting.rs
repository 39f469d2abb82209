//! Requests that wait for decodes, as many as anybody likes, and everybody else on the same mount.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lmfs_tests::{Mount, Scratch, data, soak, until};
use rustix::fs::copy_file_range;

const BLOCK: u64 = 16 << 10;

/// Blocks of each file: all that a slow request has to decode.
fn blocks() -> u64 {
    soak().map_or(3, |_| 9)
}

/// Bytes that are packed at a time. Of more the store would learn a dictionary, and nothing would be slow behind that.
const AT_ONCE: u64 = 150 << 10;

/// A mount of packed files `f0`, `f1` and so on, none of which is in memory or finds room there. No two have a block in
/// common, which would be decoded once for all.
fn packed(scratch: &Scratch, files: usize) -> Mount {
    let mount = scratch.mount(&[]);
    let text = fs::read(data("text/alice29.txt")).unwrap();
    let len = blocks() * BLOCK;
    for number in 0..files {
        let from = text.iter().copied().cycle().skip(number * 1021);
        let bytes: Vec<u8> = from.take(len as usize).collect();
        fs::write(mount.path(format!("f{number}")), bytes).unwrap();
        if (number + 1) % (AT_ONCE / len).max(1) as usize == 0 {
            mount.pack(&[]);
        }
    }
    mount.pack(&[]);
    mount.umount();
    scratch.mount(&["--cache-size=1KiB"])
}

/// One slow request: a close, a copy or a direct read for which every block of a file has to be decoded.
fn slow(mount: &Mount, number: usize) {
    let path = mount.path(format!("f{number}"));
    let len = fs::metadata(&path).unwrap().len();
    match number % 3 {
        0 => {
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            (0..len / BLOCK).for_each(|block| file.write_all_at(b"!", block * BLOCK + 5).unwrap());
            drop(file);
        }
        1 => {
            let (from, to) = (
                File::open(&path).unwrap(),
                File::create(path.with_extension("copy")).unwrap(),
            );
            let (mut here, mut there) = (0, 3);
            while copy_file_range(&from, Some(&mut here), &to, Some(&mut there), 1 << 30).unwrap() > 0 {}
        }
        _ => {
            let direct = rustix::fs::OFlags::DIRECT.bits() as i32;
            let file = OpenOptions::new().read(true).custom_flags(direct).open(&path).unwrap();
            let mut bytes = vec![0; len as usize];
            file.read_exact_at(&mut bytes, 0).unwrap();
        }
    }
}

/// Runs `work` while `count` slow requests wait; it is told how many do not wait any more.
fn while_slow_requests_wait(mount: &Mount, count: usize, work: impl FnOnce(&AtomicUsize)) {
    let (begun, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for number in 0..count {
            let (begun, ended) = (&begun, &ended);
            scope.spawn(move || {
                begun.fetch_add(1, Ordering::SeqCst);
                slow(mount, number);
                ended.fetch_add(1, Ordering::SeqCst);
            });
        }
        until("all have begun", || begun.load(Ordering::SeqCst) == count);
        work(&ended);
    });
}

/// What everybody does all the time, and what needs no decode: each by its name, with what it takes.
fn probe(root: &Path, number: usize) -> [(&'static str, Duration); 4] {
    let timed = |act: &dyn Fn()| {
        let begun = Instant::now();
        act();
        begun.elapsed()
    };
    let folder = root.join(format!("folder {number}"));
    let path = root.join(format!("new {number}"));
    let file = File::create(&path).unwrap();
    file.write_all_at(&[7; 4096], 0).unwrap();
    [
        ("fsync", timed(&|| file.sync_all().unwrap())),
        ("mkdir", timed(&|| fs::create_dir(&folder).unwrap())),
        ("stat", timed(&|| assert_eq!(fs::metadata(&path).unwrap().len(), 4096))),
        ("ls", timed(&|| assert!(fs::read_dir(root).unwrap().count() > number))),
    ]
}

/// Regression: eight closes or copies that had to decode kept all threads. fsync of an unrelated file took minutes.
#[test]
fn what_needs_no_decode_ends_while_slow_requests_wait() {
    let scratch = Scratch::with_store(&["--model=builtin:tiny", "--prefer=size"]);
    let mount = packed(&scratch, 12);
    while_slow_requests_wait(&mount, 12, |ended| {
        for number in 0..3 {
            probe(&mount.path(""), number);
            File::open(mount.path("")).unwrap().sync_all().unwrap();
        }
        let ended = ended.load(Ordering::SeqCst);
        assert!(ended < 12, "all slow requests had ended before the quick ones");
    });
    mount.umount();
}

/// Regression: `kill -9` of a program that read what had to be decoded was heard of when all was decoded, a minute and
/// a half later.
#[test]
fn a_killed_reader_is_gone_while_others_wait() {
    let scratch = Scratch::with_store(&["--model=builtin:tiny", "--prefer=size"]);
    let mount = packed(&scratch, 12);
    while_slow_requests_wait(&mount, 12, |ended| {
        let mut readers: Vec<_> = (0..4)
            .map(|number| {
                let mut dd = Command::new("dd");
                dd.arg(format!("if={}", mount.path(format!("f{number}")).display()));
                dd.args(["of=/dev/null", "bs=1M", "iflag=direct"]);
                dd.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
            })
            .collect();
        // They wait in the kernel by then; one that does not is killed all the same.
        std::thread::sleep(Duration::from_millis(100));
        for reader in &mut readers {
            reader.kill().unwrap();
            reader.wait().unwrap();
        }
        let ended = ended.load(Ordering::SeqCst);
        assert!(ended < 12, "all slow requests had ended before the killed readers");
    });
    mount.umount();
}

/// The bar is 100 ms for 99 % of all; it is held to in `make soak` alone, where nothing else runs.
#[test]
fn what_needs_no_decode_is_quick_while_slow_requests_wait() {
    let soak = soak().is_some();
    let (count, probes) = if soak { (64, 200) } else { (8, 5) };
    let scratch = Scratch::with_store(&["--model=builtin:tiny", "--prefer=size"]);
    let mount = packed(&scratch, count);
    let root = mount.path("");
    let mut times: Vec<(&str, Vec<Duration>)> = ["fsync", "mkdir", "stat", "ls"].map(|name| (name, Vec::new())).into();
    let all_waited = AtomicBool::new(true);
    while_slow_requests_wait(&mount, count, |ended| {
        for number in 0..probes {
            for ((_, times), (_, time)) in times.iter_mut().zip(probe(&root, number)) {
                times.push(time);
            }
            all_waited.fetch_and(ended.load(Ordering::SeqCst) < count, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    for (name, times) in &mut times {
        times.sort_unstable();
        let at = |percent: usize| {
            times
                .get(times.len() * percent / 100)
                .or(times.last())
                .copied()
                .unwrap()
        };
        let (half, most, worst) = (at(50), at(99), at(100));
        println!(
            "{name}: {} times while {count} slow requests wait: 50 % {half:?}, 99 % {most:?}, all {worst:?}",
            times.len()
        );
        assert!(!soak || most < Duration::from_millis(100), "{name} took {most:?}");
    }
    assert!(all_waited.load(Ordering::SeqCst), "slow requests waited to the end");
    mount.umount();
}
