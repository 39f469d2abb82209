//! Long files: their blocks are coded behind a solid head.

use lmfs_codec::SolidHead;

use super::references::{assert_clean, chain, reopened};
use super::*;
use crate::testing::table;

fn solid(f: &Fixture, extent: &Extent) -> Option<lmfs_codec::InSolid> {
    let block = f.store.read_block(extent).unwrap();
    Codec::needs(&block).unwrap().solid
}

#[test]
fn blocks_of_a_long_file_have_one_head() {
    let most = usize::from(SolidHead::MOST_BLOCKS);
    let f = Fixture::new();
    f.file(10, &table(40 * BLOCK), 100);
    let summary = run(&f.packer());
    assert_eq!((summary.blocks_failed, summary.blocks_changed), (0, 0), "{summary:?}");
    let extents = f.extents(10);
    let heads: Vec<usize> = extents[1..]
        .iter()
        .map(|extent| usize::from(solid(&f, extent).unwrap().blocks))
        .collect();
    let expected: Vec<usize> = (1..40).map(|number| number.min(most)).collect();
    assert_eq!(heads, expected);
    assert!(extents.iter().all(|extent| chain(&f, extent.id) <= most));
    let last = extents[most - 1].id;
    let behind = |extent: &&Extent| f.store.stored_block(extent.id).unwrap().unwrap().reference == last;
    assert_eq!(extents.iter().filter(behind).count(), 40 - most);
    assert_eq!(f.contents(10), table(40 * BLOCK));
    assert_clean(&f);

    // The file is cut to its last block: what that needs stays.
    let inode = f.store.inode(10).unwrap().unwrap();
    let changes = vec![Change::PutExtents {
        ino: 10,
        first: 0,
        extents: vec![None; 39],
    }];
    assert!(f.store.commit(changes).unwrap().skipped.is_empty());
    crate::maintenance::collect_garbage(&f.store, Effort::Thorough, &Stop::new(), &mut |_| ()).unwrap();
    let f = reopened(f);
    assert_eq!(f.store.inode(10).unwrap().unwrap().size, inode.size);
    assert_eq!(f.contents(10)[..], table(40 * BLOCK)[39 * BLOCK..]);
    assert_clean(&f);
}

#[test]
fn packing_again_begins_heads_and_keeps_those_that_there_are() {
    let f = Fixture::new();
    f.file(10, &table(20 * BLOCK), 100);
    let (packer, mut before) = (f.packer(), u64::MAX);
    for again in [false, true, true] {
        let summary = packer.run(None, &Scope::All, again, 0, &|_| (), &Stop::new()).unwrap();
        assert_eq!((summary.blocks_failed, summary.blocks_changed), (0, 0), "{summary:?}");
        let after = f.store.totals().stored_bytes;
        assert!(after <= before, "{after} after {before}");
        before = after;
        assert_eq!(f.contents(10), table(20 * BLOCK));
        assert_clean(&f);
    }
}

/// Whoever reads a block and has no room to remember what its head taught decodes the head each time.
#[test]
fn a_block_is_read_although_its_head_is_not_known_any_more() {
    let f = Fixture::new();
    f.file(10, &table(20 * BLOCK), 100);
    f.file(11, &text(20 * BLOCK), 90);
    run(&f.packer());
    let mut options = lmfs_codec::Options::default();
    options.most_warm_bytes = 0;
    let f = Fixture {
        codec: dictionaries::codec(&f.store, None, options).unwrap(),
        ..f
    };
    let contents = Contents::new(f.store.clone(), f.codec.clone());
    let (rows, text) = (table(20 * BLOCK), text(20 * BLOCK));
    for block in (0..20).rev() {
        for (ino, file) in [(10, &rows), (11, &text)] {
            let extent = f.extents(ino)[block];
            let bytes = f.store.read_block(&extent).unwrap();
            let raw = contents.decode(&extent, &bytes, None, &Stop::new()).unwrap();
            assert_eq!(raw, file[block * BLOCK..][..BLOCK]);
        }
    }
}

/// The index says that a block of a head refers to nothing, or to another block.
#[test]
fn a_block_whose_head_is_not_where_the_index_says_is_an_error() {
    let f = Fixture::new();
    f.file(10, &table(20 * BLOCK), 100);
    run(&f.packer());
    let extents = f.extents(10);
    let (last, other) = (extents[19], extents[17]);
    for reference in [0, other.id] {
        let swap = Change::SwapBlock {
            id: last.id,
            old: f.store.stored_block(last.id).unwrap().unwrap().location,
            new: last.location,
            tag: last.tag,
            reference,
            hint: 10,
        };
        assert!(f.store.commit(vec![swap]).unwrap().skipped.is_empty());
        let contents = Contents::new(f.store.clone(), f.codec.clone());
        let bytes = f.store.read_block(&last).unwrap();
        let read = contents.decode(&last, &bytes, None, &Stop::new());
        assert!(
            matches!(read, Err(crate::store::contents::Unreadable::Codec(_))),
            "{read:?}"
        );
    }
}
