//! Parity: what is flipped, cut off or unreadable in a segment comes back exactly, or is named when too much is lost.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use lmfs_indexer::io::{CrashIo, Fault, FaultIo, Loss};
use lmfs_indexer::*;
use std::collections::BTreeMap;
use std::sync::Arc;

const ID: [u8; 16] = [7; 16];
const SEGMENT: u32 = 16 << 10;

type Files = BTreeMap<String, Vec<u8>>;

fn options(parity: u8) -> OpenOptions {
    OpenOptions {
        segment_size: SEGMENT,
        store_id: Some(ID),
        parity,
        ..OpenOptions::default()
    }
}

fn file(ino: u64, size: u64) -> Inode {
    Inode {
        size,
        ..Inode::new(ino, Kind::File, 0o644, Time::default())
    }
}

fn contents(block: u64) -> Vec<u8> {
    (0..1000u64)
        .map(|i| (i * i * 31 + block * 97 + (i >> 3)) as u8)
        .collect()
}

/// Appends blocks to file 5.
fn write(store: &Store, blocks: std::ops::Range<u64>) {
    let _made = store
        .commit(vec![Change::PutInode(file(5, blocks.end * 1000))])
        .unwrap();
    for block in blocks {
        let extent = Extent::new(store.append_block(&contents(block)).unwrap(), 0, 1000);
        let extents = vec![Some(extent)];
        let _put = store
            .commit(vec![Change::PutExtents {
                ino: 5,
                first: block,
                extents,
            }])
            .unwrap();
    }
    store.sync().unwrap();
}

fn assert_holds(io: impl Io + 'static, blocks: u64, when: &str) {
    let (store, report) = Store::open(Arc::new(io), options(0)).unwrap_or_else(|e| panic!("{when}: {e}"));
    assert_eq!(report.warnings, Vec::<String>::new(), "{when}");
    for block in 0..blocks {
        let extent = store.extent(5, block).unwrap().unwrap();
        assert_eq!(store.read_block(&extent).unwrap(), contents(block), "{when}");
    }
}

fn create(io: impl Io + 'static) -> Store {
    let mut create = CreateOptions::new(ID);
    create.segment_size = SEGMENT;
    Store::create(Arc::new(io), create).unwrap()
}

const BLOCKS: u64 = 40;

/// A store of three segments, closed with this much parity.
fn made(parity: u8) -> Files {
    let io = MemIo::new();
    create(io.clone()).close().unwrap();
    let (store, _) = Store::open(Arc::new(io.clone()), options(parity)).unwrap();
    write(&store, 0..BLOCKS);
    store.close().unwrap();
    io.files()
}

/// The files of the log.
fn log_of(files: &Files) -> Files {
    let log = files.iter().filter(|(k, _)| k.starts_with("segments/"));
    log.map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn run(files: &Files, fix: bool) -> (ScrubReport, Files) {
    let io = MemIo::from_files(files.clone());
    let report = scrub(&io, ID, fix, &mut |_, _| true).unwrap();
    (report, io.files())
}

fn names(files: &Files, end: &str) -> Vec<String> {
    files.keys().filter(|k| k.ends_with(end)).cloned().collect()
}

#[test]
fn all_segments_have_parity_after_a_clean_close() {
    for percent in [1, 5, 50] {
        let files = made(percent);
        let (segments, parity) = (names(&files, ".seg"), names(&files, ".par"));
        assert!(segments.len() >= 3);
        assert_eq!(segments.len(), parity.len());
        let (report, after) = run(&files, true);
        assert_eq!(after, files, "nothing to do, nothing done");
        assert_eq!(report.segments, segments.len() as u64);
        assert_eq!(
            report.bytes,
            segments.iter().map(|s| files[s].len() as u64).sum::<u64>()
        );
        let (store, _) = Store::open(Arc::new(MemIo::from_files(files.clone())), options(percent)).unwrap();
        let bytes: usize = parity.iter().map(|p| files[p].len()).sum();
        assert_eq!(store.totals().parity_bytes, bytes as u64);
    }
    assert_eq!(names(&made(0), ".par"), Vec::<String>::new());
}

#[test]
fn every_flipped_byte_of_a_segment_is_repaired_exactly() {
    let good = made(5);
    let mut flips = 0;
    for name in names(&good, ".seg") {
        for at in 0..good[&name].len() {
            // All of headers and footers, and a part of the rest.
            if at > 200 && at + 200 < good[&name].len() && at % 13 != 0 {
                continue;
            }
            let mut bad = good.clone();
            bad.get_mut(&name).unwrap()[at] ^= 1 << (at % 8);
            let (seen, unchanged) = run(&bad, false);
            assert_eq!(unchanged, bad);
            assert_eq!(seen.damage.len(), 1, "{name} {at}");
            assert_eq!(seen.damage[0].outcome, Outcome::Repairable);
            let [(start, end)] = seen.damage[0].ranges[..] else {
                panic!()
            };
            assert!((start..end).contains(&(at as u64)) && end - start <= 64, "{name} {at}");
            let (report, after) = run(&bad, true);
            assert_eq!(report.damage[0].outcome, Outcome::Repaired);
            assert!(after == good, "{name} {at}");
            flips += 1;
        }
    }
    println!("{flips} flips, all repaired");
    assert!(flips > 4000);
}

/// Shards of 64 bytes; of the first segment `percent` of 16 KiB.
fn parity_shards(files: &Files, name: &str) -> usize {
    let bytes = &files[&name.replace(".seg", ".par")];
    u32::from_le_bytes(bytes[48..52].try_into().unwrap()) as usize
}

#[test]
fn bursts_are_repaired_up_to_the_capacity_and_named_beyond_it() {
    for percent in [1, 5, 30, 50] {
        let good = made(percent);
        let name = &names(&good, ".seg")[0];
        let (len, spare) = (good[name].len(), parity_shards(&good, name));
        for start in [0, 1, 63, 64, 4000, len - spare * 64] {
            let mut bad = good.clone();
            // As many bytes as surely touch no more shards than there is parity for.
            let n = if start % 64 == 0 {
                spare * 64
            } else {
                (spare - 1) * 64 + 1
            };
            let burst = bad.get_mut(name).unwrap().iter_mut().skip(start).take(n);
            burst.for_each(|b| *b = !*b);
            let (report, after) = run(&bad, true);
            assert_eq!(report.damage[0].outcome, Outcome::Repaired, "{percent} {start} {n}");
            assert!(after == good, "{percent} {start}");
        }
        let mut bad = good.clone();
        let burst = bad.get_mut(name).unwrap().iter_mut().skip(640).take(spare * 64 + 1);
        burst.for_each(|b| *b = !*b);
        let (report, after) = run(&bad, true);
        let lost = spare as u32 + 1;
        let spare = spare as u32;
        assert_eq!(report.damage[0].outcome, Outcome::Beyond { lost, spare });
        assert_eq!(report.damage[0].ranges, vec![(640, 640 + u64::from(lost) * 64)]);
        assert!(after == bad, "nothing is changed when it does not help");
    }
}

#[test]
fn scattered_damage_counts_shard_by_shard() {
    let good = made(5);
    let name = &names(&good, ".seg")[1];
    let spare = parity_shards(&good, name);
    let mut bad = good.clone();
    for i in 0..spare {
        bad.get_mut(name).unwrap()[i * 1111] ^= 0x80;
    }
    let (report, after) = run(&bad, true);
    assert_eq!(report.damage[0].ranges.len(), spare);
    assert!(after == good);
}

#[test]
fn a_shortened_segment_and_one_with_a_tail_become_what_they_were() {
    let good = made(20);
    let name = &names(&good, ".seg")[0];
    let most = parity_shards(&good, name) * 64;
    let len = good[name].len();
    for cut in [1, 5, 64, most / 2, most - 64] {
        let mut bad = good.clone();
        bad.get_mut(name).unwrap().truncate(len - cut);
        let (report, after) = run(&bad, true);
        assert_eq!(report.damage[0].outcome, Outcome::Repaired, "{cut}");
        assert!(after == good, "{cut}");
    }
    let mut bad = good.clone();
    bad.get_mut(name).unwrap().extend([9; 100]);
    let (report, after) = run(&bad, true);
    assert_eq!(report.damage[0].ranges, vec![(len as u64, len as u64 + 100)]);
    assert!(after == good);
}

#[test]
fn damaged_parity_files_hinder_nothing_and_are_made_anew() {
    let good = made(5);
    let name = &names(&good, ".par")[0];
    let segment = name.replace(".par", ".seg");
    let len = good[name].len();
    let flips = (0..len).map(|at| {
        let mut bad = good.clone();
        bad.get_mut(name).unwrap()[at] ^= 2;
        (format!("flip {at}"), bad)
    });
    let cuts = (0..len).step_by(37).map(|at| {
        let mut bad = good.clone();
        bad.get_mut(name).unwrap().truncate(at);
        (format!("cut {at}"), bad)
    });
    for (what, bad) in flips.chain(cuts) {
        let (seen, unchanged) = run(&bad, false);
        assert!(unchanged == bad);
        assert_eq!((seen.damage.len(), seen.parity_damage.len()), (0, 1), "{what}");
        let (_, after) = run(&bad, true);
        // What could not be read at all is made when the store is next in use.
        let io = MemIo::from_files(after);
        let (store, _) = Store::open(Arc::new(io.clone()), options(5)).unwrap();
        store.make_parity(&mut |_| true).unwrap();
        store.close().unwrap();
        assert_eq!(log_of(&io.files()), log_of(&good), "{what}");
        // One shard of the segment may be lost as well, if all is not.
        let mut worse = bad.clone();
        worse.get_mut(&segment).unwrap()[300] ^= 1;
        let (report, after) = run(&worse, true);
        if what.starts_with("flip") {
            assert_eq!(log_of(&after), log_of(&good), "{what}");
        } else {
            let repaired = after[&segment] == good[&segment];
            let said = report.damage.iter().any(|d| d.outcome == Outcome::Repaired);
            assert_eq!(repaired, said, "{what}");
            assert!(repaired || after[&segment] == worse[&segment], "{what}");
        }
    }
}

#[test]
fn parity_of_another_store_or_segment_is_not_used() {
    let good = made(5);
    let par = names(&good, ".par");
    let mut bad = good.clone();
    bad.insert(par[0].clone(), good[&par[1]].clone());
    let (report, after) = run(&bad, false);
    assert_eq!((report.damage.len(), report.parity_damage.len()), (0, 1));
    assert!(after == bad);
    let io = MemIo::from_files(good.clone());
    let report = scrub(&io, [8; 16], true, &mut |_, _| true).unwrap();
    assert_eq!((report.segments, report.damage.len()), (0, 0));
}

#[test]
fn a_store_that_refuses_to_open_opens_after_the_repair() {
    let good = made(5);
    let name = &names(&good, ".seg")[0];
    let mut bad = log_of(&good);
    // The first transaction.
    bad.get_mut(name).unwrap()[60] ^= 1;
    let refused = Store::open(Arc::new(MemIo::from_files(bad.clone())), options(5));
    assert!(matches!(refused, Err(Error::LogDamaged { .. })));
    let (_, after) = run(&bad, true);
    assert_holds(MemIo::from_files(after), BLOCKS, "after the repair");
}

#[test]
fn damage_is_never_blessed_with_parity() {
    let mut files = log_of(&made(0));
    let name = names(&files, ".seg")[0].clone();
    files.get_mut(&name).unwrap()[5000] ^= 1;
    let io = MemIo::from_files(files);
    let (store, _) = Store::open(Arc::new(io.clone()), options(5)).unwrap();
    let done = store.make_parity(&mut |_| true).unwrap();
    assert!(done.made >= 1);
    assert_eq!(done.refused.len(), 1);
    assert!(done.refused[0].contains(&name), "{:?}", done.refused);
    assert!(!io.files().contains_key(&name.replace(".seg", ".par")));
}

#[test]
fn parity_turned_on_later_covers_old_segments_too_and_stays_when_turned_off() {
    let files = made(0);
    let io = MemIo::from_files(files);
    let (store, _) = Store::open(Arc::new(io.clone()), options(10)).unwrap();
    write(&store, BLOCKS..BLOCKS + 5);
    assert!(store.make_parity(&mut |_| true).unwrap().made >= 2, "sealed segments");
    store.close().unwrap();
    let files = io.files();
    assert_eq!(names(&files, ".par").len(), names(&files, ".seg").len());
    let (store, _) = Store::open(Arc::new(io.clone()), options(0)).unwrap();
    write(&store, BLOCKS + 5..BLOCKS + 50);
    store.close().unwrap();
    let later = io.files();
    assert!(names(&later, ".par").len() < names(&later, ".seg").len());
    // The segment that grew is protected as far as it was then.
    let last = names(&files, ".seg").pop().unwrap();
    assert!(later[&last].len() > files[&last].len());
    let mut bad = later.clone();
    bad.get_mut(&last).unwrap()[70] ^= 1;
    let (report, after) = run(&bad, true);
    assert_eq!(report.damage[0].outcome, Outcome::Repaired);
    assert!(after == later);
}

#[test]
fn a_collected_segment_takes_its_parity_along() {
    let io = MemIo::from_files(made(5));
    let (store, _) = Store::open(Arc::new(io.clone()), options(5)).unwrap();
    let _cut = store.commit(vec![Change::TruncateExtents { ino: 5, from: 1 }]).unwrap();
    let all = GcOptions {
        max_live: 1.0,
        seal_head: true,
    };
    let report = store.gc(&all, &mut |_| true).unwrap();
    assert!(report.deleted >= 2);
    store.close().unwrap();
    let files = io.files();
    let segments = names(&files, ".seg");
    assert_eq!(
        names(&files, ".par"),
        segments.iter().map(|s| s.replace(".seg", ".par")).collect::<Vec<_>>()
    );
    assert!(run(&files, false).0.damage.is_empty());
}

#[test]
fn a_sealed_segment_with_a_damaged_footer_is_not_appended_to() {
    let io = MemIo::new();
    create(io.clone()).close().unwrap();
    let (store, _) = Store::open(Arc::new(io.clone()), options(5)).unwrap();
    write(&store, 0..3);
    let all = GcOptions {
        max_live: 1.0,
        seal_head: true,
    };
    store.gc(&all, &mut |_| false).unwrap_err();
    store.close().unwrap();
    let mut files = log_of(&io.files());
    // Without the segment that closing began: the sealed one is the newest.
    let last = names(&files, ".seg").pop().unwrap();
    if names(&files, ".seg").len() > 1 {
        files.remove(&last);
        files.remove(&last.replace(".seg", ".par"));
    }
    let name = names(&files, ".seg").pop().unwrap();
    let (good, len) = (files[&name].clone(), files[&name].len());
    files.get_mut(&name).unwrap()[len - 15] ^= 1;
    let io = MemIo::from_files(files);
    let (store, _) = Store::open(Arc::new(io.clone()), options(5)).unwrap();
    write(&store, 3..6);
    store.close().unwrap();
    assert_eq!(io.files()[&name].len(), len, "what is sealed does not grow");
    scrub(&io, ID, true, &mut |_, _| true).unwrap();
    assert_eq!(io.files()[&name], good);
    assert_holds(io, 6, "after the repair");
}

/// Power cuts at every event of `work`, with what is left then.
fn cuts(files: &Files, work: impl Fn(CrashIo), mut each: impl FnMut(Files, &str)) -> usize {
    let io = CrashIo::from_files(files.clone());
    work(io.clone());
    let mut n = 0;
    for at in 0..=io.events() {
        for loss in [
            Loss::Nothing,
            Loss::Everything,
            Loss::Any(at as u64),
            Loss::Any(1 << 20 | at as u64),
        ] {
            each(io.crash(at, loss), &format!("event {at}, {loss:?}"));
            n += 1;
        }
    }
    n
}

#[test]
fn power_cuts_while_parity_is_made_leave_the_store_and_no_false_alarm() {
    let files = made(0);
    let work = |io: CrashIo| {
        let (store, _) = Store::open(Arc::new(io), options(5)).unwrap();
        write(&store, BLOCKS..BLOCKS + 20);
        store.make_parity(&mut |_| true).unwrap();
        let _cut = store
            .commit(vec![Change::TruncateExtents { ino: 5, from: 50 }])
            .unwrap();
        store.gc(&GcOptions::default(), &mut |_| true).unwrap();
        store.close().unwrap();
    };
    let n = cuts(&files, work, |left, when| {
        let (report, after) = run(&left, false);
        assert_eq!(report.damage, Vec::new(), "{when}");
        assert_eq!(report.parity_damage, Vec::<String>::new(), "{when}");
        assert_holds(MemIo::from_files(after.clone()), BLOCKS, when);
        // Work goes on, and all is protected in the end.
        let io = MemIo::from_files(after);
        let (store, _) = Store::open(Arc::new(io.clone()), options(5)).unwrap_or_else(|e| panic!("{when}: {e}"));
        store.make_parity(&mut |_| true).unwrap();
        store.close().unwrap();
        let files = io.files();
        let parity: Vec<_> = names(&files, ".seg")
            .iter()
            .map(|s| s.replace(".seg", ".par"))
            .collect();
        assert_eq!(names(&files, ".par"), parity, "{when}");
        assert_eq!(run(&files, false).0.damage, Vec::new(), "{when}");
    });
    println!("{n} power cuts");
    assert!(n > 400, "{n}");
}

#[test]
fn power_cuts_in_a_repair_leave_something_that_can_be_repaired() {
    let good = made(5);
    let mut bad = good.clone();
    for name in names(&good, ".seg") {
        bad.get_mut(&name).unwrap()[100] ^= 1;
        bad.get_mut(&name.replace(".seg", ".par")).unwrap()[20] ^= 1;
    }
    let work = |io: CrashIo| {
        scrub(&io, ID, true, &mut |_, _| true).unwrap();
    };
    let n = cuts(&bad, work, |left, when| {
        let (_, after) = run(&left, true);
        let after: Files = after.into_iter().filter(|(k, _)| !k.ends_with(".new")).collect();
        assert!(after == good, "{when}");
    });
    println!("{n} power cuts");
    assert!(n > 50, "{n}");
}

#[test]
fn sectors_that_cannot_be_read_are_repaired() {
    let good = made(5);
    let segment = names(&good, ".seg")[0].clone();
    let parity = segment.replace(".seg", ".par");
    for (name, bad) in [
        (&segment, 1024..1536),
        (&segment, 0..512),
        (&parity, 0..512),
        (&parity, 1400..1500),
    ] {
        let mem = MemIo::from_files(good.clone());
        let io = FaultIo::new(Arc::new(mem.clone()));
        io.bad_place(name, bad.clone());
        let report = scrub(&io, ID, true, &mut |_, _| true).unwrap();
        assert_eq!(report.damage.len() + report.parity_damage.len(), 1, "{name} {bad:?}");
        assert!(mem.files() == good, "{name} {bad:?}");
    }
}

/// What could not be read for a moment was once taken for zeros, parity was made of these, and the next repair wrote
/// them.
#[test]
fn parity_is_never_made_of_what_could_not_be_read() {
    let good = made(5);
    let mut files = good.clone();
    for name in names(&good, ".par") {
        files.get_mut(&name).unwrap()[4] ^= 1;
    }
    let mut failed = 0;
    for after in 0..200 {
        let mem = MemIo::from_files(files.clone());
        let io = FaultIo::new(Arc::new(mem.clone()));
        io.fail(Fault::Error, after, 2);
        failed += u32::from(scrub(&io, ID, true, &mut |_, _| true).is_err());
        io.mend();
        let report = scrub(&io, ID, true, &mut |_, _| true).unwrap();
        assert!(report.damage.is_empty(), "call {after}: {:?}", report.damage);
        for name in names(&good, ".seg") {
            assert!(mem.files()[&name] == good[&name], "call {after}: {name}");
        }
    }
    assert!(failed > 10, "{failed}");
}

#[test]
fn a_scrub_can_be_stopped() {
    let io = MemIo::from_files(made(5));
    let stopped = scrub(&io, ID, true, &mut |_, _| false);
    assert!(matches!(stopped, Err(Error::Interrupted)));
}

/// A segment and its parity as the first version wrote them: what they protect can be made again for ever.
/// `LMFS_WRITE_SAMPLE=1` writes a new one.
#[test]
fn parity_of_the_first_format_still_repairs() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/parity-1");
    let names = ["segments/00000001.seg", "segments/00000001.par"];
    let at = |name: &str| folder.join(name.trim_start_matches("segments/"));
    if std::env::var_os("LMFS_WRITE_SAMPLE").is_some() {
        let files = made(5);
        std::fs::create_dir_all(&folder).unwrap();
        for name in names {
            std::fs::write(at(name), &files[name]).unwrap();
        }
    }
    let good: Files = names
        .map(|name| (name.to_owned(), std::fs::read(at(name)).unwrap()))
        .into();
    let spare = parity_shards(&good, names[0]);
    let mut bad = good.clone();
    let burst = bad.get_mut(names[0]).unwrap().iter_mut().skip(1280).take(spare * 64);
    burst.for_each(|b| *b = 0);
    let (report, after) = run(&bad, true);
    assert_eq!(report.damage[0].outcome, Outcome::Repaired);
    assert!(after == good);
    // Today's writer makes the same bytes.
    let mut without = good.clone();
    without.get_mut(names[1]).unwrap()[2000] ^= 1;
    let (report, after) = run(&without, true);
    assert_eq!(report.parity_damage.len(), 1);
    assert!(after == good);
}
