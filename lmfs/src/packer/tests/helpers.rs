//! Blocks that others encode.

use std::sync::atomic::AtomicUsize;

use super::*;
use crate::packer::encode::{Check, Depth, EncodeJob, Helpers, Unfit};

/// Helps with what it is told, at `places` places.
struct Helper<'a> {
    places: AtomicUsize,
    helped: AtomicU64,
    make: &'a (dyn Fn(&EncodeJob<'_>, &Stop) -> Option<Vec<u8>> + Sync),
}

impl<'a> Helper<'a> {
    fn new(make: &'a (dyn Fn(&EncodeJob<'_>, &Stop) -> Option<Vec<u8>> + Sync)) -> Helper<'a> {
        Helper {
            places: AtomicUsize::new(3),
            helped: AtomicU64::new(0),
            make,
        }
    }
}

impl Helpers for Helper<'_> {
    fn count(&self) -> usize {
        1
    }

    fn places(&self) -> usize {
        self.places.load(Ordering::Relaxed)
    }

    fn encode(
        &self,
        job: &EncodeJob<'_>,
        check: &Check<'_>,
        stop: &Stop,
    ) -> Result<Option<Vec<u8>>, lmfs_codec::Error> {
        let Some(block) = (self.make)(job, stop) else {
            return Ok(None);
        };
        match check(&block, Depth::Full) {
            Ok(()) => {
                self.helped.fetch_add(1, Ordering::Relaxed);
                Ok(Some(block))
            }
            Err(Unfit::Interrupted) => Err(lmfs_codec::Error::Interrupted),
            Err(_) => Ok(None),
        }
    }
}

fn run_with(f: &Fixture, helper: &Helper<'_>) -> Summary {
    let packer = f.packer();
    let none = Stop::new();
    packer.run(Some(helper), &Scope::All, false, 0, &|_| (), &none).unwrap()
}

/// Blocks of which no two are alike: those are not coded behind each other in an order that depends on the threads.
fn fill(f: &Fixture) -> Vec<u8> {
    let contents: Vec<u8> = (0..12_u32)
        .flat_map(|n| {
            let words = (0..BLOCK as u32 / 8).map(move |at| (at * (n * 7919 + 13) + n * n * 104_729) % 9_973 / (n + 1));
            words.flat_map(|word| format!("{word:08}").into_bytes())
        })
        .collect();
    for (ino, raw) in FILES.zip(contents.chunks(BLOCK)) {
        f.file(ino, raw, 100);
    }
    contents
}

/// The files of [`fill`], each of one block: others get no blocks that become a solid head.
const FILES: std::ops::Range<u64> = 5..17;

fn filled(f: &Fixture) -> Vec<u8> {
    FILES.flat_map(|ino| f.contents(ino)).collect()
}

fn is_done(f: &Fixture) -> bool {
    FILES
        .flat_map(|ino| f.methods(ino))
        .all(|(_, needs_packing)| !needs_packing)
}

#[test]
fn blocks_of_others_are_stored_as_this_process_would_have_made_them() {
    let (helped, alone) = (Fixture::new(), Fixture::new());
    let contents = fill(&helped);
    assert_eq!(fill(&alone), contents);
    let make = |job: &EncodeJob<'_>, stop: &Stop| {
        let made = helped
            .codec
            .encode_behind(job.raw, job.dictionaries, job.references, stop);
        Some(made.unwrap())
    };
    let helper = Helper::new(&make);
    let summary = run_with(&helped, &helper);
    let expected = run(&alone.packer());
    assert_eq!(summary.blocks_packed, expected.blocks_packed);
    assert!(summary.blocks_packed > 6, "{summary:?}");
    let blocks = |f: &Fixture| -> Vec<Vec<u8>> {
        let extents = FILES.flat_map(|ino| f.extents(ino));
        extents.map(|extent| f.store.read_block(&extent).unwrap()).collect()
    };
    assert!(blocks(&helped) == blocks(&alone));
    assert_eq!(helper.helped.load(Ordering::Relaxed), 12, "nobody was too busy");
    assert_eq!(summary.progress.worker_bytes, contents.len() as u64);
    assert_eq!(filled(&helped), contents);
}

#[test]
fn wrong_blocks_and_helpers_that_leave_cost_nothing_but_time() {
    let f = Fixture::new();
    let contents = fill(&f);
    let others = f.codec.encode(b"something else", &Stop::new()).unwrap();
    let asked = AtomicU64::new(0);
    let make = |_: &EncodeJob<'_>, _: &Stop| match asked.fetch_add(1, Ordering::Relaxed) % 3 {
        0 => Some(others.clone()),
        1 => Some(Vec::new()),
        _ => None,
    };
    let helper = Helper::new(&make);
    let summary = run_with(&f, &helper);
    assert_eq!(summary.blocks_failed, 0);
    assert_eq!(summary.progress.worker_bytes, 0);
    assert_eq!(filled(&f), contents);
    assert!(is_done(&f));
}

/// Threads that were started for places that are gone end, and the others do the work.
#[test]
fn a_run_ends_when_the_places_come_and_go() {
    let f = Fixture::new();
    let contents = fill(&f);
    let make = |_: &EncodeJob<'_>, _: &Stop| None;
    let helper = Helper::new(&make);
    let end = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in (0..).take_while(|_| end.load(Ordering::Relaxed) == 0) {
                helper.places.store(n % 20, Ordering::Relaxed);
                std::thread::yield_now();
            }
        });
        let summary = run_with(&f, &helper);
        end.store(1, Ordering::Relaxed);
        assert_eq!(summary.blocks_failed, 0);
    });
    assert_eq!(filled(&f), contents);
    assert!(is_done(&f));
}

#[test]
fn a_result_for_a_block_that_was_overwritten_meanwhile_changes_nothing() {
    let f = Fixture::new();
    let new: Vec<u8> = fill(&f)[..BLOCK].iter().map(|byte| byte ^ 1).collect();
    let written = Mutex::new(false);
    let make = |job: &EncodeJob<'_>, stop: &Stop| {
        let mut written = written.lock();
        if !std::mem::replace(&mut *written, true) {
            f.file(5, &new, 0);
        }
        Some(
            f.codec
                .encode_behind(job.raw, job.dictionaries, job.references, stop)
                .unwrap(),
        )
    };
    let helper = Helper::new(&make);
    let summary = run_with(&f, &helper);
    assert!(helper.helped.load(Ordering::Relaxed) > 0);
    assert_eq!(f.contents(5), new);
    assert!(summary.blocks_changed > 0, "{summary:?}");
}

#[test]
fn a_run_that_is_interrupted_does_not_wait_for_others() {
    let f = Fixture::new();
    fill(&f);
    let stop = Stop::new();
    let make = |_: &EncodeJob<'_>, run: &Stop| {
        stop.set();
        until("the run stops", || run.is_set());
        None
    };
    let helper = Helper::new(&make);
    let ended = f.packer().run(Some(&helper), &Scope::All, false, 0, &|_| (), &stop);
    assert!(matches!(ended, Err(Error::Interrupted)), "{ended:?}");
}

/// What becomes a solid head is coded by who has the head, and helpers code what is behind it.
#[test]
fn blocks_behind_a_solid_head_are_coded_by_others_and_compared() {
    let f = Fixture::new();
    let rows = crate::testing::table(24 * BLOCK);
    f.file(5, &rows, 100);
    let make = |job: &EncodeJob<'_>, stop: &Stop| Some(f.codec.encode(job.raw, stop).unwrap());
    let helper = Helper::new(&make);
    let summary = run_with(&f, &helper);
    assert_eq!((summary.blocks_packed, summary.blocks_failed), (24, 0));
    let helped = helper.helped.load(Ordering::Relaxed);
    assert!((8..24).contains(&helped), "{helped}");
    let behind = |extent: &Extent| Codec::needs(&f.store.read_block(extent).unwrap()).unwrap().solid;
    assert!(f.extents(5)[1..].iter().all(|extent| behind(extent).is_some()));
    assert_eq!(f.contents(5), rows);
}
