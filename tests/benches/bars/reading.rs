//! Reading what is decoded already, beside a plain passthrough FUSE mount; one cold page; writing; the daemon's memory.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use lmfs_tests::{Noise, Scratch, data, run};

use crate::seconds;

const FILE: usize = 96 << 20;

pub fn print() {
    println!("\n### Reading, writing, memory\n");
    println!("| what | lmfs | beside |");
    println!("|---|---|---|");
    cached();
    cold();
    walk();
}

fn cached() {
    let scratch = Scratch::with_store(&[]);
    let mount = scratch.mount(&[]);
    let text = fs::read(data("text/alice29.txt")).unwrap();
    let bytes: Vec<u8> = text.iter().copied().cycle().take(FILE).collect();
    let rate = |seconds: f64| FILE as f64 / seconds / 1e6;
    let write = |path: &Path| {
        let mut file = File::create(path).unwrap();
        bytes.chunks(128 << 10).for_each(|chunk| file.write_all(chunk).unwrap());
        file.sync_all().unwrap();
    };
    let plain = scratch.path("plain");
    fs::create_dir(&plain).unwrap();
    let (lmfs, disk) = (mount.path("big"), plain.join("big"));
    let writing = seconds(|| write(&lmfs));
    let disk_writing = seconds(|| write(&disk));
    println!(
        "| sequential write of {} MB and fsync | {:.0} MB/s | the disk itself: {:.0} MB/s, ratio {:.2} |",
        FILE >> 20,
        rate(writing),
        rate(disk_writing),
        disk_writing / writing
    );

    let through = scratch.path("through");
    fs::create_dir(&through).unwrap();
    let bindfs = Command::new("bindfs").arg(&plain).arg(&through).status();
    let peer = bindfs.is_ok_and(|status| status.success()).then(|| through.join("big"));
    // Past the kernel's pages, which serve every FUSE filesystem alike: the daemon has to answer, from its cache.
    let read = |path: &Path| {
        let mut file = File::open(path).unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        let mut chunk = vec![0; 128 << 10];
        seconds(|| while file.read(&mut chunk).unwrap() > 0 {})
    };
    read(&lmfs);
    let (mut ours, mut theirs) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..5 {
        ours = ours.min(read(&lmfs));
        theirs = theirs.min(peer.as_deref().map_or(f64::INFINITY, &read));
    }
    if peer.is_some() {
        let _ = run(Command::new("fusermount3").arg("-u").arg(&through));
        println!(
            "| cached read of {} MB | {:.0} MB/s | bindfs on the same disk: {:.0} MB/s, ratio {:.2} |",
            FILE >> 20,
            rate(ours),
            rate(theirs),
            theirs / ours
        );
    } else {
        println!(
            "| cached read of {} MB | {:.0} MB/s | not measured: bindfs is not installed |",
            FILE >> 20,
            rate(ours)
        );
    }
    let cache = mount.count("/cache/bytes");
    let (peak, now) = memory(mount.pid());
    println!(
        "| memory of the daemon | {} MiB now, {} MiB at most | of it {} MiB decoded blocks |",
        now >> 20,
        peak >> 20,
        cache >> 20
    );
    mount.umount();
}

/// Peak and present resident set of a process, in bytes: proc_pid_status(5).
fn memory(pid: u32) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let of = |key: &str| {
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    };
    (of("VmHWM:"), of("VmRSS:"))
}

/// Files of one block, each on its own and one after another.
fn walk() {
    let scratch = Scratch::with_store(&[]);
    let mount = scratch.mount(&[]);
    let text = fs::read(data("text/alice29.txt")).unwrap();
    let block = mount.count("/block_size") as usize;
    for (i, bytes) in text.chunks_exact(block).enumerate() {
        fs::write(mount.path(format!("{i:03}")), bytes).unwrap();
    }
    mount.pack(&[]);
    mount.umount();
    let files = text.len() / block;
    // From the last to the first is the order of no walk.
    let orders: [Vec<usize>; 2] = [(0..files).rev().collect(), (0..files).collect()];
    let [alone, walked] = orders.map(|order| {
        let mount = scratch.mount(&[]);
        assert_eq!(fs::read_dir(mount.path("")).unwrap().count(), files);
        let read = |i: usize| assert_eq!(fs::read(mount.path(format!("{i:03}"))).unwrap().len(), block);
        let taken = seconds(|| order.into_iter().for_each(read));
        mount.umount();
        (files * block) as f64 / taken / 1e3
    });
    println!(
        "| cold reading of {files} files of one block, one after another | {walked:.1} KB/s | backwards, so that none is decoded ahead: {alone:.1} KB/s, ratio {:.2} |",
        walked / alone
    );
}

fn cold() {
    let scratch = Scratch::with_store(&[]);
    let mount = scratch.mount(&[]);
    let text = fs::read(data("text/alice29.txt")).unwrap();
    fs::write(mount.path("text"), &text).unwrap();
    mount.pack(&[]);
    let block = mount.count("/block_size");
    mount.umount();
    let mount = scratch.mount(&[]);
    let file = File::open(mount.path("text")).unwrap();
    let mut page = [0; 4096];
    let mut noise = Noise::new(1);
    let mut times = Vec::new();
    let blocks = text.len() as u64 / block;
    let mut order: Vec<u64> = (0..blocks).collect();
    order.sort_by_key(|_| noise.next_u64());
    for at in &order {
        let begun = Instant::now();
        file.read_exact_at(&mut page, at * block).unwrap();
        times.push(begun.elapsed());
    }
    times.sort();
    let decodes = mount.count("/cache/decodes");
    println!(
        "| cold read of 4 KiB, blocks of {} KiB | {:.1} ms in the middle, {:.1} ms at worst | {:.2} block decodes a read |",
        block >> 10,
        times.get(times.len() / 2).unwrap().as_secs_f64() * 1e3,
        times.last().unwrap().as_secs_f64() * 1e3,
        decodes as f64 / order.len() as f64
    );
    let (peak, now) = memory(mount.pid());
    println!(
        "| memory of the daemon after decoding | {} MiB now, {} MiB at most | of it {} MiB decoded blocks |",
        now >> 20,
        peak >> 20,
        mount.count("/cache/bytes") >> 20
    );
    drop(file);
    mount.umount();
}
