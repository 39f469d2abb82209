//! `lmfs gc`: gives space back.

use std::process::ExitCode;

use super::interrupt::stop_on_interrupt;
use super::output::Meter;
use super::target::Target;
use super::{args, output};
use crate::byte_size;
use crate::daemon::control::Request;
use crate::daemon::running::collecting;
use crate::maintenance::{Effort, collect_garbage};
use crate::store::{Access, Opened};

/// Runs the command.
///
/// # Errors
/// No store, or a full disk.
pub fn run(args: &args::Gc, quiet: bool) -> anyhow::Result<ExitCode> {
    let mut meter = Meter::new(quiet);
    let report = match Target::find(&args.target)? {
        Target::Mounted { client } => client.call(&Request::Gc, &mut |progress| meter.show(&progress))?,
        Target::Unmounted(folder) => {
            let opened = Opened::open(folder, &Access::rows("lmfs gc"))?;
            let stop = stop_on_interrupt()?;
            let tell = &mut |step: &_| meter.show(&collecting(step));
            let done = collect_garbage(&opened.indexer, Effort::All, &stop, tell);
            opened.close()?;
            done?
        }
    };
    meter.finish();
    if args.json {
        output::json(&report)?;
    } else if !quiet {
        output::line(&format!(
            "{} given back (segments deleted: {}, blocks moved: {})",
            byte_size::show(report.freed_bytes),
            output::count(report.deleted_segments),
            output::count(report.moved_blocks)
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
