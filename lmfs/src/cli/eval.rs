//! `lmfs eval`: what lmfs would save on real data, beside other programs.

mod paper;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use lmfs_codec::Level;
use parking_lot::Mutex;

use super::compress::Models;
use super::interrupt::stop_on_interrupt;
use super::output::Meter;
use super::{args, output};
use crate::eval::{Compressor, Gzip, Lmfs, Options, Xz, Zstd, evaluate, find_files};
use crate::progress::Progress;

/// Runs the command.
///
/// # Errors
/// Files that cannot be read, a model that cannot be used.
pub fn run(args: &args::Eval, quiet: bool) -> anyhow::Result<ExitCode> {
    let files = find_files(&args.paths)?;
    let stop = stop_on_interrupt()?;
    if args.paper.asked() {
        let (engine, threads) = (args.choice.engine, usize::from(args.threads));
        paper::run(&args.paper, engine, threads, args.json, &files, quiet, &stop)?;
        return Ok(ExitCode::SUCCESS);
    }
    let codec = Models::new(args.choice.model.as_deref(), args.choice.engine, Level::DEFAULT)?.for_writing()?;
    let lmfs = Lmfs::new("lmfs", codec);
    let compressors: [&dyn Compressor; 4] = [&lmfs, &Gzip, &Zstd, &Xz];
    let options = Options {
        block_size: usize::try_from(args.block_size)?,
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
