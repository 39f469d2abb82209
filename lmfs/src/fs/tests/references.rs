//! Blocks that are coded behind others, as readers see them.

use lmfs_indexer::MAX_CHAIN;

use super::*;
use crate::store::Tag;

const B: usize = BLOCK as usize;

/// Versions of a block: each a little different from the one before.
fn versions() -> Vec<Vec<u8>> {
    let first: Vec<u8> = (0..B as u32)
        .map(|i| b'a' + (i.wrapping_mul(2_654_435_761) >> 28) as u8)
        .collect();
    let mut all = vec![first];
    for n in 0..MAX_CHAIN {
        let mut next = all[n].clone();
        next[100 * n..100 * n + 9].copy_from_slice(b"something");
        all.push(next);
    }
    all
}

/// Files of one block, each of which is coded behind that of the file before.
fn chained(disk: &Disk) -> Vec<u64> {
    let versions = versions();
    let files: Vec<u64> = (0..versions.len()).map(|n| disk.file(&format!("file {n}"))).collect();
    let store = disk.fs.store();
    let mut reference = 0;
    for (n, &ino) in files.iter().enumerate() {
        disk.fs.write(ino, 0, &versions[n], false).unwrap();
        disk.fs.fsync(ino).unwrap();
        let behind: Vec<&[u8]> = n
            .checked_sub(1)
            .map(|before| &versions[before][..])
            .into_iter()
            .collect();
        let bytes = codec().encode_behind(&versions[n], &[], &behind, &Stop::new()).unwrap();
        assert_eq!(Codec::needs(&bytes).unwrap().reference.is_some(), n > 0);
        let old = store.extent(ino, 0).unwrap().unwrap();
        let Tag(tag) = Tag::packed(lmfs_codec::Method::Mix);
        let new = store.append_again(old.id, &bytes).unwrap();
        let swap = Change::SwapBlock {
            id: old.id,
            old: old.location,
            new,
            tag,
            reference,
            hint: ino,
        };
        assert_eq!(store.commit(vec![swap]).unwrap().skipped, []);
        reference = old.id;
    }
    files
}

#[test]
fn a_cold_read_decodes_a_block_and_its_chain_and_no_more() {
    let disk = Disk::new();
    let files = chained(&disk);
    let disk = disk.reopen();
    let versions = versions();
    let decodes = || disk.fs.stats().cache.decodes;
    let last = MAX_CHAIN - 1;
    assert_eq!(disk.fs.read_wait(files[last], 0, 10).unwrap(), versions[last][..10]);
    assert_eq!(decodes(), MAX_CHAIN as u64);
    assert_eq!(disk.all(files[MAX_CHAIN]), versions[MAX_CHAIN]);
    assert_eq!(decodes(), MAX_CHAIN as u64 + 1, "the chain was in memory");
    assert_eq!(disk.all(files[1]), versions[1]);
    assert_eq!(decodes(), MAX_CHAIN as u64 + 1, "so was this one");
}

#[test]
fn a_damaged_block_fails_what_is_coded_behind_it_and_nothing_else() {
    let disk = Disk::new();
    let files = chained(&disk);
    let other = disk.file("other");
    disk.fs.write(other, 0, b"unharmed", false).unwrap();
    let old = disk.fs.store().extent(files[1], 0).unwrap().unwrap();
    let reference = disk.fs.store().stored_block(old.id).unwrap().unwrap().reference;
    let new = disk.fs.store().append_again(old.id, b"not a block at all").unwrap();
    let swap = Change::SwapBlock {
        id: old.id,
        old: old.location,
        new,
        tag: old.tag,
        reference,
        hint: 0,
    };
    assert_eq!(disk.fs.store().commit(vec![swap]).unwrap().skipped, []);
    let disk = disk.reopen();
    for &ino in &files[1..] {
        assert_eq!(errno(disk.fs.read_wait(ino, 0, 10)), Errno::IO);
    }
    assert_eq!(disk.fs.stats().bad_blocks, files.len() as u64 - 1);
    assert_eq!(disk.all(files[0]), versions()[0]);
    assert_eq!(disk.all(other), b"unharmed");
    // What is written anew is whole again.
    disk.fs.write(files[2], 0, &versions()[2], false).unwrap();
    disk.fs.fsync(files[2]).unwrap();
    assert_eq!(disk.all(files[2]), versions()[2]);
}
