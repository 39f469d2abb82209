//! A whole store in a bucket of S3: pushed, mounted and cloned by the program itself, which has to be built with
//! `--features cloud` and be named by `LMFS_BIN`.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;

use lmfs_tests::{Noise, Scratch, diff, lmfs, until};

/// A prefix of its own.
fn url(name: &str) -> String {
    format!("s3://{}/stores/{name}", std::env::var("AWS_BUCKET").unwrap())
}

#[test]
fn a_store_is_pushed_mounted_and_cloned_over_s3() {
    let (scratch, original) = Scratch::filled(&["--prefer", "speed"]);
    let url = url("followed");
    let pushed = scratch.lmfs("push", &[&url, "--json"]).ok().json();
    assert!(pushed["stored_bytes"].as_u64().unwrap() > 100_000, "{pushed}");
    let again = scratch.lmfs("push", &[&url, "--json"]).ok().json();
    assert_eq!(again["stored_bytes"], 0, "{again}");

    let reader = scratch.mount_url(&url);
    diff(&original, &reader.path("copy"));
    fs::write(reader.path("copy/new"), "x").unwrap_err();

    // What is written, packed and collected on the machine that pushes shows in the mount.
    let writer = scratch.mount(&[]);
    let noise = Noise::new(3).bytes(3_000_000);
    for root in [writer.path("copy"), original.clone()] {
        fs::write(root.join("new.bin"), &noise).unwrap();
        fs::remove_file(root.join("alice.txt")).unwrap();
    }
    writer.pack(&[]);
    lmfs(["gc".as_ref(), scratch.mountpoint().as_os_str()]).ok();
    scratch.lmfs("push", &[&url]).ok();
    until("the reader has it", || {
        !reader.path("copy/alice.txt").exists() && reader.path("copy/new.bin").exists()
    });
    diff(&original, &reader.path("copy"));
    writer.umount();
    reader.umount();

    // All that is there is what HEAD says, and a mount with a cache and a clone hold the same.
    let verified = scratch.lmfs("push", &[&url, "--verify", "--json"]).ok().json();
    assert_eq!(verified["wrong_objects"], 0, "{verified}");
    let reader = scratch.mount_url(&url);
    diff(&original, &reader.path("copy"));
    reader.umount();
    scratch.clone_equals(&url, "clone", &original);
}

/// A second store is refused where the first one is, and packing the objects of the bucket leaves a store alone.
#[test]
fn a_store_over_s3_is_not_overwritten() {
    let (scratch, original) = Scratch::filled(&[]);
    let (other, _) = Scratch::filled(&[]);
    let url = url("kept");
    // Regression: messages said `AmazonS3(bucket)/PREFIX`, which no command takes.
    lmfs(["clone", &url, scratch.path("none").to_str().unwrap()]).refused(&[&url, "holds no store"]);
    scratch.lmfs("push", &[&url]).ok();
    other.lmfs("push", &[&url]).refused(&[&url, "another store"]);
    let packed = lmfs(["pack-objects", &url, "--level", "2", "--json"]).ok().json();
    assert_eq!(
        (&packed["packed"], &packed["failed"]),
        (&0.into(), &0.into()),
        "{packed}"
    );
    scratch.clone_equals(&url, "clone", &original);
}
