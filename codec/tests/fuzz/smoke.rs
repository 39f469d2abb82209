//! A short run of a fuzz target, for the tests of each crate that has one.

use std::time::{Duration, Instant};

use super::random::Random;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// The seed of this run, printed.
fn random() -> Random {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let seed = number("LMFS_SEED").unwrap_or(now.as_nanos() as u64);
    println!("LMFS_SEED={seed}");
    Random(seed)
}

/// Flips, cuts, repeats, overwrites and moves.
fn mutate(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=random.next() % 4 {
        let len = out.len().max(1);
        let at = random.next() as usize % len;
        let some = 1 + random.next() as usize % 8;
        match random.next() % 6 {
            0 => out.truncate(at),
            1 => out.extend_from_within(at.min(out.len())..),
            2 => out
                .iter_mut()
                .skip(at)
                .take(some)
                .for_each(|byte| *byte = random.next() as u8),
            3 => out.iter_mut().skip(at).take(some).for_each(|byte| *byte = 0xff),
            4 => drop(out.drain(at.min(out.len())..(at + some).min(out.len()))),
            _ => out
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|byte| *byte ^= 1 << (random.next() % 8)),
        }
    }
    // Repeating the end of a long input doubles it each time.
    out.truncate(1 << 16);
    out
}

/// Runs one target over its seeds, and over seeds that were damaged, for a second.
pub fn smoke(name: &str, run: fn(&[u8]), seeds: &[Vec<u8>]) {
    if let Some(folder) = std::env::var_os("LMFS_FUZZ_SEEDS") {
        // Relative to the workspace, not to the package that cargo runs tests in.
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .join(folder)
            .join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for (n, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{n:02}")), seed).unwrap();
        }
    }
    for seed in seeds {
        run(seed);
    }
    let mut random = random();
    let begun = Instant::now();
    let length = Duration::from_secs(number("LMFS_FUZZ_SECONDS").unwrap_or(1));
    let mut runs = 0_usize;
    while begun.elapsed() < length {
        run(&mutate(&seeds[random.next() as usize % seeds.len()], &mut random));
        runs += 1;
    }
    println!("{name}: {runs} runs");
}
