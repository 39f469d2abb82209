//! The numbers of docs/BENCHMARKS.md, measured again: rows of Markdown on standard output, progress on standard error.
//!
//! `EVAL` names a folder with one folder for each kind of data; `BENCH_BYTES` caps what is taken of each kind (0: all).
//! Ratios are of things measured in the same run, alternately where time is compared, the best of several tries.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench that cannot measure has to stop"
)]

mod corpus;
mod latency;
mod metadata;
mod model;
mod onelane;
mod peers;
mod pipe;
mod reading;
mod sizes;
mod small_operations;

use std::path::PathBuf;
use std::time::Instant;

fn main() {
    // cargo passes --bench, and a filter: the sections to run.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let eval = std::env::var_os("EVAL").map_or_else(|| lmfs_tests::data(""), PathBuf::from);
    let eval = if eval.is_relative() {
        lmfs_tests::data("../..").join(eval)
    } else {
        eval
    };
    let cap = std::env::var("BENCH_BYTES").map_or(128 << 10, |n| n.parse().expect("BENCH_BYTES is a number of bytes"));
    let kinds = corpus::kinds(&eval, if cap == 0 { u64::MAX } else { cap });

    type Section<'a> = (&'a str, &'a dyn Fn());
    let sections: [Section; 9] = [
        ("sizes", &|| sizes::print(&kinds)),
        ("model", &|| model::print(&kinds)),
        ("reading", &|| reading::print()),
        ("metadata", &|| metadata::print()),
        ("small_operations", &|| small_operations::print()),
        ("peers", &|| peers::print(&kinds)),
        ("latency", &|| latency::print(&kinds)),
        ("onelane", &|| onelane::print(&kinds)),
        ("pipe", &|| pipe::print()),
    ];
    for (name, print) in sections {
        if wanted.is_empty() || wanted.iter().any(|w| w == name) {
            let begun = Instant::now();
            print();
            eprintln!("{name}: {:.0} s", begun.elapsed().as_secs_f64());
        }
    }
}

/// The best, that is the shortest, of `tries` runs in seconds.
fn best(tries: usize, mut run: impl FnMut() -> f64) -> f64 {
    (0..tries).map(|_| run()).fold(f64::INFINITY, f64::min)
}

/// The seconds that something takes.
fn seconds(run: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    run();
    begun.elapsed().as_secs_f64()
}

/// The seconds of processor time that something takes on this thread: other programs disturb it less than the clock.
fn cpu_seconds(run: impl FnOnce()) -> f64 {
    let now = || {
        let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        stat.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
    };
    let begun = now();
    run();
    now() - begun
}
