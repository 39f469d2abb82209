#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use crate::io::Io;
use crate::log::segment_name;
use crate::{CheckOptions, CreateOptions, GcOptions, MemIo, OpenOptions};
use std::sync::Arc;

const ID: DictionaryId = *b"dict";

fn text() -> Vec<u8> {
    b"what many blocks have in common ".repeat(20)
}

/// A store with one dictionary.
fn store() -> (MemIo, Store) {
    let io = MemIo::new();
    let store = Store::create(Arc::new(io.clone()), CreateOptions::new([1; 16])).unwrap();
    store.add_dictionary(ID, b"info", &text()).unwrap();
    (io, store)
}

fn copies(store: &Store) -> Vec<BlockRef> {
    store.dictionary(ID).unwrap().unwrap().copies
}

/// Flips a bit of a copy.
fn damage(io: &MemIo, copy: BlockRef) {
    let name = segment_name(copy.segment);
    let file = io.open(&name, true).unwrap();
    let at = u64::from(copy.offset) + 40;
    let mut byte = [0];
    file.read_at(&mut byte, at).unwrap();
    file.write_at(&[byte[0] ^ 1], at).unwrap();
}

fn collect(store: &Store) {
    let options = GcOptions {
        max_live: 1.0,
        seal_head: true,
    };
    let report = store.gc(&options, &mut |_| true).unwrap();
    assert!(report.damaged.is_empty(), "{report:?}");
}

fn findings(store: &Store) -> Vec<(Severity, String)> {
    let report = store.check(&CheckOptions { log: true }, &mut |_, _| true).unwrap();
    report.findings.into_iter().map(|f| (f.severity, f.what)).collect()
}

fn assert_whole(store: &Store) {
    assert_eq!(store.read_dictionary(ID).unwrap(), Some(text()));
    let segments: BTreeSet<u32> = copies(store).iter().map(|copy| copy.segment).collect();
    assert_eq!(segments.len(), COPIES, "{:?}", copies(store));
    assert!(findings(store).is_empty(), "{:?}", findings(store));
}

#[test]
fn it_is_stored_twice_and_survives_closing_rebuilding_and_collecting() {
    let (io, store) = store();
    assert_whole(&store);
    assert_eq!(store.totals().dictionaries, 1);
    assert_eq!(store.totals().dictionary_bytes, 2 * text().len() as u64);
    for _ in 0..3 {
        collect(&store);
        assert_whole(&store);
    }
    store.checkpoint().unwrap();
    store.close().unwrap();
    for rebuild in [false, true] {
        let options = OpenOptions {
            rebuild,
            ..OpenOptions::default()
        };
        let (store, report) = Store::open(Arc::new(io.clone()), options).unwrap();
        assert!(report.warnings.is_empty(), "{report:?}");
        assert_whole(&store);
        store.close().unwrap();
    }
}

#[test]
fn a_damaged_copy_is_mended_from_the_other() {
    for which in 0..COPIES {
        let (io, store) = store();
        let before = copies(&store);
        damage(&io, before[which]);
        assert_eq!(store.read_dictionary(ID).unwrap(), Some(text()));
        let found = findings(&store);
        assert!(
            found
                .iter()
                .any(|(severity, what)| *severity == Severity::Error && what.contains("64696374"))
        );
        let mended = store.mend_dictionaries().unwrap();
        assert!(mended.len() == 1 && mended[0].mended && !mended[0].lost, "{mended:?}");
        assert_eq!(store.mend_dictionaries().unwrap(), []);
        let after = copies(&store);
        assert!(after[1 - which] == before[1 - which] && after[which] != before[which]);
        assert_eq!(store.pending_blocks(), 0);
        collect(&store);
        assert_whole(&store);
    }
}

#[test]
fn garbage_collection_moves_a_damaged_copy_from_the_other() {
    let (io, store) = store();
    damage(&io, copies(&store)[0]);
    collect(&store);
    assert_whole(&store);
}

#[test]
fn a_lost_segment_costs_one_copy() {
    let (io, store) = store();
    let lost = copies(&store)[0].segment;
    let _filled = store
        .commit(vec![Change::PutMeta {
            key: b"k".to_vec(),
            value: b"v".to_vec(),
        }])
        .unwrap();
    store.checkpoint().unwrap();
    store.close().unwrap();
    io.remove(&segment_name(lost)).unwrap();
    let (store, _) = Store::open(Arc::new(io.clone()), OpenOptions::default()).unwrap();
    assert_eq!(store.read_dictionary(ID).unwrap(), Some(text()));
    assert_eq!(findings(&store).len(), 1, "{:?}", findings(&store));
    assert!(store.mend_dictionaries().unwrap()[0].mended);
    assert_whole(&store);
}

#[test]
fn without_a_whole_copy_it_is_an_error_and_nothing_else_suffers() {
    let (io, store) = store();
    store.add_dictionary(*b"good", b"", b"another").unwrap();
    copies(&store).into_iter().for_each(|copy| damage(&io, copy));
    assert!(matches!(store.read_dictionary(ID), Err(Error::Damaged { .. })));
    assert_eq!(store.read_dictionary(*b"good").unwrap(), Some(b"another".to_vec()));
    assert_eq!(store.read_dictionary(*b"none").unwrap(), None);
    let found = store.mend_dictionaries().unwrap();
    assert!(found.len() == 1 && found[0].lost && !found[0].mended, "{found:?}");
    let options = GcOptions {
        max_live: 1.0,
        seal_head: true,
    };
    let report = store.gc(&options, &mut |_| true).unwrap();
    assert!(!report.damaged.is_empty());
    assert_eq!(store.read_dictionary(*b"good").unwrap(), Some(b"another".to_vec()));
}

#[test]
fn a_deleted_one_is_garbage() {
    let (_, store) = store();
    store.add_dictionary(*b"long", b"", &vec![7; 500_000]).unwrap();
    let before = store.totals();
    store.delete_dictionary(*b"long").unwrap();
    store.delete_dictionary(*b"long").unwrap();
    let after = store.totals();
    assert_eq!((before.dictionaries, after.dictionaries), (2, 1));
    assert!(after.dead_bytes >= before.dead_bytes + 1_000_000);
    collect(&store);
    collect(&store);
    assert!(store.totals().log_bytes < 100_000, "{:?}", store.totals());
    assert_whole(&store);
}

#[test]
fn more_than_a_store_may_have_is_refused() {
    let (_, store) = store();
    assert!(
        store
            .add_dictionary(*b"huge", b"", &vec![0; MAX_DICTIONARY + 1])
            .is_err()
    );
    assert!(store.add_dictionary(*b"info", &[0; 256], b"text").is_err());
    for n in 1..crate::MAX_DICTIONARIES as u32 {
        store.add_dictionary(n.to_be_bytes(), b"", b"text").unwrap();
    }
    assert!(matches!(
        store.add_dictionary(*b"more", b"", b"text"),
        Err(Error::InvalidChange(_))
    ));
    assert_eq!(store.pending_blocks(), 0);
    store.delete_dictionary(ID).unwrap();
    store.add_dictionary(*b"more", b"", b"text").unwrap();
}

/// Regression: nothing said that a dictionary was there already, and its info another one.
#[test]
fn one_that_is_there_stays_as_it_is_and_the_caller_hears_of_it() {
    let (_, store) = store();
    assert!(!store.add_dictionary(ID, b"other", b"another text").unwrap());
    assert_eq!(store.dictionary(ID).unwrap().unwrap().info, b"info");
    assert_eq!(store.read_dictionary(ID).unwrap(), Some(text()));
    assert!(store.add_dictionary(*b"more", b"other", b"another text").unwrap());
}
