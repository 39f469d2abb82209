//! fio: every block carries a checksum, and where and how often it was written.

use std::process::Command;
use std::time::Duration;

use lmfs_tests::{Mount, rounds, run_within};

use super::{finish, first_seed, pack, store};

/// Blocks of no power of two, so that each crosses blocks and pages of the filesystem.
const OVERWRITE: [&str; 6] = [
    "--name=overwrite",
    "--rw=randwrite",
    "--bs=6k",
    "--ioengine=psync",
    "--numjobs=2",
    "--verify=crc32c",
];

#[test]
fn fio_verifies_what_it_overwrites_at_random_also_after_packing_and_a_remount() {
    let (seed, megabytes) = (first_seed(), rounds(1, 16));
    println!("fio: seed {seed}, files of {megabytes} MB");
    let size = [format!("--size={megabytes}m"), format!("--randseed={seed}")];
    let scratch = store();
    let mount = scratch.mount(&["--cache-size=1MiB"]);
    // Something is there to be overwritten.
    fio(
        &mount,
        &[
            "--name=overwrite",
            "--rw=write",
            "--bs=64k",
            "--numjobs=2",
            "--end_fsync=1",
            &size[0],
        ],
    );
    pack(&mount);
    let verified = OVERWRITE.iter().copied().chain(size.iter().map(String::as_str));
    let verified: Vec<&str> = verified.collect();
    fio(&mount, &verified);
    pack(&mount);
    mount.umount();
    let mount = scratch.mount(&["--cache-size=1MiB"]);
    fio(&mount, &[&verified[..], &["--verify_only"]].concat());
    finish(&scratch, mount);
}

#[test]
fn fio_verifies_mixed_jobs() {
    let (seed, megabytes) = (first_seed(), rounds(4, 32));
    println!("fio: seed {seed}, files of {megabytes} MB");
    let size = [format!("--size={megabytes}m"), format!("--randseed={seed}")];
    let scratch = store();
    let mount = scratch.mount(&["--cache-size=1MiB", "--pack=idle", "--pack-idle=1"]);
    let jobs = [
        "--verify=crc32c",
        "--verify_backlog=64",
        "--name=mapped",
        "--ioengine=mmap",
        "--rw=randrw",
        "--bs=4k",
        "--name=uneven",
        "--ioengine=psync",
        "--rw=randrw",
        "--bs=10k",
        "--fsync=200",
        "--name=many",
        "--ioengine=libaio",
        "--iodepth=16",
        "--rw=randrw",
        "--bs=16k",
        "--name=vectors",
        "--ioengine=pvsync",
        "--rw=write",
        "--bs=96k",
    ];
    fio(&mount, &[&size.each_ref().map(String::as_str)[..], &jobs].concat());
    finish(&scratch, mount);
}

fn fio(mount: &Mount, args: &[&str]) {
    let mut fio = Command::new("fio");
    fio.arg(format!("--directory={}", mount.path("").display()));
    fio.args(["--verify_fatal=1", "--minimal"]).args(args);
    // fio leaves its state in the working directory.
    fio.current_dir(mount.store().parent().unwrap());
    run_within(&mut fio, Duration::from_secs(3600)).ok();
}
