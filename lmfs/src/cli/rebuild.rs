//! `lmfs rebuild`: the index from the log.

use std::process::ExitCode;

use super::target::refuse_mountpoint;
use super::{args, output};
use crate::store::rebuild;

/// Runs the command.
///
/// # Errors
/// No store, in use, or a damaged log.
pub fn run(args: &args::Rebuild, quiet: bool) -> anyhow::Result<ExitCode> {
    refuse_mountpoint(&args.store)?;
    let done = rebuild(&args.store)?;
    if args.json {
        output::json(&done)?;
    } else if !quiet {
        let config = if done.config_restored {
            "; config.toml is restored"
        } else {
            ""
        };
        output::line(&format!(
            "made the index anew: {} inodes, with {} transactions since the last checkpoint{config}",
            output::count(done.inodes),
            output::count(done.transactions)
        ))?;
    }
    for warning in &done.warnings {
        output::say(&format!("lmfs: warning: {warning}"));
    }
    Ok(ExitCode::SUCCESS)
}
