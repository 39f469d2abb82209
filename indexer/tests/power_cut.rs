//! Power cuts: a history is recorded with every write and sync, and cut after every one of them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod workload;

use lmfs_indexer::io::{CrashIo, Io, Loss, Replay};
use lmfs_indexer::*;
use std::sync::Arc;
use workload::soak::step;
use workload::*;

/// A history as it happened.
struct Recorded {
    seed: u64,
    io: CrashIo,
    /// The tree after each transaction.
    trees: Vec<Tree>,
    /// (events, steps): when so many events had happened, so many transactions were promised to be durable.
    promised: Vec<(usize, u64)>,
    /// Events at which a store was being opened: (from, to).
    openings: Vec<(usize, usize)>,
}

/// What happens between operations, now and then.
#[derive(Debug)]
enum Restart {
    /// The process is killed.
    Kill,
    Close,
    /// The index is deleted while nobody uses the store.
    Rebuild,
}

fn record(seed: u64, len: usize) -> Recorded {
    let io = CrashIo::new();
    let mut create = CreateOptions::new([1; 16]);
    create.segment_size = 4096;
    let mut store = Store::create(Arc::new(io.clone()), create).unwrap();
    let mut random = Random(seed);
    let mut tree = Tree::default();
    let (mut trees, mut promised, mut openings) = (vec![tree.clone()], vec![(io.events(), 0)], vec![]);
    for op in history(&mut random, len) {
        if random.below(40) == 0 {
            match [Restart::Kill, Restart::Close, Restart::Rebuild][random.below(3) as usize] {
                Restart::Kill => drop(store),
                Restart::Close => store.close().unwrap(),
                Restart::Rebuild => {
                    store.close().unwrap();
                    io.clear_dir("index", "").unwrap();
                }
            }
            let from = io.events();
            let report;
            (store, report) = Store::open(Arc::new(io.clone()), options()).unwrap();
            assert_eq!((report.cut_bytes, report.warnings), (0, Vec::new()));
            // What was packed for swapping in later is lost with the process.
            tree.packing = Packing::default();
            assert_shows(&store, &tree, "restarted");
            // What a killed process wrote is made durable by the next one.
            openings.push((from, io.events()));
            promised.push((io.events(), tree.step));
        }
        tree.run(&store, &op, &mut random, &mut |next| trees.push(next.clone()))
            .unwrap_or_else(|e| panic!("seed {seed}: {op:?}: {e}"));
        if matches!(op, Op::Sync | Op::Checkpoint) {
            promised.push((io.events(), tree.step));
        }
    }
    assert_shows(&store, &tree, "without a crash");
    Recorded {
        seed,
        io,
        trees,
        promised,
        openings,
    }
}

impl Recorded {
    /// The record at its first promise.
    fn start(&self) -> Replay {
        let mut replay = self.io.replay();
        while replay.at() < self.promised[0].0 {
            replay.advance();
        }
        replay
    }

    /// Opens what a crash after event `at` left, and compares.
    fn check(&self, io: &MemIo, at: usize, when: &str) -> (Store, Tree) {
        let when = format!("seed {}, cut after event {at}, {when}", self.seed);
        let before = self.promised.partition_point(|(event, _)| *event <= at);
        let promised = self.promised[before - 1].1;
        let (store, _) = Store::open(Arc::new(io.clone()), options()).unwrap_or_else(|e| panic!("{when}: {e}"));
        let tree = Tree::read(&store).unwrap_or_else(|e| panic!("{when}: {e}"));
        assert!(tree.step >= promised, "{when}: {} of {promised} promised", tree.step);
        let expected = &self.trees[tree.step as usize];
        assert!(tree == *expected, "{when}: {tree:?}\nshould be {expected:?}");
        assert_clean(&store, &when);
        (store, tree)
    }
}

#[test]
fn power_cut_at_every_write_and_sync_loses_nothing_promised() {
    let recorded = record(20261121, rounds(400, 2000));
    let events = recorded.io.events();
    let mut replay = recorded.start();
    let mut cuts = 0;
    loop {
        let at = replay.at();
        let seed = at as u64;
        for loss in [
            Loss::Nothing,
            Loss::Everything,
            Loss::Any(seed),
            Loss::Any(seed + 1_000_003),
        ] {
            recorded.check(&replay.image(loss), at, &format!("{loss:?} lost"));
            cuts += 1;
        }
        if !replay.advance() {
            break;
        }
    }
    let syncs = recorded.io.syncs(events);
    println!(
        "seed {}: {} operations, {} transactions, {} restarts, {events} writes and syncs, {syncs} of them syncs; {cuts} crashes tried, at every one of them",
        recorded.seed,
        rounds(400, 2000),
        recorded.trees.len() - 1,
        recorded.openings.len(),
    );
    assert!(syncs > 100 && recorded.trees.len() > 200 && recorded.openings.len() > 3);
}

#[test]
fn power_cut_while_opening_after_a_power_cut() {
    let recorded = record(7, rounds(120, 400));
    let mut replay = recorded.start();
    let mut cuts = 0;
    loop {
        let at = replay.at();
        if at.is_multiple_of(step(3, 1)) {
            let again = CrashIo::from_files(replay.image(Loss::Any(at as u64)).files());
            let (store, _) = Store::open(Arc::new(again.clone()), options()).unwrap();
            let tree = Tree::read(&store).unwrap();
            // Work goes on, and is cut as well.
            let key = b"after".to_vec();
            let _ = store.commit(vec![Change::PutMeta { key, value: vec![1] }]).unwrap();
            drop(store);
            let mut second = again.replay();
            loop {
                let when = format!("and after event {} of opening", second.at());
                let (_, found) = recorded.check(&second.image(Loss::Any(second.at() as u64)), at, &when);
                assert!(found.step <= tree.step, "{when}");
                cuts += 1;
                if !second.advance() {
                    break;
                }
            }
        }
        if !replay.advance() {
            break;
        }
    }
    println!("seed {}: {cuts} second crashes tried", recorded.seed);
    assert!(cuts > 1000);
}

#[test]
fn work_goes_on_after_a_power_cut() {
    let recorded = record(3, rounds(60, 400));
    let mut replay = recorded.start();
    let mut cuts = 0;
    loop {
        let at = replay.at();
        let io = replay.image(Loss::Any(at as u64));
        let (store, mut tree) = recorded.check(&io, at, "work to go on");
        let when = format!("seed {}, cut after event {at}, later", recorded.seed);
        let mut random = Random(at as u64);
        for op in history(&mut random, 30) {
            tree.run(&store, &op, &mut random, &mut |_| ()).unwrap();
        }
        store.sync().unwrap();
        assert_shows(&store, &tree, &when);
        drop(store);
        let (store, report) = Store::open(Arc::new(io), options()).unwrap();
        assert!(report.warnings.is_empty(), "{when}: {:?}", report.warnings);
        assert_shows(&store, &tree, &when);
        cuts += 1;
        if !replay.advance() {
            break;
        }
    }
    println!("seed {}: work went on after {cuts} crashes", recorded.seed);
}
