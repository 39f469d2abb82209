//! Sizes and speeds of the levels on files: the table of docs/BENCHMARKS.md, "Levels".
//!
//! `cargo run --release -p lmfs-codec --example levels -- [--take KIB] [--levels 1,6] FILE...`: the first bytes of each
//! file, 1 MiB unless told otherwise. Seconds are of processor time on one core; encoding includes the check that the
//! block decodes.
#![allow(missing_docs, clippy::unwrap_used, reason = "a measuring program")]

use lmfs_codec::model::{EngineChoice, LoadOptions, ModelSource, load};
use lmfs_codec::{Codec, Level, Stop};

/// Seconds of processor time of this thread, which does all the work: other programs disturb it less than the clock.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

fn main() {
    let (mut take, mut wanted, mut files) = (1 << 20, Vec::new(), Vec::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--take" => take = args.next().unwrap().parse::<usize>().unwrap() << 10,
            "--levels" => wanted.extend(args.next().unwrap().split(',').map(|n| n.parse::<u8>().unwrap())),
            _ => files.push(arg),
        }
    }
    let contents: Vec<Vec<u8>> = files
        .iter()
        .map(|file| {
            let mut bytes = std::fs::read(file).unwrap();
            bytes.truncate(take);
            bytes
        })
        .collect();
    let names: Vec<&str> = files.iter().map(|file| file.rsplit('/').next().unwrap()).collect();
    println!(
        "| level | model | block | {} | encode KB/s | decode KB/s |",
        names.join(" | ")
    );
    println!("|---|---|---|{}---|---|", "---|".repeat(names.len()));
    let total: usize = contents.iter().map(Vec::len).sum();
    for level in Level::ALL {
        if !wanted.is_empty() && !wanted.contains(&level.number) {
            continue;
        }
        let model = level
            .model
            .map(|name| load(&ModelSource::Builtin(name), EngineChoice::Auto, &LoadOptions::default()).unwrap());
        let codec = Codec::new(model, level.options()).unwrap();
        let (stop, mut encoding, mut decoding) = (Stop::new(), 0.0, 0.0);
        let ratios: Vec<String> = contents
            .iter()
            .map(|raw| {
                let mut size = 0;
                for block in raw.chunks(level.block_size) {
                    let start = cpu_seconds();
                    let coded = codec.encode(block, &stop).unwrap();
                    encoding += cpu_seconds() - start;
                    let start = cpu_seconds();
                    assert_eq!(codec.decode(&coded, &stop).unwrap(), block);
                    decoding += cpu_seconds() - start;
                    size += coded.len();
                }
                format!("{:.4}", size as f64 / raw.len() as f64)
            })
            .collect();
        let speed = |seconds: f64| total as f64 / seconds / 1000.0;
        println!(
            "| -{} | {} | {} KiB | {} | {:.1} | {:.1} |",
            level.number,
            level.model.unwrap_or("none"),
            level.block_size >> 10,
            ratios.join(" | "),
            speed(encoding),
            speed(decoding)
        );
    }
}
