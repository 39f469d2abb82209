//! Versions of files: their blocks are coded behind one another.

use lmfs_indexer::MAX_CHAIN;

use super::*;
use crate::packer::batch::{Batch, New};
use crate::packer::job::{Again, JobSpec};
use crate::packer::queue::Waiting;
use crate::packer::similar::Sketch;
use crate::packer::status::Outcome;

/// A file with something inserted and something changed for each version.
fn version(n: u32) -> Vec<u8> {
    let mut bytes = text(3 * BLOCK);
    for k in 0..n as usize {
        bytes.splice(1000 * k..1000 * k + 7, format!("version {k} of it").into_bytes());
    }
    bytes
}

/// Stored blocks that are needed to decode another one.
pub(super) fn chain(f: &Fixture, id: u64) -> usize {
    let reference = f.store.stored_block(id).unwrap().unwrap().reference;
    if reference == 0 { 0 } else { 1 + chain(f, reference) }
}

pub(super) fn reopened(f: Fixture) -> Fixture {
    f.store.sync().unwrap();
    let (store, _) = Store::open(f.io.clone(), OpenOptions::default()).unwrap();
    let store = Arc::new(store);
    Fixture {
        codec: dictionaries::codec(&store, None, lmfs_codec::Options::default()).unwrap(),
        store,
        ..f
    }
}

pub(super) fn assert_clean(f: &Fixture) {
    let options = lmfs_indexer::CheckOptions { log: true };
    let report = f.store.check(&options, &mut |_, _| true).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
}

#[test]
fn versions_take_a_fraction_and_chains_stay_short() {
    let f = Fixture::new();
    f.file(10, &version(0), 100);
    let packer = f.packer();
    run(&packer);
    let first = f.store.totals().stored_bytes;
    for n in 1..9 {
        f.file(10 + u64::from(n), &version(n), 100 - i64::from(n));
    }
    let summary = run(&packer);
    assert_eq!((summary.blocks_failed, summary.blocks_changed), (0, 0), "{summary:?}");
    let totals = f.store.totals();
    assert!(
        totals.stored_bytes < first * 3,
        "{first} bytes for one version, {} for nine",
        totals.stored_bytes
    );
    assert!(totals.referring.blocks >= 16, "{:?}", totals.referring);
    let chains: Vec<usize> = (10..19)
        .flat_map(|ino| f.extents(ino))
        .map(|extent| chain(&f, extent.id))
        .collect();
    assert!(chains.iter().all(|len| *len <= MAX_CHAIN), "{chains:?}");
    assert!(chains.iter().any(|len| *len > 1), "{chains:?}");
    assert_clean(&f);

    // What others need stays when its file goes.
    for ino in 10..18 {
        let name = ino.to_string().into_bytes();
        let parent = ROOT_INO;
        let changes = vec![Change::DelDirent { parent, name }, Change::DelInode(ino)];
        assert!(f.store.commit(changes).unwrap().skipped.is_empty());
    }
    assert!(f.store.totals().kept.blocks > 0);
    let stop = Stop::new();
    crate::maintenance::collect_garbage(&f.store, Effort::Thorough, &stop, &mut |_| ()).unwrap();
    let f = reopened(f);
    assert_eq!(f.contents(18), version(8));
    assert_clean(&f);
}

#[test]
fn a_process_that_opens_a_store_finds_what_was_packed_before() {
    let f = Fixture::new();
    f.file(10, &version(0), 100);
    run(&f.packer());
    let f = reopened(f);
    f.file(11, &version(1), 50);
    run(&f.packer());
    for (extent, similar) in f.extents(11).iter().zip(f.extents(10)) {
        let stored = f.store.stored_block(extent.id).unwrap().unwrap();
        assert_eq!(stored.reference, similar.id);
    }
    assert_eq!(f.contents(11), version(1));
}

#[test]
fn packing_again_keeps_references_or_finds_smaller_ones() {
    let f = Fixture::new();
    for n in 0..4 {
        f.file(10 + u64::from(n), &version(n), 100 - i64::from(n));
    }
    let packer = f.packer();
    run(&packer);
    let before = f.store.totals();
    for packer in [packer, f.packer()] {
        let summary = packer.run(None, &Scope::All, true, 0, &|_| (), &Stop::new()).unwrap();
        assert_eq!(summary.blocks_failed, 0);
        let after = f.store.totals();
        assert!(after.stored_bytes <= before.stored_bytes, "{after:?} after {before:?}");
        for n in 0..4 {
            assert_eq!(f.contents(10 + u64::from(n)), version(n));
        }
        assert_clean(&f);
    }
}

/// A block that another one was coded behind is deleted before that one is committed.
#[test]
fn a_reference_that_goes_meanwhile_costs_the_work_and_nothing_else() {
    let f = Fixture::new();
    f.file(10, &version(0), 100);
    let packer = f.packer();
    run(&packer);
    f.file(11, &version(1), 50);
    let gone = f.extents(10).iter().map(|extent| extent.id).collect::<Vec<_>>();
    let waiting = Waiting {
        ino: 11,
        block: 0,
        extent: f.extents(11)[0],
    };
    let raw = version(1)[..BLOCK].to_vec();
    let reference = version(0)[..BLOCK].to_vec();
    let block = f.codec.encode_behind(&raw, &[], &[&reference], &Stop::new()).unwrap();
    assert!(Codec::needs(&block).unwrap().reference.is_some());
    let pending = f.store.append_again_pending(waiting.extent.id, &block).unwrap();
    let mut batch = Batch::default();
    batch.add(&waiting, New::Packed(Tag::packed(Method::Mix), pending, gone[0]));
    let name = b"10".to_vec();
    let parent = ROOT_INO;
    let changes = vec![Change::DelDirent { parent, name }, Change::DelInode(10)];
    assert!(f.store.commit(changes).unwrap().skipped.is_empty());
    let outcomes = batch.commit(&f.store).unwrap();
    assert!(matches!(outcomes[..], [(_, Outcome::Changed)]), "{outcomes:?}");
    assert_eq!(f.contents(11), version(1));
    run(&packer);
    assert_eq!(f.contents(11), version(1));
    assert_clean(&f);
}

/// Digits without a pattern.
fn digits(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let digit = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b"0123456789abcdef"[(state >> 40) as usize % 16]
    });
    digit.take(len).collect()
}

#[test]
fn of_two_candidates_the_one_behind_which_a_block_is_smaller_is_its_reference() {
    let f = Fixture::new();
    let raw = digits(1, BLOCK);
    // One has more bytes in a row in common with the block, and the other one nearly all bytes.
    let likeliest = [&raw[..BLOCK * 6 / 10], &digits(2, BLOCK * 4 / 10)].concat();
    let mut better = raw.clone();
    better[..BLOCK * 7 / 10]
        .iter_mut()
        .step_by(14)
        .for_each(|byte| *byte = b'-');
    let packer = f.packer();
    for (ino, contents) in [(10, &likeliest), (11, &better)] {
        f.file(ino, contents, 0);
        run(&packer);
    }
    let [first, second] = [10, 11].map(|ino| f.extents(ino)[0].id);
    let found = packer.similar.lock().find(&Sketch::of(&raw));
    assert_eq!(
        found.iter().map(|alike| alike.block).collect::<Vec<_>>(),
        [first, second]
    );
    f.file(12, &raw, 0);
    run(&packer);
    let stored = f.store.stored_block(f.extents(12)[0].id).unwrap().unwrap();
    assert_eq!(stored.reference, second);
    let f = reopened(f);
    assert_eq!(f.contents(12), raw);
    assert_clean(&f);
}

/// Regression: 32 blocks were remembered however small they were, so that chains were decoded again and again.
#[test]
fn many_small_blocks_stay_in_memory_for_those_that_refer_to_them() {
    let f = Fixture::new();
    let contents = Contents::new(f.store.clone(), f.codec.clone());
    let referred = |ino: u64| contents.referred(f.extents(ino)[0], None, &Stop::new()).unwrap();
    (10..60).for_each(|ino| f.file(ino, format!("file {ino}").as_bytes(), 0));
    let first = referred(10);
    (11..60).for_each(|ino| assert_eq!(*referred(ino), format!("file {ino}").into_bytes()));
    assert!(Arc::ptr_eq(&first, &referred(10)));
}

/// Regression: the limit of what a process looks at did not count what has to be decoded for it.
#[test]
fn what_is_looked_at_counts_with_its_chain() {
    let f = Fixture::new();
    let packer = f.packer();
    // The newest one comes first in the store.
    for n in 0..4 {
        f.file(20 - u64::from(n), &version(n), 0);
        run(&packer);
    }
    let newest = f.extents(17);
    let needed = chain(&f, newest[0].id);
    assert!(needed > 0);
    let packer = f.packer();
    let spec = JobSpec {
        scope: &Scope::All,
        idle: None,
        threads: 1,
        again: Again::Never,
        helpers: None,
    };
    let computing = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let most = ((needed + 1) * BLOCK) as u64;
    packer.recall(most, &spec, &computing, &Stop::new()).unwrap();
    let knows = |block: usize| {
        let sketch = Sketch::of(&version(3)[block * BLOCK..][..BLOCK]);
        let found = packer.similar.lock().find(&sketch);
        found.iter().any(|alike| alike.block == newest[block].id)
    };
    assert!(knows(0));
    assert!(!knows(1), "it is beyond the limit");
}
