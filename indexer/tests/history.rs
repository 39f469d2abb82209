//! Random histories: what the live index shows, what is made from the log alone, and what bit rot leaves of either.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod workload;

use lmfs_indexer::*;
use proptest::prelude::*;
use std::sync::Arc;
use workload::*;

/// All that a store says of itself, and the listing of its root with the cookies. Not where things lie on the disk, and
/// not the estimate of its garbage, which depends on when the rows were last looked at.
fn sums(store: &Store) -> (Totals, u64, Vec<Inode>, Vec<Listed>) {
    let mut totals = store.totals();
    (totals.index_bytes, totals.dead_bytes) = (0, 0);
    let listing = store.listed(ROOT_INO, Cookie::START, 1000).unwrap();
    (totals, store.max_ino(), store.inodes(0, 1000).unwrap(), listing)
}

/// Runs a history of restarts and operations, and compares the live index with one made from the log alone.
fn rebuild_shows_what_was_live(io: &dyn Fn() -> Arc<dyn Io>, seed: u64, len: usize) {
    let mut create = CreateOptions::new([1; 16]);
    create.segment_size = 4096;
    let mut store = Store::create(io(), create).unwrap();
    let mut random = Random(seed);
    let mut tree = Tree::default();
    for op in history(&mut random, len) {
        tree.run(&store, &op, &mut random, &mut |_| ()).unwrap();
        let restart = random.below(25);
        if restart < 2 {
            tree.packing = Packing::default();
            match restart {
                0 => drop(store),
                _ => store.close().unwrap(),
            }
            (store, _) = Store::open(io(), options()).unwrap();
            assert_eq!(store.totals().inodes, tree.files.len() as u64 + 1);
        }
    }
    assert_shows(&store, &tree, "live");
    let live = sums(&store);
    drop(store);
    io().clear_dir("index", "").unwrap();
    let read_only = OpenOptions {
        read_only: true,
        ..options()
    };
    for options in [read_only, options()] {
        let (store, report) = Store::open(io(), options).unwrap();
        assert!(report.rebuilt.is_some() && report.warnings.is_empty(), "{report:?}");
        assert_shows(&store, &tree, "rebuilt");
        assert_eq!(sums(&store), live);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(rounds(64, 3000) as u32))]

    #[test]
    fn a_rebuild_from_the_log_alone_gives_the_same_tree(seed: u64, len in 1usize..200) {
        let io = MemIo::new();
        rebuild_shows_what_was_live(&|| Arc::new(io.clone()), seed, len);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(rounds(6, 100) as u32))]

    #[test]
    fn a_rebuild_from_the_log_alone_gives_the_same_tree_on_a_disk(seed: u64, len in 1usize..200) {
        let dir = tempfile::tempdir().unwrap();
        rebuild_shows_what_was_live(&|| Arc::new(RealIo::new(dir.path()).unwrap()), seed, len);
    }
}

#[test]
fn a_flipped_byte_of_the_log_is_noticed_or_harmless() {
    let io = MemIo::new();
    let mut create = CreateOptions::new([1; 16]);
    create.segment_size = 4096;
    let store = Store::create(Arc::new(io.clone()), create).unwrap();
    let mut random = Random(11);
    let mut tree = Tree::default();
    for op in history(&mut random, 40) {
        tree.run(&store, &op, &mut random, &mut |_| ()).unwrap();
    }
    store.close().unwrap();
    let mut whole = io.files();
    // With the index that was put away, the log would not be read.
    whole.remove("index/rows").unwrap();
    let (mut refused, mut contained, mut harmless) = (0, 0, 0);
    for (path, bytes) in &whole {
        for at in 0..bytes.len() {
            let when = format!("a flip at {at} of {path}");
            let mut files = whole.clone();
            files.get_mut(path).unwrap()[at] ^= 0x10;
            match Store::open(Arc::new(MemIo::from_files(files)), options()) {
                Err(Error::LogDamaged { .. } | Error::NewerFormat { .. }) => refused += 1,
                Err(e) => panic!("{when}: {e}"),
                Ok((store, _)) => match Tree::read(&store) {
                    Ok(found) => {
                        assert!(found == tree, "{when}: {found:?}");
                        harmless += 1;
                    }
                    Err(Error::Damaged { ino: Some(_), .. }) => contained += 1,
                    Err(e) => panic!("{when}: {e}"),
                },
            }
        }
    }
    println!("flips: {refused} refused, {contained} contained, {harmless} without effect");
    assert!(refused > 0 && contained > refused && harmless > 0);
}
