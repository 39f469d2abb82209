//! fsx: random operations on one file, each read compared with what has to be there, while the packer works as fast as
//! it can.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lmfs_tests::{Mount, Scratch, SetOnDrop, rounds, run_within};

use super::{config, finish, first_seed, pack, store, tester};

/// Runs of fsx side by side, each with a store of its own.
const SIDE_BY_SIDE: u64 = 2;

#[test]
fn fsx_finds_every_byte_while_blocks_are_packed() {
    let (first, seeds, operations) = (first_seed(), rounds(2, 10), rounds(1000, 100_000));
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                loop {
                    let seed = first + next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        return;
                    }
                    println!("fsx: seed {seed}, {operations} operations");
                    let packing = exercise(&store(), seed, operations);
                    println!("fsx: seed {seed} is clean; blocks meanwhile: {packing:?}");
                }
            });
        }
    });
}

/// One run of fsx with a cache of 1 MiB and `lmfs pack` in a loop; returns what was packed under it.
fn exercise(scratch: &Scratch, seed: u64, operations: u64) -> Packing {
    let mount = scratch.mount(&["--cache-size=1MiB"]);
    let mut fsx: Command = tester("fsx");
    // What a failure leaves (the file, and what it should be) stays beside the store.
    fsx.arg("-q")
        .arg("-f")
        .arg(config("fsx.toml"))
        .arg("-P")
        .arg(scratch.path("."));
    fsx.arg("-S")
        .arg(seed.to_string())
        .arg("-N")
        .arg(operations.to_string());
    fsx.arg(mount.path("file"));
    let done = AtomicBool::new(false);
    let (finished, packing) = std::thread::scope(|scope| {
        let packing = scope.spawn(|| pack_again_and_again(&mount, &done));
        // Also when fsx fails and this thread panics: the packing loop has to end then, too.
        let end = SetOnDrop(&done);
        let finished = run_within(&mut fsx, Duration::from_secs(600 + operations / 20)).ok();
        drop(end);
        (finished, packing.join().expect("packing"))
    });
    assert!(finished.stdout.contains("A-OK"), "{finished}");
    let worked = packing.packed + packing.kept + packing.changed;
    assert!(
        worked > 0,
        "nothing was packed, so nothing was shown: {:#}",
        mount.status()
    );
    finish(scratch, mount);
    packing
}

fn pack_again_and_again(mount: &Mount, done: &AtomicBool) -> Packing {
    let mut sum = Packing::default();
    // At least once after the end.
    let mut last = false;
    while !std::mem::replace(&mut last, done.load(Ordering::Acquire)) {
        let pack = pack(mount).json();
        let count = |name: &str| pack.get(name).and_then(serde_json::Value::as_u64).expect("count");
        assert_eq!(count("blocks_failed"), 0, "{pack:#}");
        sum.packed += count("blocks_packed");
        sum.kept += count("blocks_kept");
        sum.changed += count("blocks_changed");
    }
    sum
}

/// What became of the blocks that were packed while fsx changed them.
#[derive(Debug, Default)]
struct Packing {
    packed: u64,
    kept: u64,
    changed: u64,
}
