//! `lmfs clone`: a store from a bucket.

use std::process::ExitCode;

use lmfs_object::bucket::Reader;

use super::args;
use super::interrupt::{end_as_interrupted, stop_or_end_on_interrupt};
use super::output::{self, Meter, say};
use crate::bucket::clone::clone;
use crate::bucket::url;
use crate::byte_size;
use crate::progress::Progress;
use crate::store::{Access, Folder, Opened};

/// Runs the command.
///
/// # Errors
/// A bucket without a store, a folder that is in use, a full disk.
pub fn run(args: &args::CloneStore, quiet: bool) -> anyhow::Result<ExitCode> {
    let reader = Reader::new(url::bucket(&args.url, false)?, None)?;
    let stop = stop_or_end_on_interrupt()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut meter = Meter::new(quiet);
    let mut tell = |progress: &Progress| meter.show(progress);
    let cloned = runtime.block_on(clone(&reader, &args.store, &mut tell, &stop));
    meter.finish();
    if cloned.is_err() {
        end_as_interrupted();
    }
    let cloned = cloned?;
    // The index is made, so the store is mounted at once, and what was fetched is seen to be one.
    let opened = Opened::open(Folder::find(&args.store)?, &Access::rows("lmfs clone"))?;
    for warning in &opened.report.warnings {
        say(&format!("lmfs: warning: {warning}"));
    }
    opened.close()?;
    if args.json {
        output::json(&cloned)?;
    } else if !quiet {
        output::line(&format!(
            "cloned up to transaction {}: {} fetched, {} in all",
            output::count(cloned.seq),
            byte_size::show(cloned.fetched_bytes),
            byte_size::show(cloned.bytes),
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
