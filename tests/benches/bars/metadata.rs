//! Many small files, and whether names and attributes are answered while blocks decode.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lmfs_tests::{Scratch, data, run};

use crate::{best, seconds};

pub fn print() {
    println!("\n### Names and attributes\n");
    println!("| what | measured |");
    println!("|---|---|");
    many();
    under_load();
}

fn many() {
    let scratch = Scratch::with_store(&[]);
    let mount = scratch.mount(&[]);
    let create = seconds(|| {
        for folder in 0..100 {
            fs::create_dir(mount.path(format!("{folder}"))).unwrap();
            for file in 0..100 {
                fs::write(
                    mount.path(format!("{folder}/{file}")),
                    format!("file {file} in {folder}\n"),
                )
                .unwrap();
            }
        }
    });
    let list = || seconds(|| drop(run(Command::new("ls").arg("-lR").arg(mount.path(""))).ok()));
    let first = list();
    let warm = best(5, list);
    println!("| 10,000 small files in 100 folders created | {create:.2} s |");
    println!("| `ls -lR` of them, first | {first:.2} s |");
    println!("| `ls -lR` of them, warm | {warm:.2} s |");
    println!(
        "| index | {:.0} bytes a file |",
        mount.count("/index_bytes") as f64 / 10_000.0
    );
    mount.umount();
    let remount = seconds(|| scratch.mount(&[]).umount());
    println!("| mounted and unmounted again | {remount:.2} s |");
}

fn under_load() {
    let scratch = Scratch::with_store(&[]);
    let mount = scratch.mount(&[]);
    let text = fs::read(data("text/alice29.txt")).unwrap();
    fs::write(mount.path("text"), &text).unwrap();
    fs::create_dir(mount.path("folder")).unwrap();
    mount.pack(&[]);
    mount.umount();
    let mount = scratch.mount(&[]);
    let reading = AtomicBool::new(true);
    let mut times = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert!(fs::read(mount.path("text")).unwrap() == text);
            reading.store(false, Ordering::Release);
        });
        for n in 0.. {
            if !reading.load(Ordering::Acquire) {
                break;
            }
            // A name never seen before: the kernel has no answer of its own.
            let begun = Instant::now();
            assert!(fs::metadata(mount.path(format!("folder/{n}"))).is_err());
            times.push(begun.elapsed());
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    times.sort();
    let at = |part: f64| {
        times
            .get((times.len() as f64 * part) as usize)
            .map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    println!(
        "| `stat` while all cores decode, {} times | {:.2} ms in the middle, {:.1} ms at 99 % |",
        times.len(),
        at(0.5),
        at(0.99)
    );
    mount.umount();
}
