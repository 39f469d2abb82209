//! Dictionaries that the packer makes.

use super::*;

/// A table of which no two lines are equal and all are alike.
fn table(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    const WORDS: [&str; 8] = [
        "Zwischenlager",
        "Hochregal",
        "Umschlagplatz",
        "Kommissionierung",
        "Retourenstelle",
        "Wareneingang",
        "Gefahrgutlager",
        "Kundenabholung",
    ];
    let mut out = Vec::new();
    while out.len() < len {
        let (a, b, c) = (next(), next(), next());
        let line = format!(
            "{{<{:05}>}};{};{};#{:x}#;Lieferung an {} bestaetigt;{}.{:02} EURO\n",
            a % 100_000,
            WORDS[(a >> 20) as usize % 8],
            WORDS[(b >> 20) as usize % 8],
            b % 4096,
            WORDS[(c >> 20) as usize % 8],
            c % 500,
            (c >> 32) % 100
        );
        out.extend_from_slice(line.as_bytes());
    }
    out.truncate(len);
    out
}

const FILES: u64 = 44;
const LEN: usize = 2 * BLOCK;

impl Fixture {
    fn rename(&self, ino: u64, name: &str) {
        let entry = Dirent { ino, kind: Kind::File };
        let renamed = self.store.commit(vec![
            Change::DelDirent {
                parent: ROOT_INO,
                name: ino.to_string().into_bytes(),
            },
            Change::PutDirent {
                parent: ROOT_INO,
                name: name.as_bytes().to_vec(),
                entry,
            },
        ]);
        drop(renamed.unwrap());
    }

    fn tables(&self, inos: std::ops::Range<u64>) {
        for ino in inos {
            self.file(ino, &table(ino, LEN), 0);
            self.rename(ino, &format!("{ino}.wms"));
        }
    }

    fn assert_whole(&self, inos: std::ops::Range<u64>) {
        for ino in inos {
            assert!(self.contents(ino) == table(ino, LEN), "file {ino}");
        }
    }

    /// Bytes of blocks and dictionaries.
    fn bytes(&self) -> u64 {
        let totals = self.store.totals();
        totals.stored_bytes + totals.dictionary_bytes
    }
}

/// Bytes of the blocks of these tables, each coded alone.
fn alone(inos: std::ops::Range<u64>) -> u64 {
    let mut options = lmfs_codec::Options::default();
    options.dictionaries = false;
    let codec = Codec::new(None, options).unwrap();
    let tables: Vec<Vec<u8>> = inos.map(|ino| table(ino, LEN)).collect();
    let blocks = tables.iter().flat_map(|table| table.chunks(BLOCK));
    blocks
        .map(|raw| codec.encode(raw, &Stop::new()).unwrap().len() as u64)
        .sum()
}

#[test]
fn files_of_a_kind_get_a_dictionary_and_take_less() {
    let before = alone(100..100 + FILES);
    let f = Fixture::new();
    f.tables(100..100 + FILES);
    let packer = f.packer();
    let summary = run(&packer);
    assert_eq!(
        (summary.dictionaries_learned, summary.blocks_failed),
        (1, 0),
        "{summary:?}"
    );
    f.assert_whole(100..100 + FILES);
    let after = f.bytes();
    assert!(
        after * 10 < before * 8,
        "{before} bytes alone, {after} with a dictionary"
    );
    let [(slot, shown)] = &dictionaries::shown(&f.store).unwrap()[..] else {
        panic!("one dictionary");
    };
    assert_eq!(shown.kind, "wms");
    let behind = f.extents(110).iter().filter(|e| Tag(e.tag).slot() == *slot).count();
    assert!(behind > 0 && shown.blocks >= FILES);

    // A codec without them says so, and a store that is opened anew finds them.
    let plain = Codec::new(None, lmfs_codec::Options::default()).unwrap();
    let block = f.store.read_block(&f.extents(110)[0]).unwrap();
    let error = plain.decode(&block, &Stop::new()).unwrap_err();
    assert!(error.to_string().contains(&shown.id), "{error}");
    f.store.sync().unwrap();
    let (store, _) = Store::open(f.io.clone(), OpenOptions::default()).unwrap();
    let store = Arc::new(store);
    let reopened = Fixture {
        codec: dictionaries::codec(&store, None, lmfs_codec::Options::default()).unwrap(),
        store,
        io: f.io.clone(),
        environment: f.environment.clone(),
    };
    reopened.assert_whole(100..100 + FILES);

    // A few more of the kind use it, although they alone would not be worth one.
    reopened.tables(300..304);
    assert_eq!(run(&reopened.packer()).dictionaries_learned, 0);
    assert!(reopened.extents(301).iter().all(|e| Tag(e.tag).slot() == *slot));
    reopened.assert_whole(300..304);
}

#[test]
fn what_came_in_small_portions_is_packed_again_with_a_dictionary() {
    let f = Fixture::new();
    let packer = f.packer();
    for from in (100..100 + FILES).step_by(22) {
        f.tables(from..from + 22);
        assert_eq!(run(&packer).dictionaries_learned, 0);
    }
    assert!(
        packer.should_look_again(&f.store.totals()),
        "nobody looked at all of it yet"
    );
    let (before, portions) = (alone(100..100 + FILES), f.bytes());
    let again = || packer.run(None, &Scope::All, true, 0, &|_| (), &Stop::new()).unwrap();
    let summary = again();
    assert_eq!((summary.dictionaries_learned, summary.blocks_failed), (1, 0));
    f.assert_whole(100..100 + FILES);
    assert!(f.bytes() * 10 < before * 8, "{before} alone, {} after", f.bytes());
    assert!(f.bytes() < portions, "{portions} in portions, {} after", f.bytes());
    let (bytes, summary) = (f.bytes(), again());
    assert_eq!(
        (f.bytes(), summary.dictionaries_learned, summary.blocks_packed),
        (bytes, 0, 0)
    );
    packer.looked().unwrap();
    assert!(!packer.should_look_again(&f.store.totals()));
    f.tables(400..400 + FILES);
    run(&packer);
    assert!(packer.should_look_again(&f.store.totals()), "it has doubled");
}

#[test]
fn a_dictionary_that_no_block_needs_is_deleted() {
    let f = Fixture::new();
    f.tables(100..100 + FILES);
    let packer = f.packer();
    assert_eq!(run(&packer).dictionaries_learned, 1);
    let delete = |ino: u64| {
        let name = format!("{ino}.wms").into_bytes();
        let deleted = f.store.commit(vec![
            Change::DelDirent { parent: ROOT_INO, name },
            Change::DelInode(ino),
        ]);
        drop(deleted.unwrap());
    };
    (100..99 + FILES).for_each(delete);
    for _ in 0..3 {
        run(&packer);
        assert_eq!(f.store.totals().dictionaries, 1, "one file needs it");
    }
    delete(99 + FILES);
    run(&packer);
    run(&packer);
    assert_eq!(f.store.totals().dictionaries, 0);
}

#[test]
fn what_has_nothing_in_common_makes_no_dictionary() {
    let f = Fixture::new();
    for ino in 100..140 {
        f.file(ino, &noise(LEN), 0);
        f.rename(ino, &format!("{ino}.jpg"));
    }
    assert_eq!(run(&f.packer()).dictionaries_learned, 0);
}

#[test]
fn without_a_place_for_a_dictionary_packing_goes_on() {
    let f = Fixture::new();
    f.tables(100..100 + FILES);
    // A hostile or older store has taken all places.
    for n in 0..lmfs_indexer::MAX_DICTIONARIES as u32 {
        f.store
            .add_dictionary(n.to_be_bytes(), b"of something else", b"nonsense")
            .unwrap();
    }
    let summary = run(&f.packer());
    assert_eq!((summary.dictionaries_learned, summary.blocks_failed), (0, 0));
    f.assert_whole(100..100 + FILES);
}

/// Regression: the learner stepped through the holes of a sparse file, and nothing could stop it.
#[test]
fn a_hole_of_countless_blocks_is_stepped_over() {
    let f = Fixture::new();
    f.tables(100..100 + FILES);
    f.file(200, &table(200, LEN), 0);
    f.rename(200, "200.wms");
    let far = 1 << 50;
    let inode = f.store.inode(200).unwrap().unwrap();
    let size = (far + 1) * BLOCK as u64;
    let changes = vec![
        Change::PutInode(Inode { size, ..inode }),
        Change::PutExtents {
            ino: 200,
            first: far,
            extents: vec![Some(f.stored(&table(201, BLOCK)))],
        },
    ];
    assert_eq!(f.store.commit(changes).unwrap().skipped, []);
    let summary = run(&f.packer());
    assert_eq!((summary.dictionaries_learned, summary.blocks_failed), (1, 0));
    assert!(!Tag(f.store.extent(200, far).unwrap().unwrap().tag).needs_packing());
    f.assert_whole(100..100 + FILES);
}

/// Regression: a flush held a block while its last user went, the dictionary was deleted, and the block came back.
#[test]
fn a_dictionary_that_a_held_block_needs_is_kept() {
    let f = Fixture::new();
    f.tables(100..100 + FILES);
    let packer = f.packer();
    assert_eq!(run(&packer).dictionaries_learned, 1);
    f.file(500, b"x", 0);
    // One that refers to no other: those are not held.
    let alone = |extent: &Extent| f.store.stored_block(extent.id).unwrap().unwrap().reference == 0;
    let firsts = (100..100 + FILES).map(|ino| (ino, f.extents(ino)[0]));
    let mut behind = firsts.filter(|(_, extent)| Tag(extent.tag).slot().is_some() && alone(extent));
    let (kept, block) = behind.next().unwrap();
    let held = f.store.hold(block.id).unwrap().unwrap();
    for ino in 100..100 + FILES {
        let name = format!("{ino}.wms").into_bytes();
        let parent = ROOT_INO;
        let deleted = vec![Change::DelDirent { parent, name }, Change::DelInode(ino)];
        assert_eq!(f.store.commit(deleted).unwrap().skipped, []);
    }
    for _ in 0..3 {
        run(&packer);
        assert_eq!(f.store.totals().dictionaries, 1, "the held block needs it");
    }
    let named = Change::PutExtents {
        ino: 500,
        first: 0,
        extents: vec![Some(held.extent())],
    };
    assert_eq!(f.store.commit(vec![named]).unwrap().skipped, []);
    drop(held);
    run(&packer);
    assert_eq!(f.contents(500), table(kept, BLOCK));
    let cut = Change::TruncateExtents { ino: 500, from: 0 };
    assert_eq!(f.store.commit(vec![cut]).unwrap().skipped, []);
    run(&packer);
    run(&packer);
    assert_eq!(f.store.totals().dictionaries, 0);
}

/// Regression: a dictionary that was there already, in another slot, was tagged with a new one.
#[test]
fn a_dictionary_that_is_there_and_cannot_be_read_is_not_made_again() {
    let first = Fixture::new();
    first.tables(100..100 + FILES);
    assert_eq!(run(&first.packer()).dictionaries_learned, 1);
    let id = first.store.dictionaries().unwrap()[0].id;

    let f = Fixture::new();
    f.tables(100..100 + FILES);
    let info = dictionaries::Info {
        slot: 7,
        len: 1,
        kind: String::new(),
    };
    assert!(f.store.add_dictionary(id, &info.to_bytes(), b"nonsense").unwrap());
    let summary = run(&f.packer());
    assert_eq!((summary.dictionaries_learned, summary.blocks_failed), (0, 0));
    assert!(f.store.totals().by_tag.keys().all(|tag| Tag(*tag).slot().is_none()));
    f.assert_whole(100..100 + FILES);
}
