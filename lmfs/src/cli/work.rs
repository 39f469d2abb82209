//! `lmfs work`: encodes blocks for a packer on another machine.

use std::process::ExitCode;
use std::sync::atomic::Ordering;

use super::interrupt::stop_or_end_on_interrupt;
use super::{args, output};
use crate::byte_size;
use crate::workers::{Token, Worker};

/// Runs the command.
///
/// # Errors
/// The packer refuses this worker, or was not reached for too long.
pub fn run(args: &args::Work, quiet: bool) -> anyhow::Result<ExitCode> {
    let token = args.token_file.as_deref().map(Token::read).transpose()?;
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = match args.threads {
        0 => u16::try_from(cores()).unwrap_or(u16::MAX),
        threads => threads,
    };
    // Threads have the priority of the one that starts them.
    if let Err(error) = rustix::process::setpriority_process(None, 19) {
        tracing::warn!(%error, "this worker keeps its priority");
    }
    let stop = stop_or_end_on_interrupt()?;
    let worker = Worker::new(args.address.clone(), token, threads, args.stay);
    let ended = worker.run(&stop);
    let (blocks, bytes) = (&worker.blocks, &worker.bytes);
    let (blocks, bytes) = (blocks.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed));
    if !quiet {
        output::line(&format!(
            "encoded {} blocks of {}",
            output::count(blocks),
            byte_size::show(bytes)
        ))?;
    }
    ended?;
    Ok(ExitCode::SUCCESS)
}
