//! `lmfs eval`: what lmfs would save on real data, beside other programs.

mod paper;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::bail;
use parking_lot::Mutex;

use super::compress::Models;
use super::interrupt::stop_on_interrupt;
use super::output::{Meter, say};
use super::{args, output};
use crate::eval::{Compressor, Gzip, Lmfs, Options, Xz, Zstd, evaluate, find_files};
use crate::progress::Progress;
use crate::store::DEFAULT_BLOCK_SIZE;

/// Runs the command.
///
/// # Errors
/// Files that cannot be read, a model that cannot be used, a level or block size for the paper's experiments.
pub fn run(args: &args::Eval, quiet: bool) -> anyhow::Result<ExitCode> {
    if args.paper.asked() && (args.level.named || args.block_size.is_some()) {
        bail!(
            "--paper and --report measure methods (--with) in chunks of 2,048 bytes and unchunked: they take neither \
             --level nor --block-size"
        );
    }
    let files = find_files(&args.paths)?;
    let stop = stop_on_interrupt()?;
    if args.paper.asked() {
        let (engine, threads) = (args.choice.engine, usize::from(args.threads));
        paper::run(&args.paper, engine, threads, args.json, &files, quiet, &stop)?;
        return Ok(ExitCode::SUCCESS);
    }
    let level = args.level.level;
    if let Some(warning) = args.level.warning().filter(|_| !quiet) {
        say(&warning);
    }
    let codec = Models::new(args.choice.model.as_deref(), args.choice.engine, level)?.for_writing()?;
    let (name, block_size) = if args.level.named {
        (format!("lmfs -{}", level.number), level.block_size)
    } else {
        ("lmfs".to_owned(), usize::try_from(DEFAULT_BLOCK_SIZE)?)
    };
    let lmfs = Lmfs::new(name, codec);
    let compressors: [&dyn Compressor; 4] = [&lmfs, &Gzip, &Zstd, &Xz];
    let options = Options {
        block_size: args.block_size.map_or(Ok(block_size), usize::try_from)?,
        whole: !args.blocks_only,
        threads: usize::from(args.threads),
    };
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();
    let total = if options.whole { bytes * 2 } else { bytes };
    let done = AtomicU64::new(0);
    let meter = Mutex::new(Meter::new(quiet));
    let progress = |more| {
        let done = done.fetch_add(more, Ordering::Relaxed) + more;
        let step = Progress {
            stage: "measuring".into(),
            done,
            total,
            note: String::new(),
        };
        meter.lock().show(&step);
    };
    let report = evaluate(&files, &compressors, &options, &progress, &stop)?;
    drop(meter);
    if args.json {
        output::json(&report)
    } else {
        output::line(report.to_string().trim_end())
    }?;
    Ok(ExitCode::SUCCESS)
}
