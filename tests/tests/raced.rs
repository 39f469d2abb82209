//! Everything at once on one store, for as long as it is given: threads that write, cut, punch, copy and sync the same
//! files, packing and collecting meanwhile, second mounts attempted, lock files and sockets removed, `kill -9`,
//! remounts. Every byte is compared, with what was written while the daemon lives, and with what was promised after it
//! was killed.
//!
//! `LMFS_RACE_SECONDS` and `LMFS_RACE_RUNS` say for how long and how often, `LMFS_SEED` repeats a seed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lmfs_tests::{Mount, Noise, Scratch, SetOnDrop, data, lmfs, lmfs_path, rounds, run};
use rustix::fs::{FallocateFlags, copy_file_range, fallocate};

const BLOCK: usize = 4096;
/// Blocks of the longest file.
const BLOCKS: u64 = 48;
const FILES: usize = 8;
const THREADS: u64 = 6;

/// A file as it has to be.
#[derive(Default)]
struct Expected {
    bytes: Vec<u8>,
    /// Blocks that were changed since the last sync, with all that they held since: after a crash any of it may be
    /// there, byte by byte.
    unsynced: BTreeMap<usize, Vec<Vec<u8>>>,
    /// The length was changed since the last sync, too.
    length_unsynced: bool,
    /// The file exists, for sure.
    promised: bool,
}

fn block(bytes: &[u8], n: usize) -> &[u8] {
    let from = (n * BLOCK).min(bytes.len());
    &bytes[from..(from + BLOCK).min(bytes.len())]
}

impl Expected {
    /// Before these bytes change: what they are now may be there after a crash.
    fn touch(&mut self, range: Range<usize>) {
        for n in range.start / BLOCK..range.end.div_ceil(BLOCK) {
            let now = block(&self.bytes, n).to_vec();
            self.unsynced.entry(n).or_default().push(now);
        }
    }

    /// What was written or copied. It may be there as well if the daemon was killed before it answered.
    fn put(&mut self, at: usize, bytes: &[u8]) {
        if self.bytes.len() < at + bytes.len() {
            self.bytes.resize(at + bytes.len(), 0);
        }
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn synced(&mut self) {
        self.unsynced.clear();
        self.length_unsynced = false;
        self.promised = true;
    }

    /// What is wrong with the bytes found after a crash.
    fn fault(&self, found: &[u8]) -> Option<String> {
        if !self.length_unsynced && found.len() != self.bytes.len() {
            return Some(format!("{} bytes, {} were synced", found.len(), self.bytes.len()));
        }
        for n in 0..found.len().max(self.bytes.len()).div_ceil(BLOCK) {
            let (is, was) = (block(found, n), block(&self.bytes, n));
            let Some(versions) = self.unsynced.get(&n) else {
                if is != was {
                    return Some(format!("block {n} is not what was synced"));
                }
                continue;
            };
            let allowed = |at: usize, byte: u8| {
                let of = |version: &[u8]| version.get(at) == Some(&byte);
                // What a longer file has where nothing was stored yet.
                byte == 0 || of(was) || versions.iter().any(|version| of(version))
            };
            if let Some(at) = (0..is.len()).find(|at| !allowed(*at, is[*at])) {
                return Some(format!("byte {at} of block {n} was never written there"));
            }
        }
        None
    }
}

/// Where `found`, read at `at`, differs from what it should be.
fn difference(found: &[u8], is: &[u8], at: usize) -> String {
    let differs = |(a, b): (&u8, &u8)| a != b;
    let Some(first) = found.iter().zip(is).position(differs) else {
        return format!("{} bytes instead of {}", found.len(), is.len());
    };
    let end = found.iter().zip(is).rposition(differs).unwrap_or(first) + 1;
    let zeros = |bytes: &[u8]| bytes[first..end].iter().all(|&byte| byte == 0);
    format!(
        "bytes {} to {} differ (zeros were read: {}, expected: {}): {:?} instead of {:?}",
        at + first,
        at + end,
        zeros(found),
        zeros(is),
        &found[first..end.min(first + 16)],
        &is[first..end.min(first + 16)],
    )
}

struct Race {
    files: Vec<Mutex<Expected>>,
    text: Vec<u8>,
    stop: AtomicBool,
    killed: AtomicBool,
    operations: AtomicU64,
    compared: AtomicU64,
}

impl Race {
    fn new() -> Self {
        Self {
            files: (0..FILES).map(|_| Mutex::default()).collect(),
            text: fs::read(data("text/alice29.txt")).unwrap(),
            stop: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            operations: AtomicU64::new(0),
            compared: AtomicU64::new(0),
        }
    }

    /// Bytes that some method makes smaller, or none does.
    fn bytes(&self, noise: &mut Noise, len: usize) -> Vec<u8> {
        if noise.below(3) == 0 {
            return noise.bytes(len);
        }
        let from = noise.below((self.text.len() - len) as u64) as usize;
        self.text[from..from + len].to_vec()
    }

    /// Works on the files until it is told to stop, or the daemon is killed.
    fn work(&self, root: &Path, seed: u64) {
        let mut noise = Noise::new(seed);
        while !self.stop.load(Ordering::SeqCst) {
            let n = noise.below(FILES as u64) as usize;
            let mut expected = self.files[n].lock().unwrap();
            let done = self.operate(&root.join(format!("file-{n}")), &mut expected, &mut noise);
            match done {
                Ok(()) => self.operations.fetch_add(1, Ordering::Relaxed),
                Err(_) if self.killed.load(Ordering::SeqCst) => return,
                Err(error) => panic!("file-{n}: {error}"),
            };
        }
    }

    fn operate(&self, path: &Path, expected: &mut Expected, noise: &mut Noise) -> io::Result<()> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let len = expected.bytes.len();
        let at = noise.below(BLOCKS * BLOCK as u64) as usize;
        match noise.below(12) {
            0..=2 => {
                let bytes = {
                    let len = 1 + noise.below(3 * BLOCK as u64) as usize;
                    self.bytes(noise, len)
                };
                expected.touch(at.min(len)..at + bytes.len());
                expected.length_unsynced |= at + bytes.len() > len;
                let done = file.write_all_at(&bytes, at as u64);
                expected.put(at, &bytes);
                done?;
            }
            3 => {
                let (at, bytes) = (at / BLOCK * BLOCK, self.bytes(noise, 4 * BLOCK));
                expected.touch(at.min(len)..at + bytes.len());
                expected.length_unsynced |= at + bytes.len() > len;
                let done = file.write_all_at(&bytes, at as u64);
                expected.put(at, &bytes);
                done?;
            }
            4 => {
                expected.touch(at.min(len)..at.max(len));
                expected.length_unsynced = true;
                file.set_len(at as u64)?;
                expected.bytes.resize(at, 0);
            }
            5 if at < len => {
                let flags = [
                    FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
                    FallocateFlags::ZERO_RANGE,
                ][noise.below(2) as usize];
                let end = (at + 1 + noise.below(4 * BLOCK as u64) as usize).min(len);
                expected.touch(at..end);
                fallocate(&file, flags, at as u64, (end - at) as u64)?;
                expected.bytes[at..end].fill(0);
            }
            6 if len > BLOCK => {
                // Within the file, by whole blocks or by none.
                let shift = [0, 100][noise.below(2) as usize];
                let from = noise.below((len / BLOCK) as u64) as usize * BLOCK;
                let to = noise.below(BLOCKS) as usize * BLOCK + shift;
                let want = BLOCK.min(len - from);
                if from.abs_diff(to) < want {
                    return Ok(());
                }
                expected.touch(to.min(len)..to + want);
                expected.length_unsynced |= to + want > len;
                let (mut source, mut target) = (from as u64, to as u64);
                let copied = copy_file_range(&file, Some(&mut source), &file, Some(&mut target), want);
                let bytes = expected.bytes[from..from + *copied.as_ref().unwrap_or(&want)].to_vec();
                expected.put(to, &bytes);
                copied?;
            }
            7 | 8 => {
                file.sync_all()?;
                expected.synced();
            }
            9 => {
                let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
            }
            _ => {
                let mut found = vec![0; 3 * BLOCK];
                let n = file.read_at(&mut found, at as u64)?;
                let is = expected.bytes.get(at..).unwrap_or_default();
                let (found, is) = (&found[..n], &is[..found.len().min(is.len())]);
                if found.len() < is.len() && self.killed.load(Ordering::SeqCst) {
                    // read(2) returns what it had when the daemon went away.
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                assert!(
                    found == is,
                    "{}: other bytes at {at} than were written, {}",
                    path.display(),
                    difference(found, is, at),
                );
                self.compared.fetch_add(n as u64, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Compares all files: exactly, or after a crash with what was promised. What is found is what there is from then
    /// on.
    fn compare(&self, root: &Path, crashed: bool) {
        for (n, file) in self.files.iter().enumerate() {
            let mut expected = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let found = match fs::read(root.join(format!("file-{n}"))) {
                Err(e) if e.kind() == io::ErrorKind::NotFound && !expected.promised => {
                    *expected = Expected::default();
                    continue;
                }
                found => found.unwrap_or_else(|error| panic!("file-{n}: {error}")),
            };
            let fault = match crashed {
                true => expected.fault(&found),
                false => (found != expected.bytes).then(|| "other bytes than were written".to_owned()),
            };
            assert_eq!(fault, None, "file-{n}");
            self.compared.fetch_add(found.len() as u64, Ordering::Relaxed);
            // What a crash left is durable: mounting made it so.
            expected.bytes = found;
            expected.synced();
        }
    }
}

/// What happens to the store and its daemon meanwhile.
fn disturb(scratch: &Scratch, race: &Race, noise: &mut Noise, refused: &mut u64) {
    let (store, point, second) = (scratch.store(), scratch.mountpoint(), scratch.path("second"));
    match noise.below(8) {
        0 => drop(fs::remove_file(store.join("lock"))),
        1 => {
            let _ = fs::remove_file(store.join("lock"));
            fs::write(store.join("lock"), "1\nnobody\n").unwrap();
        }
        2 => drop(fs::remove_file(store.join("control.sock"))),
        3 | 4 => {
            // The daemon stops when its client goes away in the middle.
            let command = ["pack", "gc"][noise.below(2) as usize];
            let mut client = Command::new(lmfs_path());
            client.args(["-q", command]).arg(&point);
            let mut client = client.spawn().unwrap();
            thread::sleep(Duration::from_millis(noise.below(1500)));
            let _ = client.kill();
            client.wait().unwrap();
        }
        5 => {
            lmfs(["rebuild".as_ref(), store.as_os_str()]).refused(&["in use"]);
            *refused += 1;
        }
        6 => thread::sleep(Duration::from_millis(noise.below(300))),
        _ => {
            lmfs(["mount".as_ref(), store.as_os_str(), second.as_os_str()]).refused(&["in use"]);
            *refused += 1;
        }
    }
    assert!(!race.killed.load(Ordering::SeqCst));
}

fn number(variable: &str, otherwise: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.map_or(otherwise, |text| text.parse().expect("a number"))
}

#[test]
fn whatever_happens_at_once_no_byte_is_wrong_and_none_that_was_promised_is_lost() {
    let time = Duration::from_secs(number("LMFS_RACE_SECONDS", rounds(15, 600)));
    for run_number in 0..number("LMFS_RACE_RUNS", 1) {
        let seed = number("LMFS_SEED", 1000 + run_number);
        println!("seed {seed}");
        let scratch = Scratch::with_store(&["--model=none", "--block-size=4KiB"]);
        fs::create_dir(scratch.path("second")).unwrap();
        let (race, mut noise) = (Race::new(), Noise::new(seed));
        let (mut kills, mut ends, mut refused, mut round) = (0, 0, 0, 0);
        let begun = Instant::now();
        let mut mount = scratch.mount(&["-o", "cache_size=1MiB"]);
        while begun.elapsed() < time {
            round += 1;
            let kill = round % 2 == 1;
            let disturbances = 1 + noise.below(6);
            thread::scope(|scope| {
                let end = SetOnDrop(&race.stop);
                let workers: Vec<_> = (0..THREADS)
                    .map(|n| {
                        let (race, root) = (&race, mount.path(""));
                        scope.spawn(move || race.work(&root, seed ^ (round * 100 + n)))
                    })
                    .collect();
                for _ in (0..disturbances).take_while(|_| begun.elapsed() < time) {
                    disturb(&scratch, &race, &mut noise, &mut refused);
                }
                if kill {
                    race.killed.store(true, Ordering::SeqCst);
                    mount.crash();
                }
                drop(end);
                for worker in workers {
                    worker.join().expect("a worker found something wrong");
                }
            });
            if kill {
                kills += 1;
                drop(mount);
            } else {
                ends += 1;
                race.compare(&mount.path(""), false);
                mount.umount();
            }
            if noise.below(4) == 0 {
                scratch.lmfs("check", &["--data"]).ok();
            }
            mount = scratch.mount(&["-o", "cache_size=1MiB"]);
            race.compare(&mount.path(""), kill);
            race.stop.store(false, Ordering::SeqCst);
            race.killed.store(false, Ordering::SeqCst);
        }
        finish(mount, &scratch);
        println!(
            "{:.0} s: {} operations, {} bytes compared, {kills} kills, {ends} clean ends, {refused} second writers refused",
            begun.elapsed().as_secs_f64(),
            race.operations.load(Ordering::Relaxed),
            race.compared.load(Ordering::Relaxed),
        );
    }
}

fn finish(mount: Mount, scratch: &Scratch) {
    mount.umount();
    scratch.lmfs("check", &["--data"]).ok();
    // The program itself, without anything of these fixtures in between.
    run(Command::new(lmfs_path()).arg("check").arg(scratch.store())).ok();
}
