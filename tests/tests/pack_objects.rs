//! `lmfs pack-objects` on a folder of objects.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use lmfs_tests::{Scratch, data, lmfs};

#[test]
fn a_folder_of_objects_is_packed_once_and_can_be_decompressed() {
    let scratch = Scratch::empty();
    let bucket = scratch.path("bucket");
    fs::create_dir_all(bucket.join("logs")).unwrap();
    let text = fs::read(data("text/alice29.txt")).unwrap();
    let contents = [
        ("a.txt", &text[..60_000]),
        ("logs/b.txt", &text[60_000..]),
        ("logs/empty", &text[..0]),
    ];
    for (name, content) in contents {
        fs::write(bucket.join(name), content).unwrap();
    }
    let call = |words: &str| {
        let words = format!("pack-objects {} {words}", bucket.display());
        lmfs(words.split_whitespace())
    };
    call("").refused(&["conditional PUT", "--exclusive"]);
    call("--shard 2/2").refused(&["2/2"]);
    lmfs(["pack-objects", "/nowhere/at/all"]).refused(&["/nowhere/at/all"]);
    lmfs(["pack-objects", "s3://bucket/prefix"]).refused(&["--features cloud"]);

    let would = call("--dry-run --json").ok().json();
    assert_eq!((&would["packed"], &would["already_packed"]), (&2.into(), &1.into()));
    assert_eq!(fs::read(bucket.join("a.txt")).unwrap(), text[..60_000]);

    let url = format!("file://{}", bucket.display());
    let done = lmfs(["pack-objects", &url, "--exclusive", "--json"]).ok().json();
    assert_eq!((&done["packed"], &done["failed"]), (&2.into(), &0.into()));
    let (before, after) = (
        done["before_bytes"].as_u64().unwrap(),
        done["after_bytes"].as_u64().unwrap(),
    );
    assert!(
        before == text.len() as u64 && after < before * 4 / 10,
        "{before} {after}"
    );
    // Regression: packed files could be read by their owner alone, as if they were those of a store.
    let mode = |file: &str| fs::metadata(bucket.join(file)).unwrap().permissions().mode();
    assert_eq!(mode("a.txt"), mode("logs/empty"));
    for (name, content) in contents {
        if !content.is_empty() {
            let out = scratch.path("out");
            let file = bucket.join(name);
            lmfs(["decompress", "-f", "-o", out.to_str().unwrap(), file.to_str().unwrap()]).ok();
            assert_eq!(fs::read(&out).unwrap(), content);
        }
    }
    let again = call("--exclusive").ok();
    assert!(
        again.stdout.contains("packed 0 objects") && again.stdout.contains("3 were packed"),
        "{again}"
    );
}
