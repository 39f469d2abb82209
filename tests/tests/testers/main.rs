//! The world's filesystem testers on a real mount: pjdfstest, fsx, fio and stress-ng. Short in `make test`, long in
//! `make soak`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod fio;
mod fsx;
mod pjdfstest;
mod stress;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lmfs_tests::{Finished, Mount, Scratch, lmfs_path, run_within};

/// A configuration file beside this one.
fn config(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testers").join(name)
}

/// A tester that `scripts/testers.sh` has built, or one of the user's.
fn tester(name: &str) -> Command {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../target/tools/bin")
        .join(name);
    if own.is_file() {
        return Command::new(own);
    }
    let found = Command::new(name).arg("--version").output();
    assert!(
        found.is_ok(),
        "{name} is missing: `make setup-test` installs what the tests need"
    );
    Command::new(name)
}

/// Where the seeds of a run begin: `LMFS_SEED`, or another number every time.
fn first_seed() -> u64 {
    std::env::var("LMFS_SEED").map_or_else(
        |_| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() % 1_000_000,
        |seed| seed.parse().expect("LMFS_SEED is a number"),
    )
}

/// A store that packs fast, without a language model, in blocks that are small beside the testers' files.
fn store() -> Scratch {
    Scratch::with_store(&["--model=none", "--block-size=4KiB"])
}

/// `lmfs pack --json`, however long it takes.
fn pack(mount: &Mount) -> Finished {
    let mut pack = Command::new(lmfs_path());
    pack.args(["pack", "-q", "--json"]).arg(mount.path(""));
    run_within(&mut pack, Duration::from_secs(4 * 3600)).ok()
}

/// What has to hold after a tester: no panic, no damage, neither in the mount nor, all blocks decoded, in the store.
fn finish(scratch: &Scratch, mount: Mount) {
    for count in ["/bad_blocks", "/flush_errors", "/cache/failures"] {
        assert_eq!(mount.count(count), 0, "{count}: {:#}", mount.status());
    }
    mount.umount();
    scratch.lmfs("check", &["--data"]).ok();
}
