//! A random history of a store, and the tree that it must show at every step.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, dead_code, missing_docs)]

pub mod soak;

use lmfs_indexer::*;
use std::collections::BTreeMap;
use std::rc::Rc;

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

#[derive(Clone, Default, Debug, PartialEq)]
pub struct FileModel {
    pub blocks: BTreeMap<u64, Rc<Vec<u8>>>,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub orphan: bool,
}

/// What the store must show. `step` is a meta row that every transaction raises.
#[derive(Clone, Default, Debug, PartialEq)]
pub struct Tree {
    pub step: u64,
    pub names: BTreeMap<Vec<u8>, u64>,
    pub files: BTreeMap<u64, FileModel>,
    pub dictionaries: BTreeMap<DictionaryId, Rc<Vec<u8>>>,
    pub packing: Packing,
}

/// A block packed and not swapped in yet: a file that has it, what was packed, the result, and what that refers to.
type Packed = (u64, Extent, BlockRef, u64);

/// Blocks packed and not swapped in yet. They are no part of what a store shows, so all are equal.
#[derive(Clone, Default, Debug)]
pub struct Packing(Vec<Packed>);

impl PartialEq for Packing {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

#[derive(Clone, Debug)]
pub enum Op {
    /// Blocks of a file, made if need be; all in one transaction.
    Write(u64, Vec<(u64, usize)>),
    Truncate(u64, u64),
    Unlink(u64),
    /// Unlinked, but still open.
    Orphan(u64),
    /// To the name of another file, which is replaced.
    Rename(u64, u64),
    Xattr(u64, usize),
    /// From file and block, to file and block, how many.
    Copy((u64, u64), (u64, u64), u64),
    /// Blocks of a file whose contents another block has become that one.
    Merge(u64),
    /// Encodes a file's blocks anew and makes them durable ...
    Pack(u64),
    /// ... and swaps them in, unless the file changed or was moved meanwhile.
    Swap,
    /// Makes or replaces a dictionary ...
    Learn(u8, usize),
    /// ... and deletes it.
    Forget(u8),
    Sync,
    Checkpoint,
    Collect,
}

pub fn history(random: &mut Random, len: usize) -> Vec<Op> {
    let mut r = |n: u64| random.below(n);
    (0..len)
        .map(|_| {
            let ino = 2 + r(8);
            match r(60) {
                0..=16 => {
                    let blocks = (0..1 + r(3)).map(|_| (r(100), 1 + r(700) as usize));
                    Op::Write(ino, blocks.collect())
                }
                17..=19 => Op::Truncate(ino, r(100)),
                20 | 21 => Op::Unlink(ino),
                22 => Op::Orphan(ino),
                23..=25 => Op::Rename(ino, 2 + r(8)),
                26..=28 => Op::Xattr(ino, r(40) as usize),
                29..=35 => Op::Sync,
                36 => Op::Checkpoint,
                37..=39 => Op::Collect,
                40..=43 => Op::Pack(ino),
                44..=47 => Op::Swap,
                48..=50 => Op::Learn(r(4) as u8, 1 + r(1500) as usize),
                51 => Op::Forget(r(4) as u8),
                52..=57 => Op::Copy((ino, r(100)), (2 + r(8), r(100)), 1 + r(80)),
                _ => Op::Merge(ino),
            }
        })
        .collect()
}

const RAW: u8 = 1;
const PACKED: u8 = 2;

/// What packing makes of a block: something shorter or longer that holds the same, if the contents of another block
/// are known.
fn pack(bytes: &[u8], reference: &[u8]) -> Vec<u8> {
    let known = reference.iter().chain(std::iter::repeat(&0));
    let mut packed: Vec<u8> = bytes.iter().zip(known).map(|(a, b)| a ^ b).collect();
    packed.reverse();
    packed.push(b'P');
    packed
}

/// What a stored block decodes to.
fn contents(store: &Store, extent: &Extent) -> Result<Vec<u8>> {
    unpack(store, extent, store.read_block(extent)?)
}

fn unpack(store: &Store, extent: &Extent, mut bytes: Vec<u8>) -> Result<Vec<u8>> {
    if extent.tag == PACKED {
        let stored = store.stored_block(extent.id)?.unwrap();
        let reference = match stored.reference {
            0 => Vec::new(),
            id => {
                let stored = store.stored_block(id)?;
                contents(store, &stored.unwrap().extent(id))?
            }
        };
        assert_eq!(bytes.pop(), Some(b'P'));
        bytes.reverse();
        let known = reference.iter().chain(std::iter::repeat(&0));
        bytes.iter_mut().zip(known).for_each(|(byte, known)| *byte ^= known);
    }
    Ok(bytes)
}

fn digest(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(1, |sum, byte| sum * 31 % 1_000_003 + u32::from(*byte))
}

pub fn options() -> OpenOptions {
    OpenOptions {
        segment_size: 4096,
        ..OpenOptions::default()
    }
}

fn name(ino: u64) -> Vec<u8> {
    format!("file {ino}").into_bytes()
}

fn inode(ino: u64, nlink: u32) -> Inode {
    Inode {
        uid: 1,
        gid: 2,
        nlink,
        size: 100,
        ..Inode::new(ino, Kind::File, 0o644, Time { secs: -5, nanos: 7 })
    }
}

/// [`soak::rounds`] as a count.
pub fn rounds(short: usize, long: usize) -> usize {
    soak::rounds(short as u64, long as u64) as usize
}

pub fn collect(store: &Store) -> Result<GcReport> {
    let gc = GcOptions {
        max_live: 0.9,
        seal_head: true,
    };
    store.gc(&gc, &mut |_| true)
}

impl Tree {
    fn pack(&mut self, store: &Store, ino: u64, random: &mut Random) -> Result<()> {
        let others: Vec<Extent> = store
            .extents(2 + random.below(8), 0..100)?
            .into_iter()
            .flatten()
            .collect();
        for extent in store.extents(ino, 0..100)?.into_iter().flatten() {
            // Most are packed once. Some are packed again, behind another block or none.
            if extent.tag != RAW && random.below(4) > 0 {
                continue;
            }
            let reference = match random.below(others.len() as u64 + 1) as usize {
                n if n < others.len() && random.below(2) > 0 => Some(others[n]),
                _ => None,
            };
            let known = reference.map(|e| contents(store, &e)).transpose()?.unwrap_or_default();
            let bytes = pack(&contents(store, &extent)?, &known);
            let new = store.append_again(extent.id, &bytes)?;
            self.packing.0.push((ino, extent, new, reference.map_or(0, |e| e.id)));
        }
        store.sync()
    }

    /// Writes a checkpoint, and does something else before each of its pieces.
    fn checkpoint(&mut self, store: &Store, random: &mut Random, before: &mut dyn FnMut(&Tree)) -> Result<()> {
        let mut failed = None;
        let done = store.checkpoint_with(&mut |_rows| {
            // No second checkpoint in one, nor garbage collection, which may want one.
            let ops = history(random, 4);
            for op in ops.iter().filter(|op| !matches!(op, Op::Checkpoint | Op::Collect)) {
                if failed.is_none() {
                    failed = self.run(store, op, random, before).err();
                }
            }
        });
        failed.map_or(done, Err)
    }

    fn named(&self, ino: u64) -> Option<Vec<u8>> {
        let found = self.names.iter().find(|(_, i)| **i == ino);
        found.map(|(n, _)| n.clone())
    }

    /// Does one step, in the store and, if the store did it, here. `before` is called with the tree that the
    /// transaction makes, before it is committed.
    pub fn run(&mut self, store: &Store, op: &Op, random: &mut Random, before: &mut dyn FnMut(&Tree)) -> Result<()> {
        let mut next = self.clone();
        let mut tx = Vec::new();
        let mut appended = Vec::new();
        match op {
            Op::Sync => return store.sync(),
            Op::Checkpoint => return self.checkpoint(store, random, before),
            Op::Collect => return collect(store).map(drop),
            Op::Pack(ino) => return self.pack(store, *ino, random),
            Op::Swap => {
                for (hint, old, new, reference) in std::mem::take(&mut self.packing).0 {
                    appended.push(new);
                    tx.push(Change::SwapBlock {
                        id: old.id,
                        old: old.location,
                        new,
                        tag: PACKED,
                        reference,
                        hint,
                    });
                }
                next.packing = Packing::default();
            }
            Op::Write(ino, blocks) => {
                if !next.files.contains_key(ino) {
                    let entry = Dirent {
                        ino: *ino,
                        kind: Kind::File,
                    };
                    tx.push(Change::PutInode(inode(*ino, 1)));
                    if let Some(old) = next.names.insert(name(*ino), *ino) {
                        next.files.remove(&old);
                        tx.push(Change::DelInode(old));
                    }
                    tx.push(Change::PutDirent {
                        parent: ROOT_INO,
                        name: name(*ino),
                        entry,
                    });
                }
                for (block, len) in blocks {
                    // Some contents come again and again.
                    let bytes: Vec<u8> = match *len % 4 {
                        0 => vec![*len as u8; *len % 32],
                        _ => (0..*len).map(|_| random.below(256) as u8).collect(),
                    };
                    let new = match store.append_block(&bytes) {
                        Ok(new) => new,
                        Err(e) => {
                            store.abandon_blocks(&appended);
                            return Err(e);
                        }
                    };
                    appended.push(new.1);
                    let extent = Extent::new(new, RAW, bytes.len() as u32).with_digest(digest(&bytes));
                    tx.push(Change::PutExtents {
                        ino: *ino,
                        first: *block,
                        extents: vec![Some(extent)],
                    });
                    let file = next.files.entry(*ino).or_default();
                    file.blocks.insert(*block, Rc::new(bytes));
                }
            }
            Op::Learn(n, len) => {
                let id = [*n; 4];
                let bytes: Vec<u8> = (0..*len).map(|_| random.below(256) as u8).collect();
                let copies = store.append_dictionary(id, &bytes)?;
                appended.clone_from(&copies);
                let dictionary = Dictionary {
                    id,
                    info: vec![*n],
                    copies,
                };
                tx.push(Change::Dictionary(DictionaryChange::Put(dictionary)));
                next.dictionaries.insert(id, Rc::new(bytes));
            }
            Op::Forget(n) => {
                tx.push(Change::Dictionary(DictionaryChange::Delete([*n; 4])));
                next.dictionaries.remove(&[*n; 4]);
            }
            Op::Copy((from, from_first), (ino, first), count) => {
                if !next.files.contains_key(ino) || !next.files.contains_key(from) {
                    return Ok(());
                }
                let source = next.files[from].blocks.clone();
                let target = &mut next.files.get_mut(ino).unwrap().blocks;
                let count = (*count).min(100 - from_first).min(100 - first);
                for n in 0..count {
                    match source.get(&(from_first + n)) {
                        Some(bytes) => target.insert(first + n, bytes.clone()),
                        None => target.remove(&(first + n)),
                    };
                }
                tx.push(Change::CopyExtents {
                    ino: *ino,
                    first: *first,
                    from: *from,
                    from_first: *from_first,
                    count,
                });
            }
            Op::Merge(ino) => {
                for (block, extent) in (0..).zip(store.extents(*ino, 0..100)?) {
                    let Some(e) = extent else { continue };
                    let mut equal = store.find_equal(e.digest, e.raw_len)?.into_iter();
                    let Some(equal) = equal.find(|equal| equal.id != e.id) else {
                        continue;
                    };
                    let bytes = unpack(store, &e, store.read_block_of(*ino, block, &e)?)?;
                    if bytes == contents(store, &equal)? {
                        let hint = if random.below(2) == 0 { *ino } else { 0 };
                        tx.push(Change::MergeBlock {
                            id: e.id,
                            into: equal.id,
                            hint,
                        });
                    }
                }
            }
            Op::Truncate(ino, from) => {
                let Some(file) = next.files.get_mut(ino) else {
                    return Ok(());
                };
                file.blocks.retain(|b, _| b < from);
                tx.push(Change::TruncateExtents { ino: *ino, from: *from });
            }
            Op::Unlink(ino) | Op::Orphan(ino) => {
                if next.files.get(ino).is_none_or(|f| f.orphan) {
                    return Ok(());
                }
                let name = next.named(*ino).unwrap();
                next.names.remove(&name);
                tx.push(Change::DelDirent { parent: ROOT_INO, name });
                if matches!(op, Op::Orphan(_)) {
                    next.files.get_mut(ino).unwrap().orphan = true;
                    tx.push(Change::PutInode(inode(*ino, 0)));
                    tx.push(Change::PutOrphan(*ino));
                } else {
                    next.files.remove(ino);
                    tx.push(Change::DelInode(*ino));
                }
            }
            Op::Rename(from, to) => {
                let Some(old) = next.named(*from) else {
                    return Ok(());
                };
                let new = name(*to);
                next.names.remove(&old);
                tx.push(Change::DelDirent {
                    parent: ROOT_INO,
                    name: old,
                });
                if let Some(replaced) = next.names.insert(new.clone(), *from)
                    && replaced != *from
                {
                    next.files.remove(&replaced);
                    tx.push(Change::DelInode(replaced));
                }
                let entry = Dirent {
                    ino: *from,
                    kind: Kind::File,
                };
                tx.push(Change::PutDirent {
                    parent: ROOT_INO,
                    name: new,
                    entry,
                });
            }
            Op::Xattr(ino, len) => {
                let Some(file) = next.files.get_mut(ino) else {
                    return Ok(());
                };
                let (name, value) = (b"user.x".to_vec(), vec![*len as u8; *len]);
                file.xattrs.insert(name.clone(), value.clone());
                tx.push(Change::PutXattr { ino: *ino, name, value });
            }
        }
        next.step += 1;
        tx.push(Change::PutMeta {
            key: b"step".to_vec(),
            value: next.step.to_le_bytes().to_vec(),
        });
        before(&next);
        match store.commit(tx) {
            Ok(_) => *self = next,
            Err(e) => {
                store.abandon_blocks(&appended);
                return Err(e);
            }
        }
        Ok(())
    }

    /// All that a store shows.
    pub fn read(store: &Store) -> Result<Tree> {
        let mut tree = Tree::default();
        if let Some(step) = store.meta(b"step")? {
            tree.step = u64::from_le_bytes(step.try_into().unwrap());
        }
        for (name, entry) in store.dirents(ROOT_INO, None, 1000)? {
            tree.names.insert(name, entry.ino);
        }
        for inode in store.inodes(ROOT_INO, 1000)? {
            tree.files.entry(inode.ino).or_default();
        }
        for ino in store.orphans()? {
            tree.files.get_mut(&ino).unwrap().orphan = true;
        }
        for (ino, file) in &mut tree.files {
            for name in store.xattrs(*ino)? {
                let value = store.xattr(*ino, &name)?.unwrap();
                file.xattrs.insert(name, value);
            }
            for (block, e) in (0..).zip(store.extents(*ino, 0..100)?) {
                if let Some(e) = e {
                    let bytes = unpack(store, &e, store.read_block_of(*ino, block, &e)?)?;
                    assert_eq!(bytes.len(), e.raw_len as usize);
                    file.blocks.insert(block, Rc::new(bytes));
                }
            }
        }
        for dictionary in store.dictionaries()? {
            let id = dictionary.id;
            assert_eq!(dictionary.info, id[..1]);
            let [one, other] = dictionary.copies[..] else {
                panic!("{dictionary:?}");
            };
            assert_ne!(one.segment, other.segment, "{dictionary:?}");
            let bytes = store.read_dictionary(id)?.unwrap();
            tree.dictionaries.insert(id, Rc::new(bytes));
        }
        Ok(tree)
    }
}

/// The store shows exactly this tree, and the check finds nothing, not in the log either.
pub fn assert_shows(store: &Store, tree: &Tree, when: &str) {
    let found = Tree::read(store).unwrap_or_else(|e| panic!("{when}: {e}"));
    assert!(found == *tree, "{when}: {found:?}\nshould be {tree:?}");
    assert_clean(store, when);
}

pub fn assert_clean(store: &Store, when: &str) {
    let options = CheckOptions { log: true };
    let report = store.check(&options, &mut |_, _| true).unwrap();
    assert!(report.is_clean(), "{when}: {:?}", report.findings);
}
