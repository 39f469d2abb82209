//! The real layout under crashes: segments, marker and the file of a small index as a power cut leaves them, beside an
//! index of sled that is of another time, torn, half gone or not there at all. Whatever lies in `index/`, the tree is
//! that of the log.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod workload;

use lmfs_indexer::io::{CrashIo, Directory, Io, Layer, Loss};
use lmfs_indexer::*;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use workload::soak::step;
use workload::*;

const MARK: &str = "index/mark";

/// The index is in sled, or in memory and in a file.
fn in_sled(sled: bool) -> OpenOptions {
    OpenOptions {
        index_memory: if sled { 0 } else { MAX_INDEX_MEMORY },
        ..options()
    }
}

/// Segments, marker and file of the index in a folder that can be crashed, sled in a real one.
#[derive(Clone)]
struct Beside {
    disk: CrashIo,
    root: PathBuf,
}

impl Layer for Beside {
    fn below(&self) -> &dyn Io {
        &self.disk
    }

    fn make_dir(&self, dir: &str) -> io::Result<()> {
        fs::create_dir_all(self.root.join(dir))
    }

    fn clear_dir(&self, dir: &str, keep: &str) -> io::Result<()> {
        self.disk.clear_dir(dir, keep)?;
        match fs::remove_dir_all(self.root.join(dir)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn on_disk(&self, dir: &str) -> io::Result<Option<Directory>> {
        Directory::open(self.root.join(dir)).map(Some)
    }
}

type Files = BTreeMap<String, Vec<u8>>;

/// sled's files as they are.
fn snapshot(folder: &Path) -> Files {
    let mut found = Files::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_file() {
            found.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    found
}

struct Recorded {
    disk: CrashIo,
    trees: Vec<Tree>,
    promised: Vec<(usize, u64)>,
    /// sled's files at events: (event, files).
    indexes: Vec<(usize, Files)>,
    /// Events at which the store was closed, and the marker says so.
    closed: Vec<usize>,
}

fn record(seed: u64, len: usize) -> Recorded {
    let dir = tempfile::tempdir().unwrap();
    let disk = CrashIo::new();
    let io = || {
        Arc::new(Beside {
            disk: disk.clone(),
            root: dir.path().to_path_buf(),
        })
    };
    let mut create = CreateOptions::new([1; 16]);
    create.segment_size = 4096;
    let mut store = Store::create(io(), create).unwrap();
    let mut random = Random(seed);
    let mut tree = Tree::default();
    let (mut trees, mut promised) = (vec![tree.clone()], vec![(disk.events(), 0)]);
    let (mut indexes, mut closed) = (Vec::new(), Vec::new());
    let index = dir.path().join("index");
    for (n, op) in history(&mut random, len).into_iter().enumerate() {
        tree.run(&store, &op, &mut random, &mut |next| trees.push(next.clone()))
            .unwrap();
        if matches!(op, Op::Sync | Op::Checkpoint) {
            promised.push((disk.events(), tree.step));
        }
        if n % 12 == 11 {
            indexes.push((disk.events(), snapshot(&index)));
            store.close().unwrap();
            promised.push((disk.events(), tree.step));
            closed.push(disk.events());
            indexes.push((disk.events(), snapshot(&index)));
            let report;
            // Mostly in sled, and from there to the file and back.
            (store, report) = Store::open(io(), in_sled(random.below(4) > 0)).unwrap();
            assert_eq!(report.rebuilt, None, "seed {seed}: a clean close is believed");
            tree.packing = Packing::default();
            assert_shows(&store, &tree, "opened again");
        }
    }
    drop(store);
    indexes.push((disk.events(), snapshot(&index)));
    Recorded {
        disk,
        trees,
        promised,
        indexes,
        closed,
    }
}

/// What lies in `index/` beside the marker.
#[derive(Clone, Copy, Debug)]
enum Index {
    Missing,
    Empty,
    /// Of this recorded time: stale, of now, or ahead of the log.
    Of(usize),
    /// Of this time, with a file cut or a bit flipped.
    Torn(usize),
    /// Some files of one time and some of another.
    Mixed(usize, usize),
}

impl Recorded {
    fn put(&self, folder: &Path, index: Index, random: &mut Random) {
        let _ = fs::remove_dir_all(folder);
        if matches!(index, Index::Missing) {
            return;
        }
        fs::create_dir_all(folder).unwrap();
        let mut files = match index {
            Index::Missing | Index::Empty => Files::new(),
            Index::Of(n) | Index::Torn(n) | Index::Mixed(n, _) => self.indexes[n].1.clone(),
        };
        if let Index::Mixed(_, other) = index {
            for (name, bytes) in &self.indexes[other].1 {
                if random.below(2) == 0 {
                    files.insert(name.clone(), bytes.clone());
                }
            }
        }
        if matches!(index, Index::Torn(_)) && !files.is_empty() {
            let at = random.below(files.len() as u64) as usize;
            let bytes = files.values_mut().nth(at).unwrap();
            if !bytes.is_empty() {
                // Mostly where there is something: sled fills its file up with zeros.
                let used = bytes.iter().rposition(|b| *b != 0).unwrap_or(0) as u64 + 1;
                let at = random.below(used) as usize;
                match random.below(3) {
                    0 => bytes.truncate(at),
                    1 => bytes[at] ^= 1 << random.below(8),
                    _ => {
                        let end = bytes.len().min(at + 512);
                        bytes[at..end].fill(0);
                    }
                }
            }
        }
        for (name, bytes) in files {
            fs::write(folder.join(name), bytes).unwrap();
        }
    }
}

#[test]
fn whatever_lies_in_the_index_folder_the_tree_is_that_of_the_log() {
    let seed = 20261122;
    let recorded = record(seed, rounds(72, 360));
    let mut random = Random(seed);
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("index");
    let mut replay = recorded.disk.replay();
    while replay.at() < recorded.promised[0].0 {
        replay.advance();
    }
    let (mut tried, mut believed, mut foreign_markers) = (0, 0, 0);
    let mut old_marker = None;
    loop {
        let at = replay.at();
        let after_close = recorded.closed.contains(&at);
        if after_close || at.is_multiple_of(step(11, 3)) {
            let now = recorded.indexes.partition_point(|(event, _)| *event <= at);
            let last = recorded.indexes.len() - 1;
            let (before, now) = (now.saturating_sub(2), now.saturating_sub(1).min(last));
            let mut indexes = vec![
                Index::Missing,
                Index::Empty,
                Index::Of(now),
                Index::Of(before),
                Index::Of((now + 1).min(last)),
                Index::Torn(now),
                Index::Mixed(now, before),
            ];
            indexes.swap(0, random.below(7) as usize);
            if !after_close {
                indexes.truncate(3);
            }
            for index in indexes {
                // The marker that the cut leaves, none, or one of an earlier close.
                let marker = random.below(4);
                let when = format!("seed {seed}, cut after event {at}, index {index:?}, marker {marker}");
                let mut files = replay.image(Loss::Any(at as u64 + tried)).files();
                match (marker, &old_marker) {
                    (0, _) => drop(files.remove(MARK)),
                    (1, Some(marker)) if !after_close => {
                        foreign_markers += 1;
                        files.insert(MARK.to_owned(), Vec::clone(marker));
                    }
                    _ => {}
                }
                recorded.put(&folder, index, &mut random);
                let io = Arc::new(Beside {
                    disk: CrashIo::from_files(files),
                    root: dir.path().to_path_buf(),
                });
                let step = recorded.promised.partition_point(|(event, _)| *event <= at);
                let promised = recorded.promised[step - 1].1;
                let (store, report) =
                    Store::open(io.clone(), in_sled(tried % 2 == 0)).unwrap_or_else(|e| panic!("{when}: {e}"));
                believed += u64::from(report.rebuilt.is_none());
                let tree = Tree::read(&store).unwrap_or_else(|e| panic!("{when}: {e}"));
                assert!(tree.step >= promised, "{when}: {} of {promised}", tree.step);
                assert_shows(&store, &recorded.trees[tree.step as usize], &when);
                // It is put away and believed from then on.
                store.close().unwrap();
                let (store, report) =
                    Store::open(io, in_sled(tried % 3 == 0)).unwrap_or_else(|e| panic!("{when}: {e}"));
                assert_eq!(report.rebuilt, None, "{when}");
                assert_shows(&store, &recorded.trees[tree.step as usize], &when);
                tried += 1;
            }
        }
        if after_close {
            old_marker = replay.image(Loss::Nothing).files().remove(MARK);
        }
        if !replay.advance() {
            break;
        }
    }
    println!(
        "seed {seed}: {tried} pairs of log and index, {foreign_markers} with a marker of another time; {believed} indexes were believed, all trees right"
    );
    assert!(tried > 100 && believed > 0 && believed < tried && foreign_markers > 0);
}
