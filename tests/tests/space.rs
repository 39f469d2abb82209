//! Space: what is deleted, replaced or packed is given back to the disk, by `lmfs gc` and in the background.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

use lmfs_tests::{Noise, Scratch, until};

const SEED: u64 = 20;

/// Bytes that the store's log takes on the disk.
fn log_bytes(scratch: &Scratch) -> u64 {
    let sizes = scratch.store_files("segments").into_iter();
    sizes.map(|file| fs::metadata(file).unwrap().len()).sum()
}

/// Writes two files of noise, `keep` and `drop`, and returns the contents of `keep`.
fn write_two(at: &Path) -> Vec<u8> {
    eprintln!("seed {SEED}");
    let mut noise = Noise::new(SEED);
    let keep = noise.bytes(600_000);
    fs::write(at.join("keep"), &keep).unwrap();
    fs::write(at.join("drop"), noise.bytes(3_000_000)).unwrap();
    for name in ["keep", "drop"] {
        fs::File::open(at.join(name)).unwrap().sync_all().unwrap();
    }
    keep
}

#[test]
fn gc_gives_deleted_space_back_mounted_and_not() {
    let scratch = Scratch::with_store(&[]);
    let mount = scratch.mount(&[]);
    let keep = write_two(&scratch.mountpoint());
    let full = log_bytes(&scratch);
    assert!(full > 3_600_000, "{full}");

    fs::remove_file(mount.path("drop")).unwrap();
    let report = scratch.lmfs("gc", &["--json"]).ok().json();
    let lean = log_bytes(&scratch);
    assert!(lean < 700_000, "{lean} bytes are left: {report}");
    let freed = report.get("freed_bytes").unwrap().as_u64().unwrap();
    assert!(freed.abs_diff(full - lean) < 65_536, "said {freed}, is {}", full - lean);
    assert_eq!(report.get("damaged").unwrap(), &serde_json::json!([]));
    assert!(fs::read(mount.path("keep")).unwrap() == keep);

    write_two(&scratch.mountpoint());
    fs::remove_file(mount.path("drop")).unwrap();
    mount.umount();
    assert!(log_bytes(&scratch) > 3_600_000);
    scratch.lmfs("gc", &[]).ok();
    let lean = log_bytes(&scratch);
    assert!(lean < 700_000, "{lean} bytes are left");
    scratch.lmfs("check", &["--data"]).ok();

    let mount = scratch.mount(&[]);
    assert!(fs::read(mount.path("keep")).unwrap() == keep);
    mount.umount();
}

#[test]
fn deleted_space_is_given_back_in_the_background() {
    let scratch = Scratch::with_store(&[]);
    let mount = scratch.mount(&[]);
    let keep = write_two(&scratch.mountpoint());
    fs::remove_file(mount.path("drop")).unwrap();
    until("the space is given back", || log_bytes(&scratch) <= 1_000_000);
    assert!(fs::read(mount.path("keep")).unwrap() == keep);
    mount.umount();
}
