//! Opening after damage that once went unnoticed or was held for more than it was.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use lmfs_indexer::*;
use std::collections::BTreeMap;
use std::sync::Arc;

fn create() -> (MemIo, Store) {
    let io = MemIo::new();
    let mut options = CreateOptions::new([1; 16]);
    options.segment_size = 4096;
    let store = Store::create(Arc::new(io.clone()), options).unwrap();
    (io, store)
}

fn put(store: &Store, key: &[u8], len: usize) {
    let (key, value) = (key.to_vec(), vec![b'v'; len]);
    let _ = store.commit(vec![Change::PutMeta { key, value }]).unwrap();
}

fn collect(store: &Store) {
    let options = GcOptions {
        max_live: 1.0,
        seal_head: true,
    };
    store.gc(&options, &mut |_| true).unwrap();
}

fn open(files: BTreeMap<String, Vec<u8>>) -> Result<(Store, OpenReport)> {
    Store::open(Arc::new(MemIo::from_files(files)), OpenOptions::default())
}

/// Garbage collection had deleted what came before the checkpoint, and the one header that named it was torn by a
/// power cut: the store was refused though nothing was lost.
#[test]
fn a_checkpoint_that_no_header_names_is_found() {
    let (io, store) = create();
    put(&store, b"a", 1);
    collect(&store);
    put(&store, b"b", 4000);
    let mut files = io.files();
    files.retain(|path, _| path.starts_with("segments/"));
    assert!(!files.contains_key("segments/00000001.seg"));
    let (_, newest) = files.iter_mut().next_back().unwrap();
    newest[..52].fill(0);
    // The headers before it are from before the checkpoint.
    let headers: Vec<_> = files.values().map(|f| f[40..44].to_vec()).collect();
    assert!(headers.iter().all(|h| h == &[0; 4]), "{headers:?}");
    let (store, _) = open(files).unwrap();
    assert_eq!(store.meta(b"a").unwrap().unwrap(), b"v");
    assert_eq!(store.meta(b"b").unwrap().unwrap(), [b'v'; 4000]);
}

/// The last transaction was damaged, no record followed, and its number was given to the next: the store was opened
/// without a word.
#[test]
fn a_damaged_last_transaction_below_the_mark_is_noticed() {
    for (what, from) in [("its payload", 14), ("all of it", 0)] {
        let (io, store) = create();
        put(&store, b"a", 1);
        store.sync().unwrap();
        let last = store.totals().log_bytes as usize;
        put(&store, b"the last one", 1);
        drop(store);
        // Opening makes it durable, and notes that in the marker.
        drop(open_again(&io).unwrap());
        let mut files = io.files();
        files.get_mut("segments/00000001.seg").unwrap()[last + from..].fill(0xee);
        let damaged = MemIo::from_files(files);
        for _ in 0..2 {
            assert!(matches!(open_again(&damaged), Err(Error::LogDamaged { .. })), "{what}");
        }
        let salvage = OpenOptions {
            salvage: true,
            ..OpenOptions::default()
        };
        let (store, report) = Store::open(Arc::new(damaged), salvage).unwrap();
        assert!(!report.warnings.is_empty(), "{what}");
        assert_eq!(store.meta(b"a").unwrap().unwrap(), b"v", "{what}");
    }
}

fn open_again(io: &MemIo) -> Result<(Store, OpenReport)> {
    Store::open(Arc::new(io.clone()), OpenOptions::default())
}

/// The index was deleted together with the marker before the log was read: the first opening refused a damaged log,
/// saying that nothing was changed, and the second cut off what had been durable.
#[test]
fn a_log_that_is_refused_is_refused_the_next_time_as_well() {
    let (io, store) = create();
    put(&store, b"a", 1);
    put(&store, b"the damaged one", 1);
    put(&store, b"c", 1);
    store.close().unwrap();
    let mut files = io.files();
    let log = files.get_mut("segments/00000001.seg").unwrap();
    let end = log.len();
    let at = log.windows(15).position(|w| w == b"the damaged one").unwrap();
    log[at] ^= 1;
    // The transaction that closing appends; without it the marker alone says how far the log was durable.
    log[end - 15..].fill(0);
    // The index that was put away is whole, and the log would not be read.
    files.remove("index/rows").unwrap();
    for (what, index) in [
        ("without an index", None),
        ("with a damaged index", Some("index/rows")),
        ("with a damaged index in sled", Some("index/db")),
    ] {
        let mut files = files.clone();
        if let Some(path) = index {
            files.insert(path.into(), b"no index".to_vec());
        }
        let dir = tempfile::tempdir().unwrap();
        for (path, bytes) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        for rebuild in [false, true, false] {
            let options = OpenOptions {
                rebuild,
                ..OpenOptions::default()
            };
            let opened = Store::open(Arc::new(RealIo::new(dir.path()).unwrap()), options);
            assert!(matches!(opened, Err(Error::LogDamaged { .. })), "{what}, {rebuild}");
            let now = std::fs::read(dir.path().join("segments/00000001.seg")).unwrap();
            assert_eq!(now.len(), end, "{what}, {rebuild}");
        }
    }
}

/// The last transaction of a sealed segment was damaged and no record followed: the tree before it was shown as if it
/// were the newest.
#[test]
fn a_damaged_last_transaction_is_noticed_though_no_record_follows() {
    let (io, store) = create();
    put(&store, b"a", 1);
    put(&store, b"the last one", 1);
    put(&store, b"c", 4000);
    let mut files = io.files();
    files.get_mut("segments/00000002.seg").unwrap().truncate(52);
    let sealed = files.get_mut("segments/00000001.seg").unwrap();
    let at = sealed.windows(12).position(|w| w == b"the last one");
    sealed[at.unwrap()] ^= 1;
    assert!(matches!(open(files), Err(Error::LogDamaged { segment: 1, .. })));
}
