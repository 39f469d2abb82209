//! `lmfs parity`: how much of it a store has.

use std::process::ExitCode;

use super::interrupt::stop_on_interrupt;
use super::output::Meter;
use super::target::refuse_mountpoint;
use super::{args, output};
use crate::byte_size;
use crate::progress::Progress;
use crate::store::set_parity;

/// Runs the command.
///
/// # Errors
/// No store, in use, or a full disk.
pub fn run(args: &args::Parity, quiet: bool) -> anyhow::Result<ExitCode> {
    refuse_mountpoint(&args.store)?;
    let stop = stop_on_interrupt()?;
    let mut meter = Meter::new(quiet);
    let done = set_parity(&args.store, args.percent, &mut |done, total| {
        meter.show(&Progress::new("making parity", done, total));
        !stop.is_set()
    })?;
    meter.finish();
    for warning in &done.warnings {
        output::say(&format!("lmfs: warning: {warning}"));
    }
    if args.json {
        output::json(&done)?;
    } else if !quiet {
        output::line(&match done.parity {
            0 => "the store has no parity".to_owned(),
            percent => format!(
                "new segments get {percent} % parity; all there is takes {} beside {} of log",
                byte_size::show(done.parity_bytes),
                byte_size::show(done.log_bytes)
            ),
        })?;
    }
    Ok(ExitCode::SUCCESS)
}
