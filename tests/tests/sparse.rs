//! Files that claim to be long and are holes: reading them takes no memory, and no time for what is not there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lmfs_tests::{Finished, Scratch, lmfs_path, run_within};

const TIB: u64 = 1 << 40;

/// lmfs with 3 GB of address space.
fn limited(args: &[&OsStr]) -> Finished {
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -v 3000000; exec \"$0\" \"$@\""]);
    let ended = run_within(shell.arg(lmfs_path()).args(args), Duration::from_secs(120));
    let said = &ended.stderr;
    assert!(ended.status.code().is_some(), "killed: {said}");
    assert!(!said.contains("panicked") && !said.contains("memory"), "{said}");
    ended
}

/// Regression: `list` read the seek table that a sparse file claims into memory.
#[test]
fn a_sparse_container_is_refused() {
    let scratch = Scratch::empty();
    let path = scratch.path("sparse.lmz");
    fs::write(scratch.path("empty"), "").unwrap();
    let empty = scratch.path("empty");
    lmfs_tests::lmfs([
        OsStr::new("compress"),
        OsStr::new("-4"),
        empty.as_os_str(),
        OsStr::new("-o"),
        path.as_os_str(),
    ])
    .ok();
    let container = fs::read(&path).unwrap();
    let footer = container.last_chunk::<12>().unwrap();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(TIB).unwrap();
    for blocks in [0_u32, 1 << 20, u32::MAX] {
        let mut footer = *footer;
        footer[..4].copy_from_slice(&blocks.to_le_bytes());
        file.write_all_at(&footer, TIB - 12).unwrap();
        for command in ["list", "test"] {
            let ended = limited(&[OsStr::new(command), path.as_os_str()]);
            ended.refused(&["damaged container"]);
        }
    }
}

/// Regression: a model file was read into memory before anything about it was compared.
#[test]
fn sparse_files_of_a_store_take_no_memory() {
    let (scratch, _) = Scratch::filled(&["--model", "builtin:tiny", "--parity", "5%"]);
    let store = scratch.store();
    let below = |folder: &str| {
        fs::read_dir(store.join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
    };
    let mut files: Vec<_> = below("models").chain(below("segments")).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension != "seg"));
    files.extend(["config.toml", "index/mark", "lock"].map(|name| store.join(name)));
    assert!(files.len() >= 4, "{files:?}");
    let check = |store: &Path| limited(&[OsStr::new("check"), store.as_os_str()]);
    check(&store).ok();
    for path in files.into_iter().filter(|path| path.exists()) {
        let bytes = fs::read(&path).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(TIB).unwrap();
        let ended = check(&store);
        println!("{}: {}{}", path.display(), ended.stdout, ended.stderr);
        fs::write(&path, bytes).unwrap();
    }
    check(&store).ok();
}
