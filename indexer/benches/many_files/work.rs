//! Many small files in one directory: made, listed, checked, put away, opened again in every way, deleted.
#![allow(clippy::unwrap_used, reason = "tests and benches")]

use lmfs_indexer::{
    Change, CheckOptions, CreateOptions, Dirent, Extent, Inode, Kind, OpenOptions, ROOT_INO, RealIo, Store, Time,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Bytes of each file.
const BYTES: u64 = 100;

/// How often the log is made durable and a checkpoint considered, in files made: a daemon does it every few seconds.
const PAUSE: u64 = 20_000;

/// What one step took: its name, seconds, and seconds of CPU time, which a busy machine does not stretch.
pub type Took = Vec<(&'static str, f64, f64)>;

/// CPU time of this process so far, in seconds (proc(5), fields utime and stime of /proc/self/stat).
fn cpu() -> f64 {
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    let ticks = fields.skip(11).take(2).map(|n| n.parse::<f64>().unwrap());
    ticks.sum::<f64>() / TICKS
}

struct Clock {
    begun: Instant,
    cpu: f64,
}

impl Clock {
    fn start() -> Self {
        Self {
            begun: Instant::now(),
            cpu: cpu(),
        }
    }
}

/// What was measured.
pub struct Measured {
    /// Seconds by step.
    pub took: Took,
    /// Transactions replayed when the store was opened after a crash.
    pub replayed: u64,
    /// Bytes of the index on disk, with all files in it.
    pub index_bytes: u64,
    /// Bytes of the log, with all files in it.
    pub log_bytes: u64,
    /// Bytes of the index on disk once all but a hundredth of the files were deleted and the store was closed.
    pub index_bytes_after_deleting: u64,
}

fn inode(ino: u64, kind: Kind, size: u64) -> Inode {
    // Times differ from file to file, as they do.
    let time = Time {
        secs: 1_700_000_000 + ino as i64 / 10_000,
        nanos: (ino.wrapping_mul(2_654_435_761) % 1_000_000_000) as u32,
    };
    let directory = kind == Kind::Directory;
    Inode {
        uid: 1000,
        gid: 1000,
        size,
        ..Inode::new(ino, kind, if directory { 0o755 } else { 0o644 }, time)
    }
}

fn name(ino: u64) -> Vec<u8> {
    format!("{:08x}-{ino}.txt", (ino as u32).wrapping_mul(2_654_435_761)).into_bytes()
}

/// As a filesystem does: one transaction makes the file, another stores what was written.
fn make(store: &Store, ino: u64) {
    let entry = Dirent { ino, kind: Kind::File };
    let _made = store
        .commit(vec![
            Change::PutInode(inode(ROOT_INO, Kind::Directory, 0)),
            Change::PutInode(inode(ino, Kind::File, 0)),
            Change::PutDirent {
                parent: ROOT_INO,
                name: name(ino),
                entry,
            },
        ])
        .unwrap();
    let bytes = [ino as u8; BYTES as usize];
    let extent = Extent::new(store.append_block(&bytes).unwrap(), 0, BYTES as u32);
    let _written = store
        .commit(vec![
            Change::PutExtents {
                ino,
                first: 0,
                extents: vec![Some(extent)],
            },
            Change::PutInode(inode(ino, Kind::File, BYTES)),
        ])
        .unwrap();
}

fn delete(store: &Store, ino: u64) {
    let _deleted = store
        .commit(vec![
            Change::DelDirent {
                parent: ROOT_INO,
                name: name(ino),
            },
            Change::DelInode(ino),
        ])
        .unwrap();
}

/// Names and inodes of all files, a page at a time.
fn list(store: &Store) -> u64 {
    let (mut after, mut seen) = (None::<Vec<u8>>, 0);
    loop {
        let page = store.dirents(ROOT_INO, after.as_deref(), 256).unwrap();
        let Some((last, _)) = page.last() else {
            return seen;
        };
        after = Some(last.clone());
        for (_, entry) in page {
            assert_eq!(store.inode(entry.ino).unwrap().unwrap().size, BYTES);
            seen += 1;
        }
    }
}

fn check(store: &Store) {
    let options = CheckOptions { log: true };
    let report = store.check(&options, &mut |_, _| true).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
}

/// Writes a checkpoint while inode `ino` comes and goes; gives the seconds of the longest making or deleting.
fn commit_during_checkpoint(store: &Store, ino: u64) -> f64 {
    std::thread::scope(|scope| {
        let checkpoint = scope.spawn(|| store.checkpoint().unwrap());
        let mut longest = 0.0f64;
        while !checkpoint.is_finished() {
            for step in [make, delete] {
                let begun = Instant::now();
                step(store, ino);
                longest = longest.max(begun.elapsed().as_secs_f64());
            }
        }
        longest
    })
}

/// Makes `files` files in a store in the empty folder `dir`, and measures. `say` hears what is done.
pub fn run(dir: &Path, files: u64, say: &mut dyn FnMut(&str, f64, f64)) -> Measured {
    let io = || Arc::new(RealIo::new(dir).unwrap());
    let mut took = Took::new();
    let mut note = |step: &'static str, clock: Clock| {
        let (seconds, cpu) = (clock.begun.elapsed().as_secs_f64(), cpu() - clock.cpu);
        say(step, seconds, cpu);
        took.push((step, seconds, cpu));
        Clock::start()
    };
    let all = 2..2 + files;
    let begun = Clock::start();
    let store = Store::create(io(), CreateOptions::new([1; 16])).unwrap();
    let mut longest = 0.0f64;
    for ino in all.clone() {
        make(&store, ino);
        if ino % PAUSE == 0 {
            store.sync().unwrap();
            let begun = Instant::now();
            if store.checkpoint_if_due().unwrap() {
                longest = longest.max(begun.elapsed().as_secs_f64());
            }
        }
    }
    store.sync().unwrap();
    let begun = note("create", begun);
    assert_eq!(list(&store), files);
    let begun = note("list with attributes", begun);
    check(&store);
    let begun = note("check, log and all", begun);
    store.close().unwrap();
    let begun = note("close", begun);
    let (store, report) = Store::open(io(), OpenOptions::default()).unwrap();
    assert_eq!(report.rebuilt, None);
    let begun = note("open after a clean close", begun);
    let totals = store.totals();
    assert_eq!((totals.inodes, totals.blocks), (files + 1, files));
    assert_eq!(list(&store), files);
    note("list with attributes, cold", begun);
    make(&store, all.end);
    store.sync().unwrap();
    drop(store);
    let begun = Clock::start();
    let (store, report) = Store::open(io(), OpenOptions::default()).unwrap();
    assert!(report.rebuilt.is_some());
    note("open after a crash", begun);
    let replayed = report.transactions;
    assert_eq!(store.totals().inodes, files + 2);
    drop(store);
    std::fs::remove_dir_all(dir.join("index")).unwrap();
    let begun = Clock::start();
    let (store, _) = Store::open(io(), OpenOptions::default()).unwrap();
    let begun = note("rebuild of a deleted index", begun);
    assert_eq!(list(&store), files + 1);
    let begun = note("list", begun);
    let waited = commit_during_checkpoint(&store, all.end + 1);
    let begun = note("checkpoint, with commits meanwhile", begun);
    for ino in all.clone().filter(|ino| ino % 100 != 0) {
        delete(&store, ino);
    }
    let begun = note("delete all but a hundredth", begun);
    store.close().unwrap();
    note("close after deleting", begun);
    let (store, report) = Store::open(io(), OpenOptions::default()).unwrap();
    assert_eq!(report.rebuilt, None);
    check(&store);
    let left = all.filter(|ino| ino % 100 == 0).count() as u64 + 1;
    assert_eq!(list(&store), left);
    took.push(("longest make or delete during that checkpoint", waited, waited));
    took.push(("longest checkpoint while creating", longest, longest));
    Measured {
        took,
        replayed,
        index_bytes: totals.index_bytes,
        log_bytes: totals.log_bytes,
        index_bytes_after_deleting: store.totals().index_bytes,
    }
}
