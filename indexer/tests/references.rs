//! Stored blocks that refer to others: what stays in use, what is refused, what a check names.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use lmfs_indexer::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const REFERRING: u8 = 7;

struct Fixture {
    io: MemIo,
    store: Arc<Store>,
}

impl Fixture {
    /// A store whose files 2, 3, ... have a block each, with the stored blocks 1, 2, ...
    fn new(files: u64) -> Fixture {
        let io = MemIo::new();
        let store = Store::create(Arc::new(io.clone()), CreateOptions::new([1; 16])).unwrap();
        let f = Fixture {
            io,
            store: Arc::new(store),
        };
        (2..2 + files).for_each(|ino| f.put(ino));
        f
    }

    fn put(&self, ino: u64) {
        self.put_of(ino, 100);
    }

    /// A file whose block says that it decodes to so many bytes.
    fn put_of(&self, ino: u64, raw_len: u32) {
        let new = self.store.append_block(&contents(ino - 1)).unwrap();
        let extents = vec![Some(Extent::new(new, 0, raw_len).with_digest(ino as u32))];
        let name = format!("file {ino}").into_bytes();
        let entry = Dirent { ino, kind: Kind::File };
        self.commit(vec![
            Change::PutInode(Inode {
                size: raw_len.into(),
                ..Inode::new(ino, Kind::File, 0o644, Time::default())
            }),
            Change::PutDirent {
                parent: ROOT_INO,
                name,
                entry,
            },
            Change::PutExtents { ino, first: 0, extents },
        ]);
    }

    fn commit(&self, changes: Vec<Change>) -> Vec<Skipped> {
        self.store.commit(changes).unwrap().skipped
    }

    /// Stores `id` anew with a reference to another one; whether that was done.
    fn refer(&self, id: u64, reference: u64) -> bool {
        let old = self.store.stored_block(id).unwrap().unwrap().location;
        let new = self.store.append_again(id, &contents(id)).unwrap();
        let skipped = self.commit(vec![Change::SwapBlock {
            id,
            old,
            new,
            tag: REFERRING,
            reference,
            hint: 0,
        }]);
        if !skipped.is_empty() {
            self.store.abandon_blocks(&[new]);
        }
        skipped.is_empty()
    }

    fn delete(&self, ino: u64) {
        let name = format!("file {ino}").into_bytes();
        self.commit(vec![
            Change::DelDirent { parent: ROOT_INO, name },
            Change::DelInode(ino),
        ]);
    }

    fn merge(&self, id: u64, into: u64) -> bool {
        self.commit(vec![Change::MergeBlock { id, into, hint: 0 }]).is_empty()
    }

    fn collect(&self) {
        let gc = GcOptions {
            max_live: 1.0,
            seal_head: true,
        };
        let report = self.store.gc(&gc, &mut |_| true).unwrap();
        assert_eq!(report.damaged, Vec::<String>::new());
    }

    /// Reference, referrers and users of a stored block.
    fn counts(&self, id: u64) -> Option<(u64, u64, u64)> {
        let stored = self.store.stored_block(id).unwrap()?;
        assert_eq!(self.store.read_block(&stored.extent(id)).unwrap(), contents(id));
        Some((stored.reference, stored.referrers, stored.users))
    }

    fn check(&self) -> Vec<Finding> {
        let options = CheckOptions { log: true };
        self.store.check(&options, &mut |_, _| true).unwrap().findings
    }

    /// The same store, its index made anew from the log.
    fn rebuilt(self) -> Fixture {
        let before: Vec<_> = (1..20).map(|id| self.counts(id)).collect();
        let totals = self.store.totals();
        let Fixture { io, store } = self;
        store.sync().unwrap();
        drop(store);
        let log = io.files().into_iter().filter(|(name, _)| !name.starts_with("index/"));
        let io = MemIo::from_files(log);
        let (store, _) = Store::open(Arc::new(io.clone()), OpenOptions::default()).unwrap();
        let f = Fixture {
            io,
            store: Arc::new(store),
        };
        let after: Vec<_> = (1..20).map(|id| f.counts(id)).collect();
        assert_eq!(after, before);
        let now = f.store.totals();
        assert_eq!(
            (now.referring, now.kept, now.shared),
            (totals.referring, totals.kept, totals.shared)
        );
        f
    }
}

fn contents(id: u64) -> Vec<u8> {
    vec![id as u8; 100]
}

#[test]
fn what_is_referred_to_stays_in_use_without_a_file() {
    let f = Fixture::new(3);
    assert!(f.refer(2, 1) && f.refer(3, 2));
    assert_eq!(
        [1, 2, 3].map(|id| f.counts(id).unwrap()),
        [(0, 1, 1), (1, 1, 1), (2, 0, 1)]
    );
    f.delete(2);
    f.delete(3);
    f.collect();
    assert_eq!(
        [1, 2, 3].map(|id| f.counts(id).unwrap()),
        [(0, 1, 0), (1, 1, 0), (2, 0, 1)]
    );
    let totals = f.store.totals();
    assert_eq!((totals.blocks, totals.kept.blocks, totals.referring.blocks), (3, 2, 2));
    assert_eq!(totals.kept.raw_bytes, 200);
    assert_eq!(f.check(), []);
    let f = f.rebuilt();
    f.store.checkpoint().unwrap();
    let f = f.rebuilt();
    f.delete(4);
    assert_eq!([1, 2, 3].map(|id| f.counts(id)), [None; 3]);
    assert_eq!(f.check(), []);
    let totals = f.store.totals();
    assert_eq!(
        (totals.blocks, totals.kept, totals.referring),
        (0, TagTotals::default(), TagTotals::default())
    );
    f.rebuilt();
}

#[test]
fn moving_what_refers_and_what_is_referred_to_keeps_the_reference() {
    let f = Fixture::new(3);
    assert!(f.refer(2, 1) && f.refer(3, 1));
    let places = || [1, 2, 3].map(|id| f.store.stored_block(id).unwrap().unwrap().location);
    let before = places();
    f.collect();
    assert!(places().iter().zip(before).all(|(now, old)| *now != old));
    assert_eq!(
        [1, 2, 3].map(|id| f.counts(id).unwrap()),
        [(0, 2, 1), (1, 0, 1), (1, 0, 1)]
    );
    assert_eq!(f.check(), []);
    // Coded anew behind another block, and behind none.
    assert!(f.refer(3, 2));
    assert_eq!(
        [1, 2, 3].map(|id| f.counts(id).unwrap()),
        [(0, 1, 1), (1, 1, 1), (2, 0, 1)]
    );
    assert!(f.refer(3, 0) && f.refer(2, 0));
    assert_eq!([1, 2, 3].map(|id| f.counts(id).unwrap()), [(0, 0, 1); 3]);
    f.rebuilt();
}

#[test]
fn chains_have_an_end_and_no_circles() {
    let most = MAX_CHAIN as u64;
    let f = Fixture::new(most + 3);
    for id in 2..=most + 1 {
        assert!(f.refer(id, id - 1), "{id}");
    }
    assert!(!f.refer(most + 2, most + 1), "the chain would be too long");
    assert!(f.refer(most + 2, most));
    assert!(
        !f.refer(1, most + 3),
        "others refer to it, and would need more than before"
    );
    assert!(!f.refer(1, most + 1), "a circle");
    assert!(!f.refer(most + 3, most + 3), "itself");
    assert!(!f.refer(most + 3, 1000), "nothing");
    assert_eq!(f.counts(most + 3), Some((0, 0, 1)));
    assert!(f.refer(2, 0), "shorter chains for all");
    assert!(f.refer(most + 3, most + 1));
    assert_eq!(f.check(), []);
    f.rebuilt();
}

/// Regression: only the packer kept to a limit, so that a hostile store made a reader decode 8 MiB for 4 KiB.
#[test]
fn chains_have_a_limit_in_bytes() {
    let f = Fixture::new(0);
    let half = (MAX_CHAIN_BYTES / 2) as u32;
    for (ino, raw_len) in (2..).zip([1 << 20, half, half, half, half + 1, 1]) {
        f.put_of(ino, raw_len);
    }
    assert!(f.refer(2, 1), "one alone may be of any size");
    assert!(!f.refer(3, 2), "not if it needs another one");
    assert!(f.refer(4, 3));
    assert!(f.refer(6, 4), "just as much as may be");
    assert!(f.refer(6, 0) && f.refer(5, 3));
    assert!(!f.refer(6, 5), "a byte more");
    assert_eq!(f.check(), []);
    f.rebuilt();
}

#[test]
fn a_block_that_others_refer_to_is_not_merged_into_another() {
    let f = Fixture::new(4);
    assert!(f.refer(2, 1));
    assert!(!f.merge(1, 3), "one refers to it");
    assert!(!f.merge(1, 2), "that one itself");
    assert!(f.merge(3, 1), "the other way round");
    assert_eq!(f.store.extent(4, 0).unwrap().unwrap().id, 1);
    assert!(f.merge(2, 4), "what refers may go");
    assert_eq!(
        [1, 2, 4].map(|id| f.counts(id)),
        [Some((0, 0, 2)), None, Some((0, 0, 2))]
    );
    assert_eq!(f.check(), []);
    f.rebuilt();
}

/// Whoever holds a block may name it after its last user is gone. What it refers to could be gone, too.
#[test]
fn a_block_that_refers_to_another_is_not_held() {
    let f = Fixture::new(2);
    assert!(f.refer(2, 1));
    assert!(f.store.hold(2).unwrap().is_none());
    assert!(f.store.hold(1).unwrap().is_some());
}

#[test]
fn a_damaged_block_is_named_with_all_files_that_need_it() {
    let f = Fixture::new(4);
    assert!(f.refer(2, 1) && f.refer(3, 2));
    f.delete(2);
    f.store.sync().unwrap();
    let r = f.store.stored_block(1).unwrap().unwrap().location;
    let Fixture { io, store } = f;
    Arc::into_inner(store).unwrap().close().unwrap();
    let mut files = io.files();
    let name = format!("segments/{:08x}.seg", r.segment);
    files.get_mut(&name).unwrap()[r.offset as usize + 20] ^= 0xff;
    let io = MemIo::from_files(files);
    let (store, _) = Store::open(Arc::new(io.clone()), OpenOptions::default()).unwrap();
    let store = Arc::new(store);
    let f = Fixture { io, store };
    let mut found: Vec<_> = f
        .check()
        .into_iter()
        .map(|finding| (finding.ino, finding.block))
        .collect();
    found.sort_unstable();
    assert_eq!(found, [(Some(3), Some(0)), (Some(4), Some(0))]);
}

/// Regression: the block was swapped, and its reference freed, between the looks at both. The block was called damaged.
#[test]
fn a_reference_is_looked_up_in_one_state() {
    let f = Fixture::new(1);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                let extent = f.store.stored_block(1).unwrap().unwrap().extent(1);
                let found = f.store.reference(&extent);
                assert!(matches!(found, Ok(_) | Err(Error::Moved { .. })), "{found:?}");
            }
        });
        for ino in 3..1000 {
            if reader.is_finished() {
                break;
            }
            f.put(ino);
            let reference = f.store.extent(ino, 0).unwrap().unwrap().id;
            assert!(f.refer(1, reference));
            f.delete(ino);
            assert!(f.refer(1, 0));
        }
        done.store(true, Ordering::SeqCst);
        reader.join().unwrap();
    });
}
