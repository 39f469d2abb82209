//! A disk that fails: every call of a history fails in turn, once or for a while.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod workload;

use lmfs_indexer::io::{CrashIo, Fault, FaultIo, Loss};
use lmfs_indexer::*;
use std::sync::Arc;
use workload::*;

const SEED: u64 = 20261120;

fn create(seed: u64) -> (CrashIo, Arc<FaultIo>, Store, Vec<Op>, Random) {
    let disk = CrashIo::new();
    let io = Arc::new(FaultIo::new(Arc::new(disk.clone())));
    let mut create = CreateOptions::new([1; 16]);
    create.segment_size = 4096;
    let store = Store::create(io.clone(), create).unwrap();
    let mut random = Random(seed);
    let ops = history(&mut random, 100);
    (disk, io, store, ops, random)
}

/// Calls of the history that this fault concerns.
fn calls(fault: Fault) -> u64 {
    let (_, io, store, ops, mut random) = create(SEED);
    io.fail(fault, u64::MAX, 0);
    let mut tree = Tree::default();
    for op in &ops {
        tree.run(&store, op, &mut random, &mut |_| ()).unwrap();
    }
    io.mend().0
}

/// Lets `count` calls from number `after` on fail. Says how many operations failed, and whether writing stopped.
fn run(fault: Fault, after: u64, count: u64) -> (u64, bool) {
    let when = format!("seed {SEED}, {fault:?} at call {after}, {count} times");
    let (disk, io, store, ops, mut random) = create(SEED);
    io.fail(fault, after, count);
    let mut tree = Tree::default();
    let mut trees = vec![tree.clone()];
    let (mut promised, mut failed, mut stopped) = (0, 0, false);
    for op in &ops {
        let hits = io.hits();
        let done = tree.run(&store, op, &mut random, &mut |next| {
            // The same number again: the transaction before failed and never was.
            trees.truncate(next.step as usize);
            trees.push(next.clone());
        });
        trees.truncate(tree.step as usize + 1);
        match done {
            Ok(()) => {
                if matches!(op, Op::Sync | Op::Checkpoint) {
                    assert!(!stopped, "{when}: a promise after writing stopped");
                    promised = tree.step;
                }
            }
            Err(e) => {
                failed += 1;
                stopped |= matches!(e, Error::WritesFailed(_));
                let blamed = io.hits() > hits || stopped;
                assert!(blamed, "{when}: {op:?} fails on a disk that works: {e}");
                match e {
                    Error::WritesFailed(_) => {}
                    Error::NoSpace { .. } => assert_eq!(fault, Fault::NoSpace, "{when}"),
                    Error::Io { .. } => assert_eq!(fault, Fault::Error, "{when}"),
                    e => panic!("{when}: {op:?} fails with {e:?}"),
                }
            }
        }
    }
    assert!(io.mend().1 > 0, "{when}: nothing was hit");
    // Reading goes on, and shows what was done, all of it and nothing else.
    assert_shows(&store, &tree, &when);
    if !stopped {
        for op in history(&mut Random(after), 10) {
            tree.run(&store, &op, &mut random, &mut |_| ())
                .unwrap_or_else(|e| panic!("{when}: {op:?} afterwards: {e}"));
        }
        store.sync().unwrap();
        (promised, trees) = (tree.step, vec![tree.clone()]);
    }
    drop(store);
    for loss in [Loss::Nothing, Loss::Everything, Loss::Any(after)] {
        let when = format!("{when}, then {loss:?} lost");
        let files = disk.crash(disk.events(), loss);
        let (store, _) =
            Store::open(Arc::new(MemIo::from_files(files)), options()).unwrap_or_else(|e| panic!("{when}: {e}"));
        let found = Tree::read(&store).unwrap_or_else(|e| panic!("{when}: {e}"));
        assert!(found.step >= promised, "{when}: {} of {promised}", found.step);
        let same = trees.iter().find(|t| t.step == found.step);
        assert_shows(&store, same.unwrap_or_else(|| panic!("{when}: {found:?}")), &when);
    }
    (failed, stopped)
}

fn every_call(fault: Fault, counts: &[u64]) -> (u64, u64) {
    let calls = calls(fault);
    let (mut failed, mut stopped) = (0, 0);
    for &count in counts {
        for after in 0..calls {
            let (f, s) = run(fault, after, count);
            failed += u64::from(f > 0);
            stopped += u64::from(s);
        }
    }
    let runs = calls * counts.len() as u64;
    println!(
        "seed {SEED}: {fault:?} at each of {calls} calls, {counts:?} times in a row: {runs} runs; in {failed} an operation failed, in {stopped} writing stopped"
    );
    assert!(calls > 50);
    (failed, stopped)
}

#[test]
fn no_space_at_every_call_is_an_error_and_work_goes_on_when_there_is_space() {
    let (failed, stopped) = every_call(Fault::NoSpace, &[1, 9]);
    assert!(failed > 100);
    assert_eq!(stopped, 0, "a full disk must not stop writing for good");
}

#[test]
fn an_io_error_at_every_call_loses_nothing_promised() {
    let (failed, stopped) = every_call(Fault::Error, &[1, 3]);
    assert!(failed > stopped && stopped > 0);
}

#[test]
fn short_writes_at_every_call_are_finished() {
    let (failed, stopped) = every_call(Fault::ShortWrites, &[1, 20]);
    assert_eq!((failed, stopped), (0, 0));
}

#[test]
fn an_error_at_every_call_of_opening_costs_nothing() {
    let (disk, _, store, ops, mut random) = create(SEED);
    let mut tree = Tree::default();
    for op in &ops {
        tree.run(&store, op, &mut random, &mut |_| ()).unwrap();
    }
    drop(store);
    let files = disk.crash(disk.events(), Loss::Nothing);
    let newest = files.keys().next_back().unwrap().clone();
    let mut runs = 0;
    for fault in [Fault::Error, Fault::NoSpace] {
        for unfinished in [false, true] {
            for after in 0.. {
                let when = format!("seed {SEED}, {fault:?} at call {after} of opening");
                let mut files = files.clone();
                // Something to delete, or something to cut.
                if unfinished {
                    files.insert("segments/0000ffff.seg".into(), vec![0; 30]);
                } else {
                    files.get_mut(&newest).unwrap().extend([7; 100]);
                }
                let io = Arc::new(FaultIo::new(Arc::new(MemIo::from_files(files))));
                io.fail(fault, after, 1);
                let first = Store::open(io.clone(), options());
                let hit = io.mend().1 > 0;
                assert!(hit || first.is_ok(), "{when}");
                drop(first);
                let (store, _) = Store::open(io, options()).unwrap_or_else(|e| panic!("{when}: {e}"));
                assert_shows(&store, &tree, &when);
                runs += 1;
                if !hit {
                    break;
                }
            }
        }
    }
    println!("seed {SEED}: {runs} runs");
    assert!(runs > 50);
}

/// After a failed sync the page cache shows what the disk never got, and the next sync says "fine": a store that was
/// opened again went on behind a hole, and was damaged after the next power cut.
#[test]
fn what_a_failed_sync_dropped_is_written_again_before_work_goes_on() {
    let (mut runs, mut harmless) = (0, 0);
    for after in 0.. {
        let when = format!("seed {SEED}, file sync {after} fails");
        let (disk, _, store, ops, mut random) = create(SEED);
        disk.fail_sync(after);
        let mut tree = Tree::default();
        let failed = ops
            .iter()
            .find_map(|op| tree.run(&store, op, &mut random, &mut |_| ()).err());
        drop(store);
        let Some(failed) = failed else {
            // A marker that could not be written is no failure, and one follows no other. More of them: there was none
            // left.
            harmless += 1;
            if harmless > 2 {
                break;
            }
            continue;
        };
        harmless = 0;
        assert!(matches!(failed, Error::WritesFailed(_)), "{when}: {failed}");
        // The system goes on, and so does the work.
        let (store, report) = Store::open(Arc::new(disk.clone()), options()).unwrap_or_else(|e| panic!("{when}: {e}"));
        assert_eq!((report.cut_bytes, &report.warnings[..]), (0, &[][..]), "{when}");
        assert_shows(&store, &tree, &when);
        let opened = (disk.events(), tree.clone());
        tree.packing = Packing::default();
        for op in history(&mut Random(after as u64), 10) {
            tree.run(&store, &op, &mut random, &mut |_| ()).unwrap();
        }
        store.sync().unwrap();
        drop(store);
        for (events, tree) in [opened, (disk.events(), tree)] {
            for loss in [Loss::Everything, Loss::Any(after as u64), Loss::Nothing] {
                let when = format!("{when}, then {loss:?} lost");
                let files = disk.crash(events, loss);
                let (store, _) = Store::open(Arc::new(MemIo::from_files(files)), options())
                    .unwrap_or_else(|e| panic!("{when}: {e}"));
                assert_shows(&store, &tree, &when);
            }
        }
        runs += 1;
    }
    println!("seed {SEED}: {runs} failed syncs");
    assert!(runs > 20);
}

/// The last sync of closing failed, and the marker was written as if it had not: it vouched for a record that the disk
/// never got, and after a power cut the store was refused as damaged.
#[test]
fn a_failed_sync_while_closing_leaves_no_mark_that_vouches_for_what_was_not_synced() {
    let mut failed = 0;
    for after in 0..6 {
        let (disk, _, store, ops, mut random) = create(SEED);
        let mut tree = Tree::default();
        for op in &ops {
            tree.run(&store, op, &mut random, &mut |_| ()).unwrap();
        }
        store.sync().unwrap();
        disk.fail_sync(after);
        let closed = store.close();
        failed += u64::from(closed.is_err());
        for loss in [Loss::Everything, Loss::Any(1), Loss::Any(2), Loss::Nothing] {
            let when = format!("file sync {after} of closing fails ({closed:?}), then {loss:?} lost");
            let files = disk.crash(disk.events(), loss);
            let (store, _) =
                Store::open(Arc::new(MemIo::from_files(files)), options()).unwrap_or_else(|e| panic!("{when}: {e}"));
            assert_shows(&store, &tree, &when);
        }
    }
    assert_eq!(
        failed, 1,
        "of the log's own syncs there is one left, and the marker's is worth no error"
    );
}

/// It was forgotten, and its space was lost until the store was opened again.
#[test]
fn a_segment_that_could_not_be_deleted_is_deleted_by_the_next_collection() {
    let mut runs = 0;
    for after in 0.. {
        let (disk, io, store, ops, mut random) = create(SEED);
        let mut tree = Tree::default();
        for op in ops.iter().filter(|op| !matches!(op, Op::Collect)) {
            tree.run(&store, op, &mut random, &mut |_| ()).unwrap();
        }
        io.fail(Fault::Error, after, 1);
        let failed = collect(&store);
        let hit = io.mend().1 > 0;
        if !matches!(failed, Err(Error::WritesFailed(_))) {
            collect(&store).unwrap();
            let files = disk.crash(disk.events(), Loss::Nothing);
            let segments = files.iter().filter(|(path, _)| path.starts_with("segments/"));
            let bytes: usize = segments.map(|(_, bytes)| bytes.len()).sum();
            let totals = store.totals();
            assert_eq!(bytes as u64, totals.log_bytes, "seed {SEED}, call {after}");
        }
        assert_shows(&store, &tree, "after collecting");
        runs += 1;
        if !hit {
            break;
        }
    }
    println!("seed {SEED}: {runs} runs");
    assert!(runs > 10);
}

/// A bad sector stopped garbage collection for good: it gave up at the first segment that it could not read.
#[test]
fn bad_sectors_stop_no_collection_and_cost_only_what_lies_in_them() {
    const BLOCK: usize = 300;
    let mut random = Random(SEED);
    let (mut moved, mut kept) = (0, 0);
    for round in 0..rounds(20, 300) {
        let when = format!("seed {SEED}, round {round}");
        let memory = MemIo::new();
        let io = Arc::new(FaultIo::new(Arc::new(memory.clone())));
        let mut create = CreateOptions::new([1; 16]);
        create.segment_size = 4096;
        let store = Store::create(io.clone(), create).unwrap();
        let mut tree = Tree::default();
        for ino in 2..10 {
            let blocks = (0..20).map(|n| (n, BLOCK)).collect();
            tree.run(&store, &Op::Write(ino, blocks), &mut random, &mut |_| ())
                .unwrap();
        }
        store.checkpoint().unwrap();
        for ino in 2..10 {
            tree.run(&store, &Op::Truncate(ino, 10), &mut random, &mut |_| ())
                .unwrap();
        }
        let before = store.totals();
        let files = memory.files();
        let (path, bytes) = files.iter().nth(random.below(files.len() as u64 - 2) as usize).unwrap();
        let start = random.below(bytes.len() as u64) / 512 * 512;
        io.bad_place(path, start..start + 512);
        let report = collect(&store).unwrap_or_else(|e| panic!("{when}: {e}"));
        assert!(report.deleted > 1 && report.moved_blocks > 40, "{when}: {report:?}");
        assert!(store.totals().log_bytes < before.log_bytes, "{when}");
        moved += report.moved_blocks;
        let all = CheckOptions { log: true };
        let findings = store.check(&all, &mut |_, _| true).unwrap().findings;
        let here = |f: &Finding| f.segment.is_some_and(|id| *path == format!("segments/{id:08x}.seg"));
        assert!(findings.iter().all(here), "{when}: {findings:?}");
        // Collecting goes on, whatever is asked of the store.
        tree.run(&store, &Op::Unlink(2), &mut random, &mut |_| ()).unwrap();
        collect(&store).unwrap();
        for ino in tree.files.keys() {
            for (block, bytes) in &tree.files[ino].blocks {
                let extent = store.extent(*ino, *block).unwrap().unwrap();
                match store.read_block_of(*ino, *block, &extent) {
                    Ok(found) => assert_eq!(found, **bytes, "{when}"),
                    Err(Error::Io { .. }) => kept += 1,
                    Err(e) => panic!("{when}: {e}"),
                }
            }
        }
        drop(store);
        // A disk whose bad sector was replaced shows all of it.
        let (store, _) = Store::open(Arc::new(memory), options()).unwrap();
        assert_shows(&store, &tree, &when);
    }
    println!("seed {SEED}: {moved} blocks moved beside bad sectors, {kept} blocks in them kept");
    assert!(kept > 0 && moved > kept);
}

/// Damage is searched in pieces, and each of them was told as damage of its own.
#[test]
fn a_long_run_of_bad_sectors_is_told_once() {
    const BLOCK: usize = 500_001;
    let memory = MemIo::new();
    let io = Arc::new(FaultIo::new(Arc::new(memory.clone())));
    let mut create = CreateOptions::new([1; 16]);
    create.segment_size = 50 << 20;
    let store = Store::create(io.clone(), create).unwrap();
    let (mut tree, mut random) = (Tree::default(), Random(SEED));
    for ino in 2..122 {
        tree.run(&store, &Op::Write(ino, vec![(0, BLOCK)]), &mut random, &mut |_| ())
            .unwrap();
    }
    store.checkpoint().unwrap();
    // What stays is in front of the bad place and behind it.
    for ino in 4..98 {
        tree.run(&store, &Op::Truncate(ino, 0), &mut random, &mut |_| ())
            .unwrap();
    }
    let files = memory.files();
    let (path, bytes) = files.iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    assert!(bytes.len() > 45 << 20, "{path}: {}", bytes.len());
    io.bad_place(path, 2 << 20..42 << 20);
    let findings = store
        .check(&CheckOptions { log: true }, &mut |_, _| true)
        .unwrap()
        .findings;
    assert_eq!(findings.len(), 1, "{findings:?}");
    let report = collect(&store).unwrap();
    assert!(report.moved_blocks > 2, "{report:?}");
    assert_eq!(report.damaged.len(), 1, "{report:?}");
    assert_shows(&store, &tree, "beside the bad place");
}
