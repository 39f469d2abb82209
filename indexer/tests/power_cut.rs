//! Power cuts: a history is recorded with every write and sync, and cut after every one of them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod workload;

use lmfs_indexer::io::{CrashIo, Loss};
use lmfs_indexer::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use workload::*;

/// A history as it happened.
struct Recorded {
    io: CrashIo,
    /// The tree after each transaction.
    trees: Vec<Tree>,
    /// (events, steps): when so many events had happened, so many transactions were promised to be durable.
    promised: Vec<(usize, u64)>,
}

fn record(seed: u64, len: usize) -> Recorded {
    let io = CrashIo::new();
    let mut create = CreateOptions::new([1; 16]);
    create.segment_size = 4096;
    let store = Store::create(Arc::new(io.clone()), create).unwrap();
    let mut random = Random(seed);
    let mut tree = Tree::default();
    let (mut trees, mut promised) = (vec![tree.clone()], vec![(io.events(), 0)]);
    for op in history(&mut random, len) {
        tree.run(&store, &op, &mut random, &mut |next| trees.push(next.clone()))
            .unwrap();
        if matches!(op, Op::Sync | Op::Checkpoint) {
            promised.push((io.events(), tree.step));
        }
    }
    assert_shows(&store, &tree, "without a crash");
    Recorded { io, trees, promised }
}

impl Recorded {
    /// Opens what a crash left, and compares.
    fn check(&self, files: BTreeMap<String, Vec<u8>>, at: usize, when: &str) -> (MemIo, Tree) {
        let promised = self.promised.iter().rev().find(|(e, _)| *e <= at).unwrap().1;
        let io = MemIo::from_files(files);
        let (store, _) = Store::open(Arc::new(io.clone()), options()).unwrap_or_else(|e| panic!("{when}: {e}"));
        let tree = Tree::read(&store).unwrap_or_else(|e| panic!("{when}: {e}"));
        assert!(tree.step >= promised, "{when}: {} of {promised} promised", tree.step);
        assert_shows(&store, &self.trees[tree.step as usize], when);
        (io, tree)
    }
}

const LOSSES: [Loss; 4] = [Loss::Nothing, Loss::Everything, Loss::Any(1), Loss::Any(2)];

#[test]
fn power_cut_at_every_write_and_sync_loses_nothing_promised() {
    let seed = 20261120;
    let recorded = record(seed, 400);
    let first = recorded.promised[0].0;
    let events = recorded.io.events();
    let mut cuts = 0;
    for at in first..=events {
        for loss in LOSSES {
            let loss = match loss {
                Loss::Any(n) => Loss::Any(n * 1_000_003 + at as u64),
                other => other,
            };
            let when = format!("seed {seed}, cut after event {at} of {events}, {loss:?}");
            recorded.check(recorded.io.crash(at, loss), at, &when);
            cuts += 1;
        }
    }
    let syncs = recorded.io.syncs(events);
    println!(
        "seed {seed}: {} transactions, {events} writes and syncs, {syncs} syncs; {cuts} crashes tried, at every one of them",
        recorded.trees.len() - 1
    );
    assert!(syncs > 100 && recorded.trees.len() > 200);
}

#[test]
fn power_cut_while_opening_after_a_power_cut() {
    let seed = 7;
    let recorded = record(seed, 120);
    let first = recorded.promised[0].0;
    let mut cuts = 0;
    for at in (first..=recorded.io.events()).step_by(3) {
        let files = recorded.io.crash(at, Loss::Any(at as u64));
        let again = CrashIo::from_files(files);
        let (store, _) = Store::open(Arc::new(again.clone()), options()).unwrap();
        let tree = Tree::read(&store).unwrap();
        // Work goes on, and is cut as well.
        let key = b"after".to_vec();
        let _ = store.commit(vec![Change::PutMeta { key, value: vec![1] }]).unwrap();
        drop(store);
        for event in 0..=again.events() {
            let when = format!("seed {seed}, cut after event {at}, and after event {event} of opening");
            let files = again.crash(event, Loss::Any(event as u64));
            let (_, found) = recorded.check(files, at, &when);
            assert!(found.step <= tree.step, "{when}");
            cuts += 1;
        }
    }
    println!("seed {seed}: {cuts} second crashes tried");
}

#[test]
fn work_goes_on_after_a_power_cut() {
    let seed = 3;
    let recorded = record(seed, 60);
    let first = recorded.promised[0].0;
    for at in first..=recorded.io.events() {
        let when = format!("seed {seed}, cut after event {at}");
        let files = recorded.io.crash(at, Loss::Any(at as u64));
        let (io, mut tree) = recorded.check(files, at, &when);
        let (store, _) = Store::open(Arc::new(io.clone()), options()).unwrap();
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
    }
}
