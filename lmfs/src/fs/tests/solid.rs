//! Blocks behind a solid head, as readers see them.

use lmfs_codec::SolidHead;

use super::*;
use crate::packer::{Offline, Options as PackerOptions, Packer, Scope};
use crate::testing::table;

const B: usize = BLOCK as usize;
const MOST: usize = SolidHead::MOST_BLOCKS as usize;

/// A packed file of so many blocks in a store that was just opened.
fn packed(blocks: usize) -> (Disk, u64) {
    let disk = Disk::with(Options {
        cache_bytes: 64 << 20,
        ..options()
    });
    let ino = disk.file("table");
    disk.fs.write(ino, 0, &table(blocks * B), false).unwrap();
    disk.fs.fsync(ino).unwrap();
    let packer = Packer::new(
        Arc::clone(disk.fs.store()),
        codec(),
        Arc::new(Offline),
        PackerOptions::default(),
    );
    let summary = packer.run(None, &Scope::All, false, 1, &|_| (), &Stop::new()).unwrap();
    assert_eq!(summary.blocks_packed, blocks as u64);
    (disk.reopen(), ino)
}

#[test]
fn a_cold_read_decodes_a_block_and_its_head_and_the_next_one_only_itself() {
    let (disk, ino) = packed(40);
    let decodes = || disk.fs.stats().cache.decodes;
    let at = |block: usize| table(40 * B)[block * B..][..10].to_vec();
    assert_eq!(disk.fs.read_wait(ino, 30 * u64::from(BLOCK), 10).unwrap(), at(30));
    assert_eq!(decodes(), MOST as u64 + 1);
    assert_eq!(disk.fs.read_wait(ino, 25 * u64::from(BLOCK), 10).unwrap(), at(25));
    assert_eq!(decodes(), MOST as u64 + 2);
    assert_eq!(disk.fs.read_wait(ino, 3 * u64::from(BLOCK), 10).unwrap(), at(3));
    assert_eq!(decodes(), MOST as u64 + 2, "the head was in memory");
}

#[test]
fn a_file_is_read_from_the_start_with_one_decode_for_each_block() {
    let (disk, ino) = packed(40);
    assert!(disk.all(ino) == table(40 * B));
    assert_eq!(disk.fs.stats().cache.decodes, 40);
}

#[test]
fn a_damaged_part_fails_what_is_behind_it_and_nothing_else() {
    let (disk, ino) = packed(20);
    let store = disk.fs.store();
    let part = store.extent(ino, 5).unwrap().unwrap();
    let reference = store.stored_block(part.id).unwrap().unwrap().reference;
    let new = store.append_again(part.id, b"not a block at all").unwrap();
    let swap = Change::SwapBlock {
        id: part.id,
        old: part.location,
        new,
        tag: part.tag,
        reference,
        hint: 0,
    };
    assert_eq!(store.commit(vec![swap]).unwrap().skipped, []);
    for block in 0..20 {
        let read = disk.fs.read_wait(ino, block * u64::from(BLOCK), 10);
        assert_eq!(read.is_ok(), block < 5, "block {block}: {read:?}");
    }
}
