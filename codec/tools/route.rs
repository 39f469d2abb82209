//! What a file takes, and how fast it is read, by how much the language model must save to be used.
//!
//! `cargo run --release -p lmfs-codec --example route -- [--block KIB] [--take KIB] FILE...` takes every n-th block of
//! a file, so that it takes so many KiB. The last line counts every file with its whole length.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a measuring program"
)]

use lmfs_codec::model::{EngineChoice, LoadOptions, ModelSource, load};
use lmfs_codec::{Codec, Options, Stop};

/// [`Options::model_worth`].
const WORTHS: [u32; 10] = [0, 8, 12, 24, 32, 36, 40, 44, 48, 64];

/// Seconds of processor time of this thread, which does all the work.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// Bytes of a block, and seconds of decoding it.
fn measure(codec: &Codec, raw: &[u8]) -> (usize, f64) {
    let stop = Stop::new();
    let block = codec.encode(raw, &stop).unwrap();
    let start = cpu_seconds();
    assert_eq!(codec.decode(&block, &stop).unwrap(), raw);
    (block.len(), cpu_seconds() - start)
}

fn main() {
    let (mut block, mut take, mut files) = (16, 64, Vec::new());
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--block" => block = args.next().unwrap().parse::<usize>().unwrap(),
            "--take" => take = args.next().unwrap().parse::<usize>().unwrap(),
            _ => files.push(arg),
        }
    }
    let model = load(
        &ModelSource::builtin_default().unwrap(),
        EngineChoice::Auto,
        &LoadOptions::default(),
    )
    .unwrap();
    let codec = |model_allowed: bool| {
        let mut options = Options::default();
        (options.model, options.mix, options.model_worth) = (model_allowed, !model_allowed, 0);
        Codec::new(Some(model.clone()), options).unwrap()
    };
    let (without, with) = (codec(false), codec(true));
    println!("bytes of the raw ones, KiB read a second, share of blocks with the model");
    print!("{:24}", "the model saves of a KiB");
    WORTHS.iter().for_each(|worth| print!(" {worth:>19}"));
    println!(" {:>19}", "never used");
    let (mut all_raw, mut all_sums) = (0.0, [(0.0, 0.0, 0.0); WORTHS.len() + 1]);
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        let all: Vec<&[u8]> = bytes.chunks(block << 10).collect();
        let every = (bytes.len() / (take << 10)).max(1);
        let mut sums = [(0, 0.0, 0); WORTHS.len() + 1];
        let (mut raw, mut blocks) = (0, 0);
        for block in all.into_iter().step_by(every) {
            let (mix, model) = (measure(&without, block), measure(&with, block));
            for (n, (bytes, seconds, modelled)) in sums.iter_mut().enumerate() {
                let worth = WORTHS.get(n).map(|worth| block.len() * *worth as usize / 1024);
                let use_model = worth.is_some_and(|worth| model.0 + worth < mix.0);
                let chosen = if use_model { model } else { mix };
                *bytes += chosen.0;
                *seconds += chosen.1;
                *modelled += usize::from(use_model);
            }
            raw += block.len();
            blocks += 1;
        }
        let whole = bytes.len() as f64 / raw as f64;
        let sums = sums.map(|(bytes, seconds, modelled)| {
            let modelled = modelled as f64 * raw as f64 / f64::from(blocks);
            (bytes as f64, seconds, modelled)
        });
        print(file.rsplit('/').next().unwrap(), raw as f64, &sums);
        all_raw += bytes.len() as f64;
        for (all, one) in all_sums.iter_mut().zip(sums) {
            *all = (all.0 + one.0 * whole, all.1 + one.1 * whole, all.2 + one.2 * whole);
        }
    }
    print("all", all_raw, &all_sums);
}

/// A line of the table, from sums of bytes, of seconds and of bytes in blocks with the model.
fn print(name: &str, raw: f64, sums: &[(f64, f64, f64)]) {
    print!("{name:24}");
    for (bytes, seconds, modelled) in sums {
        let (share, speed) = (bytes / raw, raw / 1024.0 / seconds);
        print!("  {share:.4} {speed:6.0} {:3.0} %", modelled * 100.0 / raw);
    }
    println!();
}
