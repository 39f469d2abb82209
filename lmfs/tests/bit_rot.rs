//! Bit rot without a mount: every byte of a store flipped in turn, every file cut at many points, every file deleted. A
//! sample of it by default, all of it with `LMFS_SOAK` (`make soak`).
//!
//! Whatever is damaged, one of three things happens: the store is refused with the place of the damage (and can be read
//! with salvage as far as it goes), it shows all of the tree and all bytes, or the blocks that are hit give an error
//! and everything else is right. The check finds what reading finds.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

#[path = "../../indexer/tests/workload/soak.rs"]
#[allow(dead_code, reason = "shared with tests that repeat something")]
mod soak;

use lmfs_codec::dictionary::DictionaryId;
use lmfs_codec::{Codec, Header, Method, Stop};
use lmfs_indexer::{
    Change, CheckOptions, CreateOptions, Dictionary, Dirent, Error, Extent, GcOptions, Inode, Kind, MemIo, OpenOptions,
    ROOT_INO, Store, Time,
};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

const BLOCK: usize = 4096;
const SEGMENT: u32 = 32 << 10;
const FOLDER: u64 = 2;

/// All that a store shows but the bytes of files, which are in `blocks`.
#[derive(Debug, PartialEq)]
struct Tree {
    inodes: Vec<Inode>,
    entries: Vec<(Vec<u8>, Dirent)>,
    xattrs: Vec<(u64, Vec<u8>, Vec<u8>)>,
    blocks: Vec<(u64, u64, Extent)>,
    dictionaries: Vec<Dictionary>,
}

fn tree(store: &Store) -> Tree {
    let inodes = store.inodes(0, 1000).unwrap();
    let mut entries = Vec::new();
    let mut xattrs = Vec::new();
    for inode in &inodes {
        entries.extend(store.dirents(inode.ino, None, 1000).unwrap());
        for name in store.xattrs(inode.ino).unwrap() {
            let value = store.xattr(inode.ino, &name).unwrap().unwrap();
            xattrs.push((inode.ino, name, value));
        }
    }
    let blocks = store.blocks(None, 10_000).unwrap();
    Tree {
        inodes,
        entries,
        xattrs,
        blocks,
        dictionaries: store.dictionaries().unwrap(),
    }
}

struct Fixture {
    files: BTreeMap<String, Arc<Vec<u8>>>,
    codec: Codec,
    tree: Tree,
    /// By inode and block: what is stored, and what it decodes to.
    contents: BTreeMap<(u64, u64), (Vec<u8>, Vec<u8>)>,
    /// The dictionary that some blocks start behind, as stored.
    dictionary: (DictionaryId, Vec<u8>),
}

fn inode(ino: u64, kind: Kind) -> Inode {
    let time = Time {
        secs: -7,
        nanos: ino as u32,
    };
    let inode = Inode {
        uid: 1,
        gid: 2,
        ..Inode::new(ino, kind, 0o755, time)
    };
    Inode {
        nlink: if ino == ROOT_INO { 3 } else { inode.nlink },
        ..inode
    }
}

fn options() -> OpenOptions {
    OpenOptions {
        segment_size: SEGMENT,
        ..OpenOptions::default()
    }
}

/// Files of `tests/data`, some of them packed, in a store that has seen garbage collection and a checkpoint.
fn fixture() -> Fixture {
    let io = MemIo::new();
    let mut create = CreateOptions::new(*b"bit rot's  store");
    create.segment_size = SEGMENT;
    let store = Store::create(Arc::new(io.clone()), create).unwrap();
    let entry = |parent, name: &str, ino, kind| Change::PutDirent {
        parent,
        name: name.as_bytes().to_vec(),
        entry: Dirent { ino, kind },
    };
    let commit = |changes| drop(store.commit(changes).unwrap());
    commit(vec![
        Change::PutInode(inode(ROOT_INO, Kind::Directory)),
        Change::PutInode(inode(FOLDER, Kind::Directory)),
        entry(ROOT_INO, "folder", FOLDER, Kind::Directory),
        Change::PutInode(Inode {
            target: b"folder".to_vec(),
            ..inode(3, Kind::Symlink)
        }),
        entry(ROOT_INO, "link", 3, Kind::Symlink),
    ]);
    let mut sources = Vec::new();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data");
    for kind in ["code", "csv", "json", "logs", "text"] {
        let mut paths: Vec<_> = std::fs::read_dir(data.join(kind)).unwrap().collect();
        paths.sort_by_key(|p| p.as_ref().unwrap().path());
        for path in paths {
            let path = path.unwrap().path();
            if path.is_file() {
                let mut bytes = std::fs::read(path).unwrap();
                bytes.truncate(60_000);
                sources.push(bytes);
            }
        }
    }
    // What does not compress.
    let mut state = 1u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    });
    sources.push(noise.take(50_000).collect());
    // Two texts of one kind are most of a dictionary that others of the kind may start behind.
    let text: Vec<u8> = sources
        .iter()
        .flat_map(|bytes| &bytes[..bytes.len() / 4])
        .copied()
        .collect();
    let id = DictionaryId::of(&text);
    let plain = Codec::new(None, lmfs_codec::Options::default()).unwrap();
    let dictionary = plain.encode(&text, &Stop::new()).unwrap();
    assert!(store.add_dictionary(id.0, b"info", &dictionary).unwrap());
    let codec = Codec::with_dictionaries(None, Arc::new(vec![text]), lmfs_codec::Options::default()).unwrap();
    let put = |ino, block, bytes: &[u8], raw_len: usize| {
        let header = Header::parse(bytes).unwrap();
        let new = store.append_block(bytes).unwrap();
        let extent = Extent::new(new, header.method as u8, raw_len as u32);
        let extents = vec![Some(extent.with_digest(header.raw_crc))];
        commit(vec![Change::PutExtents {
            ino,
            first: block,
            extents,
        }]);
    };
    for (ino, bytes) in (4..).zip(&sources) {
        let size = bytes.len() as u64;
        commit(vec![
            Change::PutInode(Inode {
                size,
                ..inode(ino, Kind::File)
            }),
            entry(FOLDER, &format!("file {ino}"), ino, Kind::File),
            Change::PutXattr {
                ino,
                name: b"user.note".to_vec(),
                value: vec![ino as u8; 30],
            },
        ]);
        for (block, raw) in (0..).zip(bytes.chunks(BLOCK)) {
            put(ino, block, &codec.stage(raw).unwrap(), raw.len());
        }
        if ino == 8 {
            store.checkpoint().unwrap();
        }
    }
    // Every third file is packed, which leaves garbage.
    for (ino, bytes) in (4..).zip(&sources).step_by(3) {
        for (block, raw) in (0..).zip(bytes.chunks(BLOCK)) {
            let packed = codec.encode_with(raw, &[id], &Stop::new()).unwrap();
            put(ino, block, &packed, raw.len());
        }
    }
    let gc = GcOptions {
        max_live: 0.3,
        seal_head: false,
    };
    let report = store.gc(&gc, &mut |_| true).unwrap();
    assert!(report.deleted > 0, "{report:?}");
    let tree = tree(&store);
    let mut contents = BTreeMap::new();
    let mut methods = BTreeMap::<String, u32>::new();
    let mut behind = 0;
    for (ino, block, e) in &tree.blocks {
        let stored = store.read_block_of(*ino, *block, e).unwrap();
        let raw = sources[*ino as usize - 4].chunks(BLOCK).nth(*block as usize).unwrap();
        assert_eq!(codec.decode(&stored, &Stop::new()).unwrap(), raw);
        let method: Method = Header::parse(&stored).unwrap().method;
        *methods.entry(format!("{method:?}")).or_default() += 1;
        behind += usize::from(Codec::needs(&stored).unwrap().dictionary == Some(id));
        contents.insert((*ino, *block), (stored, raw.to_vec()));
    }
    assert_eq!(methods.len(), 3, "raw, zstd and mix: {methods:?}");
    assert!(behind > 20, "{behind} blocks start behind the dictionary");
    store.close().unwrap();
    let files: BTreeMap<_, _> = io.files().into_iter().map(|(k, v)| (k, Arc::new(v))).collect();
    let bytes: usize = files.values().map(|f| f.len()).sum();
    println!(
        "a store of {bytes} bytes in {} files, {methods:?} blocks, {behind} of them behind a dictionary; garbage collection deleted {} \
         segments",
        files.len(),
        report.deleted
    );
    assert!(bytes >= 200_000 && files.len() > 6);
    Fixture {
        files,
        codec,
        tree,
        contents,
        dictionary: (id, dictionary),
    }
}

/// What became of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Refused,
    /// All of the tree and all bytes are there.
    Whole,
    /// Blocks give errors, everything else is right.
    Contained(usize),
}

impl Fixture {
    fn open(&self, files: &BTreeMap<String, Arc<Vec<u8>>>, options: OpenOptions) -> lmfs_indexer::Result<Store> {
        let files = files.iter().map(|(k, v)| (k.clone(), Arc::clone(v)));
        Store::open(Arc::new(MemIo::from_shared(files)), options).map(|(store, _)| store)
    }

    /// Reads all blocks that the store names; says how many give an error.
    fn read(&self, store: &Store, when: &str) -> usize {
        let mut bad = 0;
        for (ino, block, e) in store.blocks(None, 10_000).unwrap() {
            match store.read_block_of(ino, block, &e) {
                Ok(found) => match self.contents.get(&(ino, block)) {
                    Some((stored, _)) if *stored == found => {}
                    // A copy of another time, in a tree that was salvaged.
                    other => {
                        let raw = self.codec.decode(&found, &Stop::new()).unwrap();
                        assert!(other.is_some_and(|(_, r)| *r == raw), "{when}: block {block} of {ino}");
                    }
                },
                Err(Error::Damaged { ino: Some(i), .. }) => {
                    assert_eq!(i, ino, "{when}");
                    bad += 1;
                }
                Err(e) => panic!("{when}: {e}"),
            }
        }
        bad
    }

    /// Whether the store gives the dictionary that blocks need. Other bytes than those that were stored are a failure.
    fn has_dictionary(&self, store: &Store, when: &str) -> bool {
        let (id, stored) = &self.dictionary;
        match store.read_dictionary(id.0) {
            Ok(found) => {
                assert!(found.is_none_or(|found| found == *stored), "{when}: another dictionary");
                true
            }
            Err(Error::Damaged { .. }) => false,
            Err(e) => panic!("{when}: {e}"),
        }
    }

    fn outcome(&self, files: &BTreeMap<String, Arc<Vec<u8>>>, when: &str) -> Outcome {
        let run = || match self.open(files, options()) {
            Ok(store) => {
                assert_eq!(tree(&store), self.tree, "{when}");
                let bad = self.read(&store, when);
                assert!(self.has_dictionary(&store, when), "{when}: one of two copies is enough");
                let all = CheckOptions { log: true };
                let check = store.check(&all, &mut |_, _| true).unwrap();
                assert!(bad == 0 || !check.is_clean(), "{when}: the check does not find it");
                if bad == 0 {
                    Outcome::Whole
                } else {
                    Outcome::Contained(bad)
                }
            }
            Err(e @ (Error::LogDamaged { .. } | Error::NotAStore(_) | Error::NewerFormat { .. })) => {
                assert!(e.to_string().len() > 20);
                let salvage = OpenOptions {
                    salvage: true,
                    ..options()
                };
                if let Ok(store) = self.open(files, salvage) {
                    self.read(&store, when);
                    self.has_dictionary(&store, when);
                }
                Outcome::Refused
            }
            Err(e) => panic!("{when}: {e}"),
        };
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| panic!("{when}: a panic"))
    }

    /// The outcome of each damage: a file, what becomes of it, and words for it.
    fn count(&self, what: &str, damages: Vec<(String, Option<Damage>)>) -> BTreeMap<&'static str, usize> {
        let outcomes: Vec<_> = damages
            .par_iter()
            .map(|(path, damage)| {
                let mut files = self.files.clone();
                match damage {
                    None => drop(files.remove(path)),
                    Some(damage) => {
                        let file = Arc::make_mut(files.get_mut(path).unwrap());
                        match damage {
                            Damage::Flip(at, mask) => file[*at] ^= mask,
                            Damage::Cut(len) => file.truncate(*len),
                        }
                    }
                }
                let when = format!("{path}, {damage:?}");
                let outcome = self.outcome(&files, &when);
                if let (Some(Damage::Flip(..)), Outcome::Contained(n)) = (damage, outcome) {
                    assert_eq!(n, 1, "{when}: one flipped byte lies in one block");
                }
                outcome
            })
            .collect();
        let mut counts = BTreeMap::from([("refused", 0), ("whole", 0), ("contained", 0)]);
        for outcome in outcomes {
            let name = match outcome {
                Outcome::Refused => "refused",
                Outcome::Whole => "whole",
                Outcome::Contained(_) => "contained",
            };
            *counts.entry(name).or_default() += 1;
        }
        println!(
            "{what}: {} tried, {} refused, {} without effect or repaired, {} contained; 0 wrong bytes, 0 panics",
            damages.len(),
            counts["refused"],
            counts["whole"],
            counts["contained"]
        );
        counts
    }
}

#[derive(Debug)]
enum Damage {
    Flip(usize, u8),
    Cut(usize),
}

#[test]
fn damage_anywhere_is_refused_repaired_or_contained() {
    let fixture = fixture();
    let whole = fixture.outcome(&fixture.files, "no damage");
    assert_eq!(whole, Outcome::Whole);

    let step = soak::step(101, 1);
    let mut flips = Vec::new();
    for (path, bytes) in &fixture.files {
        for at in (0..bytes.len()).step_by(step) {
            // Mostly one bit, else all sorts of several.
            let bit = 1 << (at / step % 8);
            let several = (at / step).wrapping_mul(0x9e37_79b9).to_le_bytes()[2] | 1;
            let mask = if at % 3 == 2 { several } else { bit };
            flips.push((path.clone(), Some(Damage::Flip(at, mask))));
        }
    }
    let tried = flips.len();
    let counts = fixture.count("flipped bytes", flips);
    assert!(tried > 2000 && counts["contained"] > tried / 2);

    let mut cuts = Vec::new();
    for (path, bytes) in &fixture.files {
        let step = soak::step(bytes.len() / 16 + 1, 7);
        for len in (0..bytes.len()).step_by(step) {
            cuts.push((path.clone(), Some(Damage::Cut(len))));
        }
    }
    let counts = fixture.count("files cut short", cuts);
    assert!(counts["contained"] > 0 && counts["refused"] > 0);

    let deleted = fixture.files.keys().map(|path| (path.clone(), None)).collect();
    let counts = fixture.count("files deleted", deleted);
    assert!(counts["whole"] > 0, "the mark is not needed");
}
