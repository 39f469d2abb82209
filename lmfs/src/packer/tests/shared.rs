//! Blocks that files share.

use super::*;

#[test]
fn equal_blocks_become_one_and_a_shared_block_is_packed_once() {
    let f = Fixture::new();
    // Blocks 0 and 4 are equal; so are the files.
    let contents = [
        text(4 * BLOCK),
        text(BLOCK),
        text(2 * BLOCK + 100)[2 * BLOCK..].to_vec(),
    ]
    .concat();
    for ino in 10..14 {
        f.file(ino, &contents, 0);
    }
    let packer = f.packer();
    let summary = run(&packer);
    let done = (summary.blocks_packed, summary.blocks_shared, summary.blocks_failed);
    assert_eq!(done, (5, 4 * 6 - 5, 0));
    let totals = f.store.totals();
    assert_eq!((totals.blocks, totals.shared.blocks), (5, 4 * 6 - 5));
    assert_eq!(summary.progress.after_bytes, totals.stored_bytes);
    for ino in 10..14 {
        assert_eq!(f.contents(ino), contents);
        let takes: u64 = f.extents(ino).iter().map(|e| u64::from(e.location.len)).sum();
        assert_eq!(f.store.stored_bytes(ino).unwrap(), takes);
    }

    // Copies share a staged block. It is packed once, for all of them.
    f.file(20, &text(BLOCK + 100)[100..], 0);
    f.file(21, b"x", 0);
    let copy = Change::CopyExtents {
        ino: 21,
        first: 0,
        from: 20,
        from_first: 0,
        count: 1,
    };
    assert_eq!(f.store.commit(vec![copy]).unwrap().skipped, []);
    assert_eq!(run(&packer).blocks_packed, 1);
    assert_eq!(f.extents(20), f.extents(21));
    assert_eq!(queue(&f.store.totals()).0, 0);
    assert!(
        f.store
            .check(&lmfs_indexer::CheckOptions { log: true }, &mut |_, _| true)
            .unwrap()
            .is_clean()
    );
}

/// Regression: a batch was one transaction, however many blocks of files it was work for.
#[test]
fn blocks_with_many_users_are_not_swapped_in_together() {
    let f = Fixture::new();
    f.file(10, &text(3 * BLOCK), 0);
    f.file(11, b"x", 0);
    let mut batch = batch::Batch::default();
    for (block, extent) in (0..).zip(f.extents(10)) {
        let share = Change::PutExtents {
            ino: 11,
            first: 100_000 * block,
            extents: vec![Some(extent); 30_000],
        };
        assert_eq!(f.store.commit(vec![share]).unwrap().skipped, []);
        let waiting = queue::Waiting { ino: 10, block, extent };
        batch.add(&waiting, batch::New::Kept(Tag(extent.tag)));
    }
    let before = f.store.seq();
    assert_eq!(batch.commit(&f.store).unwrap().len(), 3);
    assert_eq!(f.store.seq() - before, 2);
}

#[test]
fn blocks_with_one_digest_and_other_bytes_stay_apart() {
    let f = Fixture::new();
    f.file(10, &text(BLOCK), 0);
    run(&f.packer());
    let digest = f.extents(10)[0].digest;
    let lie = f.stored(&text(2 * BLOCK)[BLOCK..]).with_digest(digest);
    f.file(11, &noise(BLOCK), 0);
    let change = Change::PutExtents {
        ino: 11,
        first: 0,
        extents: vec![Some(lie)],
    };
    assert_eq!(f.store.commit(vec![change]).unwrap().skipped, []);
    assert_eq!(run(&f.packer()).blocks_packed, 1);
    assert_eq!(f.contents(11), text(2 * BLOCK)[BLOCK..]);
}

/// Regression: the store does not swap a block that so many use, and each run packed it again.
#[test]
fn a_block_with_too_many_users_to_be_swapped_is_done_as_it_is() {
    let f = Fixture::new();
    f.file(10, &text(BLOCK), 0);
    let count = lmfs_indexer::MAX_COPIED;
    let mut copied = 1;
    while copied <= lmfs_indexer::MAX_USERS {
        let copy = Change::CopyExtents {
            ino: 10,
            first: copied,
            from: 10,
            from_first: 0,
            count: copied.min(count),
        };
        assert_eq!(f.store.commit(vec![copy]).unwrap().skipped, []);
        copied += copied.min(count);
    }
    let packer = f.packer();
    let summary = run(&packer);
    assert_eq!((summary.blocks_packed, summary.blocks_kept), (0, 1), "{summary:?}");
    assert_eq!(queue(&f.store.totals()).0, 0);
    let again = packer.run(None, &Scope::All, true, 0, &|_| (), &Stop::new()).unwrap();
    assert_eq!((again.blocks_packed, again.blocks_kept), (0, 1), "{again:?}");
    assert_eq!(f.contents(10), text(BLOCK));
}
