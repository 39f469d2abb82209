//! `lmfs eval` as users run it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::collections::BTreeSet;

use lmfs_tests::{data, lmfs};
use serde_json::Value;

/// What `lmfs eval` says of a text with these options.
fn measured(options: &str) -> Value {
    let text = data("text/alice29.txt");
    let words = options.split_whitespace().map(str::to_owned);
    let command = ["eval", "--blocks-only", "--json"].map(str::to_owned).into_iter();
    lmfs(command.chain(words).chain([text.to_str().unwrap().to_owned()]))
        .ok()
        .json()
}

/// The methods of the blocks that lmfs made, and their bytes.
fn made(report: &Value) -> (BTreeSet<String>, u64) {
    let name = report["compressors"][0].as_str().unwrap();
    let size = &report["total"]["blocks"][name];
    let methods = size["methods"].as_object().unwrap().keys().cloned().collect();
    (methods, size["bytes"].as_u64().unwrap())
}

#[test]
fn a_level_is_measured_as_lmfs_compress_uses_it() {
    let strong = measured("-2");
    assert_eq!(strong["compressors"][0], "lmfs -2");
    assert_eq!(strong["block_size"], 1 << 20);
    let (methods, bytes) = made(&strong);
    assert_eq!(methods, BTreeSet::from(["zstd".to_owned()]));
    let (_, fast) = made(&measured("--level 1"));
    assert!(bytes < fast, "{bytes} of level 2, {fast} of level 1");

    let mixed = measured("--level 3 --block-size 64KiB");
    assert_eq!(
        mixed["block_size"],
        64 << 10,
        "a block size counts more than the level's"
    );
    assert_eq!(made(&mixed).0, BTreeSet::from(["mix".to_owned()]));

    let usual = measured("--model none");
    assert_eq!(
        (&usual["compressors"][0], &usual["block_size"]),
        (&"lmfs".into(), &16_384.into())
    );
}

#[test]
fn levels_and_block_sizes_are_no_part_of_the_paper() {
    let text = data("text/alice29.txt");
    let text = text.to_str().unwrap();
    for options in ["--level 3", "-9", "--block-size 64KiB"] {
        let words = options.split_whitespace();
        lmfs(["eval", "--paper"].into_iter().chain(words).chain([text])).refused(&["--level", "--with"]);
    }
    lmfs(["eval", "--level", "0", text]).refused(&["0"]);
}
