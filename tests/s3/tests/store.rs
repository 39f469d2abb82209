//! A whole store in a bucket of S3: pushed, mounted and cloned by the program itself, which has to be built with
//! `--features cloud` and be named by `LMFS_BIN`.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

use lmfs_tests::{Mount, Noise, Scratch, diff, lmfs, until};

/// A prefix of its own.
fn url(name: &str) -> String {
    format!("s3://{}/stores/{name}", std::env::var("AWS_BUCKET").unwrap())
}

fn mounted(scratch: &Scratch, url: &str) -> Mount {
    let cache = scratch.path("cache");
    let args = ["-o", "ro", "--poll", "1", "--cache-dir", cache.to_str().unwrap()];
    scratch.mount_store(Path::new(url), &args)
}

/// Clones the bucket, has every block of the clone decoded, and compares what is in it with `original`.
#[track_caller]
fn clone_equals(scratch: &Scratch, url: &str, name: &str, original: &Path) {
    let clone = scratch.path(name);
    lmfs(["clone".as_ref(), url.as_ref(), clone.as_os_str()]).ok();
    lmfs(["check".as_ref(), clone.as_os_str(), "--data".as_ref()]).ok();
    let mount = scratch.mount_store(&clone, &["--read-only"]);
    diff(original, &mount.path("copy"));
    mount.umount();
}

#[test]
fn a_store_is_pushed_mounted_and_cloned_over_s3() {
    let (scratch, original) = Scratch::filled(&["--prefer", "speed"]);
    let url = url("followed");
    let pushed = scratch.lmfs("push", &[&url, "--json"]).ok().json();
    assert!(pushed["stored_bytes"].as_u64().unwrap() > 100_000, "{pushed}");
    let again = scratch.lmfs("push", &[&url, "--json"]).ok().json();
    assert_eq!(again["stored_bytes"], 0, "{again}");

    let reader = mounted(&scratch, &url);
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
    let reader = mounted(&scratch, &url);
    diff(&original, &reader.path("copy"));
    reader.umount();
    clone_equals(&scratch, &url, "clone", &original);
}

/// A second store is refused where the first one is, and packing the objects of the bucket leaves a store alone.
#[test]
fn a_store_over_s3_is_not_overwritten() {
    let (scratch, original) = Scratch::filled(&[]);
    let (other, _) = Scratch::filled(&[]);
    let url = url("kept");
    lmfs(["clone", &url, scratch.path("none").to_str().unwrap()]).refused(&["bucket"]);
    scratch.lmfs("push", &[&url]).ok();
    other.lmfs("push", &[&url]).refused(&["another store"]);
    let packed = lmfs(["pack-objects", &url, "--level", "2", "--json"]).ok().json();
    assert_eq!(
        (&packed["packed"], &packed["failed"]),
        (&0.into(), &0.into()),
        "{packed}"
    );
    clone_equals(&scratch, &url, "clone", &original);
}
