//! Dictionaries that cannot be, or that lie where something else does.

use super::*;

/// A dictionary whose row names these places.
fn dictionary(copies: Vec<BlockRef>) -> Change {
    Change::Dictionary(DictionaryChange::Put(Dictionary {
        id: *b"dict",
        info: Vec::new(),
        copies,
    }))
}

#[test]
fn dictionaries_that_cannot_be_are_refused() {
    let r = |len| BlockRef {
        segment: 1,
        offset: 100,
        len,
    };
    let mut many = Vec::new();
    for n in 0..=crate::MAX_DICTIONARIES as u32 {
        many.push(Change::Dictionary(DictionaryChange::Put(Dictionary {
            id: n.to_be_bytes(),
            info: Vec::new(),
            copies: vec![r(5)],
        })));
    }
    let cases = [
        ("no copy", vec![dictionary(vec![])]),
        ("a thousand copies", vec![dictionary(vec![r(5); 1000])]),
        ("an enormous copy", vec![dictionary(vec![r(u32::MAX)])]),
        ("too many dictionaries", many),
    ];
    for (what, changes) in cases {
        let mut bytes = Vec::new();
        encode_changes(&mut bytes, &changes);
        assert_refused(&with_transaction(&bytes), what);
    }
}

#[test]
fn dictionaries_that_point_elsewhere_harm_nobody() {
    for copies in [
        vec![BlockRef {
            segment: 1,
            offset: 52,
            len: 5,
        }],
        vec![
            BlockRef {
                segment: 1,
                offset: 3_000_000,
                len: 5,
            },
            BlockRef {
                segment: 1,
                offset: 52,
                len: 1 << 20,
            },
        ],
        vec![
            BlockRef {
                segment: 77,
                offset: 0,
                len: 5
            };
            4
        ],
    ] {
        let what = format!("{copies:?}");
        let mut bytes = Vec::new();
        encode_changes(&mut bytes, &[dictionary(copies)]);
        let store = open(&with_transaction(&bytes), false).unwrap();
        assert!(
            matches!(store.read_dictionary(*b"dict"), Err(Error::Damaged { .. })),
            "{what}"
        );
        let report = store.check(&CheckOptions::default(), &mut |_, _| true).unwrap();
        assert!(!report.is_clean(), "{what}");
        assert!(store.mend_dictionaries().unwrap().iter().any(|d| d.lost), "{what}");
        assert_good(&store, &what);
        let _report = store
            .gc(
                &GcOptions {
                    max_live: 1.0,
                    seal_head: true,
                },
                &mut |_| true,
            )
            .unwrap();
        assert_good(&store, &what);
    }
}
