//! What is copied in comes out: packed, unmounted, remounted, with the index gone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs;

use lmfs_tests::{Scratch, copy_in, diff, metadata, sample_tree, small_tree};

#[test]
fn a_packed_tree_is_the_tree_that_was_copied_in() {
    let scratch = Scratch::with_store(&[]);
    let original = scratch.path("original");
    small_tree(&original);
    let mount = scratch.mount(&[]);
    copy_in(&original, &mount.path("copy"));
    diff(&original, &mount.path("copy"));
    assert_eq!(metadata(&original, true), metadata(&mount.path("copy"), true));
    let before = mount.count("/stored_bytes");
    assert!(mount.count("/queue_bytes") > 0, "what was written waits to be packed");

    mount.pack(&[]);
    let (after, log) = (mount.count("/stored_bytes"), mount.status());
    assert!(after < before, "{before} bytes packed into {after}: {log:#}");
    assert!(
        mount.count("/blocks/model") > 0,
        "text is best packed by the model: {log:#}"
    );
    assert_eq!(mount.count("/queue_bytes"), 0, "nothing waits any more: {log:#}");
    diff(&original, &mount.path("copy"));
    mount.umount();

    let mount = scratch.mount(&["--read-only"]);
    diff(&original, &mount.path("copy"));
    assert_eq!(metadata(&original, true), metadata(&mount.path("copy"), true));
    fs::write(mount.path("copy/alice.txt"), "no").expect_err("a read-only mount takes no writes");
    mount.umount();

    // What is packed stays packed: a second run finds nothing to do.
    let segments = scratch.store_files("segments");
    let again = scratch.lmfs("pack", &["--json"]).ok().json();
    assert_eq!(
        again.pointer("/done_bytes").and_then(|n| n.as_u64()),
        Some(0),
        "{again:#}"
    );
    assert_eq!(scratch.store_files("segments").len(), segments.len());
    scratch.lmfs("check", &["--data"]).ok();
}

#[test]
fn a_few_megabytes_survive_the_loss_of_the_index() {
    let scratch = Scratch::with_store(&[]);
    let original = scratch.path("original");
    sample_tree(&original);
    let mount = scratch.mount(&[]);
    copy_in(&original, &mount.path("copy"));
    // Some of it packed: in a folder given by name, and no more than that.
    let csv = mount.path("copy/code/leveldb/table");
    mount.pack(&[csv.to_str().unwrap()]);
    assert!(mount.count("/queue_bytes") > 1_000_000, "the rest still waits");
    assert!(mount.count("/blocks/model") > 0);
    diff(&original, &mount.path("copy"));
    mount.umount();

    fs::remove_dir_all(scratch.store().join("index")).unwrap();
    let mount = scratch.mount(&[]);
    diff(&original, &mount.path("copy"));
    assert_eq!(metadata(&original, true), metadata(&mount.path("copy"), true));
    mount.umount();

    scratch.lmfs("rebuild", &[]).ok();
    scratch.lmfs("check", &["--data"]).ok();
    let mount = scratch.mount(&[]);
    diff(&original, &mount.path("copy"));
    mount.umount();
}

#[test]
fn mount_in_the_background_returns_when_ready_and_umount_when_done() {
    let scratch = Scratch::with_store(&[]);
    let (store, point) = (scratch.store(), scratch.mountpoint());
    let words = |command: &'static str| [command.as_ref(), store.as_os_str(), point.as_os_str()];
    lmfs_tests::lmfs(words("mount")).ok();
    // Ready: the first thing done there works.
    fs::write(point.join("note"), "kept").unwrap();
    assert_eq!(fs::read(point.join("note")).unwrap(), b"kept");
    lmfs_tests::lmfs(["umount".as_ref(), point.as_os_str()]).ok();
    assert_eq!(
        fs::read_dir(&point).unwrap().count(),
        0,
        "the mountpoint is a plain folder again"
    );
    // Done: the store can be used at once.
    scratch.lmfs("check", &["--data"]).ok();
    lmfs_tests::lmfs(words("mount")).ok();
    let kept = fs::read(point.join("note"));
    lmfs_tests::lmfs(["umount".as_ref(), point.as_os_str()]).ok();
    assert_eq!(kept.unwrap(), b"kept");
}

#[test]
fn the_idle_packer_packs_what_is_left_alone() {
    let scratch = Scratch::with_store(&[]);
    let mount = scratch.mount(&["--pack=idle", "--pack-idle=1"]);
    let text = fs::read(lmfs_tests::data("code/flask/config.py")).unwrap();
    fs::write(mount.path("config.py"), &text).unwrap();
    lmfs_tests::until("all is packed", || {
        mount.count("/queue_bytes") == 0 && mount.count("/blocks/model") > 0
    });
    assert_eq!(fs::read(mount.path("config.py")).unwrap(), text);
    mount.umount();
}
