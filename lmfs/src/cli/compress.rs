//! `lmfs compress`, `decompress`, `test`: the `.lmz` container on files and pipes, with the manners of zstd.

mod job;
mod models;
mod output;
mod protection;
mod rescue;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use lmfs_codec::model::EngineChoice;
use lmfs_codec::stream::{self, StreamOptions};
use lmfs_codec::{Level, Stop};
use parking_lot::Mutex;

use super::args::{Stream, Test, Verbosity};
use super::interrupt::{end_as_interrupted, stop_or_end_on_interrupt};
use super::output::{Meter, is_broken_pipe, say, say_error};
use crate::progress::Progress;
use crate::terminal_text::Shown as _;
use job::{Input, Job, Work};
pub use models::Models;

/// Runs `lmfs compress` (or `decompress`, which is the same with `-d`).
///
/// # Errors
/// Options that make no sense together. What is wrong with single files is printed, and the others are processed.
pub fn run(args: &Stream, decompress: bool, verbosity: Verbosity) -> anyhow::Result<ExitCode> {
    let decompress = decompress || args.decompress;
    if args.recover && !decompress {
        bail!("--recover is for decompressing: `lmfs decompress --recover`");
    }
    let inputs = inputs(&args.files);
    if args.output.is_some() && inputs.len() > 1 {
        bail!(
            "-o takes one output, but there are {} inputs; use -c to join them in standard output",
            inputs.len()
        );
    }
    let to_dash = args.output.as_ref().is_some_and(|output| output.as_os_str() == "-");
    let to_stdout =
        args.stdout || to_dash || (args.output.is_none() && inputs.iter().all(|input| *input == Input::Stdin));
    if args.rm && to_stdout {
        bail!("--rm removes inputs that are whole in another file; what goes to standard output may be lost");
    }
    if to_stdout && !decompress && !args.force && io::stdout().is_terminal() {
        bail!("compressed data is not written to a terminal; name a file with -o, or use -f to force it");
    }
    let reads_terminal = inputs.contains(&Input::Stdin) && io::stdin().is_terminal();
    if reads_terminal && (decompress || !args.force) {
        bail!("nothing to read: standard input is a terminal; name a file, or see --help");
    }
    let work = if decompress {
        Work::Decompress { recover: args.recover }
    } else {
        Work::Compress
    };
    let jobs = inputs.into_iter().map(|input| Job {
        input,
        work,
        to_stdout,
        output: args.output.clone(),
        force: args.force,
        remove: args.rm && !args.keep,
        verbose: verbosity.verbose > 0 || (!verbosity.quiet && io::stderr().is_terminal()),
    });
    let level = args.level.level;
    if let Some(warning) = args.level.warning().filter(|_| !decompress && !verbosity.quiet) {
        say(&warning);
    }
    let block_size = args
        .block_size
        .map_or(Ok(level.block_size), usize::try_from)
        .context("--block-size")?;
    let most_key = args
        .key_size
        .map_or(Ok(level.most_key), usize::try_from)
        .context("--key-size")?;
    process(
        jobs.collect(),
        Models::new(args.choice.model.as_deref(), args.choice.engine, level)?.with_dictionaries(&args.dictionaries)?,
        usize::from(args.threads),
        (block_size, most_key),
        verbosity.quiet,
    )
}

/// Runs `lmfs test`.
///
/// # Errors
/// As for [`run`].
pub fn test(args: &Test, verbosity: Verbosity) -> anyhow::Result<ExitCode> {
    let jobs = inputs(&args.files).into_iter().map(|input| Job {
        input,
        work: Work::Test,
        to_stdout: false,
        output: None,
        force: true,
        remove: false,
        verbose: !verbosity.quiet,
    });
    process(
        jobs.collect(),
        Models::new(args.model.as_deref(), EngineChoice::Auto, Level::DEFAULT)?
            .with_dictionaries(&args.dictionaries)?,
        usize::from(args.threads),
        (Level::DEFAULT.block_size, 0),
        verbosity.quiet,
    )
}

fn inputs(files: &[PathBuf]) -> Vec<Input> {
    if files.is_empty() {
        return vec![Input::Stdin];
    }
    files.iter().map(Input::from).collect()
}

fn process(
    jobs: Vec<Job>,
    mut models: Models,
    threads: usize,
    sizes: (usize, usize),
    quiet: bool,
) -> anyhow::Result<ExitCode> {
    let stop = stop_or_end_on_interrupt()?;
    let mut code = ExitCode::SUCCESS;
    for job in jobs {
        let options = stream_options(&job, threads, sizes, &stop, quiet);
        let result = job.run(&mut models, options);
        if let Err(error) = result {
            if stop.is_set() {
                say_error(&error);
                end_as_interrupted();
                return Ok(ExitCode::FAILURE);
            }
            if is_broken_pipe(&error) {
                // Not all of it was taken, which is no success: as for `cat`, `gzip` and `tar`.
                let _ = signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGPIPE);
                return Ok(ExitCode::FAILURE);
            }
            say_error(&error);
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

fn stream_options(
    job: &Job,
    threads: usize,
    (block_size, most_key): (usize, usize),
    stop: &Stop,
    quiet: bool,
) -> StreamOptions {
    let mut options = StreamOptions::default();
    options.stop = stop.clone();
    options.block_size = block_size;
    options.most_key = most_key;
    options.recover = matches!(job.work, Work::Decompress { recover: true });
    if threads > 0 {
        options.threads = threads;
    }
    // Beside a pipe a bar would only be in the way.
    if !quiet && !job.to_stdout {
        let meter = Mutex::new(Meter::new(quiet));
        let (stage, total, stored) = (job.input.to_string(), job.input.len(), job.work != Work::Compress);
        options.progress = Some(Arc::new(move |at: stream::Progress| {
            let done = if stored { at.stored } else { at.raw };
            let step = Progress {
                stage: stage.clone(),
                done,
                total,
                note: String::new(),
            };
            meter.lock().show(&step);
        }));
    }
    options
}

/// Runs `lmfs list`.
///
/// # Errors
/// When standard output cannot be written.
pub fn list(args: &super::args::List) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    let mut rows = Vec::new();
    for path in &args.files {
        match job::describe(path).with_context(|| path.shown().to_string()) {
            Ok(row) => rows.push(row),
            Err(error) => {
                say_error(&error);
                code = ExitCode::FAILURE;
            }
        }
    }
    if args.json {
        super::output::json(&serde_json::json!({ "files": rows }))?;
    } else {
        for row in &rows {
            super::output::line(&row.to_string())?;
        }
    }
    Ok(code)
}
