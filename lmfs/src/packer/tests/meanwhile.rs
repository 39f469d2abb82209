//! Blocks that change while they are packed.

use super::*;

#[test]
fn a_block_that_is_written_meanwhile_keeps_what_was_written() {
    let f = Fixture::new();
    f.file(10, &text(4 * BLOCK), 100);
    let new = noise(BLOCK);
    // Written when the packer asks the second time whether it may go on: it has looked up the file's blocks by then.
    let (store, extent, asked) = (f.store.clone(), f.stored(&new), AtomicU64::new(0));
    *f.environment.on_ask.lock() = Some(Box::new(move || {
        if asked.fetch_add(1, Ordering::Relaxed) == 1 {
            let change = Change::PutExtents {
                ino: 10,
                first: 2,
                extents: vec![Some(extent)],
            };
            assert!(store.commit(vec![change]).unwrap().skipped.is_empty());
        }
    }));
    let packer = f.packer();
    let summary = run_idle(&packer, &f);
    let mut expected = text(4 * BLOCK);
    expected[2 * BLOCK..3 * BLOCK].copy_from_slice(&new);
    assert_eq!(f.contents(10), expected);
    assert_eq!(summary.blocks_packed, 3);
    assert_eq!(summary.blocks_changed, 1);
    assert_eq!(queue(&packer.store.totals()).0, 1, "the new block waits");
}

#[test]
fn blocks_that_garbage_collection_moves_while_they_are_packed_are_packed_all_the_same() {
    let f = Fixture::new();
    let contents = [text(3 * BLOCK), noise(BLOCK)].concat();
    f.file(10, &contents, 100);
    // Everything moves each time that the packer asks whether it may go on: some blocks wait in the batch by then.
    let store = f.store.clone();
    *f.environment.on_ask.lock() = Some(Box::new(move || {
        let _done = crate::maintenance::collect_garbage(&store, Effort::All, &Stop::new(), &mut |_| ()).unwrap();
    }));
    let packer = f.packer();
    let moved = f.extents(10);
    let summary = run_idle(&packer, &f);
    assert!(
        f.extents(10)
            .iter()
            .zip(&moved)
            .all(|(now, before)| now.location != before.location)
    );
    assert_eq!(f.contents(10), contents);
    assert_eq!(summary.blocks_changed, 0);
    assert_eq!((summary.blocks_packed, summary.blocks_kept), (3, 1));
    assert_eq!(queue(&packer.store.totals()).0, 0);
}

/// The length that counts was taken from the copy before: bytes that were written and synced became zeros.
#[test]
fn a_cut_block_that_is_written_anew_with_the_same_bytes_while_it_is_packed_stays_whole() {
    let f = Fixture::new();
    f.file(10, &text(2 * BLOCK), 100);
    let whole = f.extents(10)[0];
    let cut = Change::PutExtents {
        ino: 10,
        first: 0,
        extents: vec![Some(Extent { raw_len: 100, ..whole })],
    };
    assert!(f.store.commit(vec![cut]).unwrap().skipped.is_empty());
    // Written when the packer asks the second time whether it may go on: the block waits in the batch by then.
    let (store, extent, asked) = (f.store.clone(), f.stored(&text(BLOCK)), AtomicU64::new(0));
    *f.environment.on_ask.lock() = Some(Box::new(move || {
        if asked.fetch_add(1, Ordering::Relaxed) == 1 {
            let change = Change::PutExtents {
                ino: 10,
                first: 0,
                extents: vec![Some(extent)],
            };
            assert!(store.commit(vec![change]).unwrap().skipped.is_empty());
        }
    }));
    let packer = f.packer();
    let summary = run_idle(&packer, &f);
    assert_eq!((summary.blocks_packed, summary.blocks_changed), (1, 1));
    assert_eq!(f.extents(10)[0].raw_len, BLOCK as u32);
    assert_eq!(run(&packer).blocks_packed, 1);
    assert_eq!(f.contents(10), text(2 * BLOCK));
}
