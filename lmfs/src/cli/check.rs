//! `lmfs check`

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::interrupt::stop_on_interrupt;
use super::output::Meter;
use super::{args, output, size};
use crate::check::{Damage, Report, check};
use crate::daemon::control::Progress;
use crate::explain::explain;
use crate::store::{Access, Folder, Opened};

/// Damage was found.
const DAMAGED: u8 = 1;
/// The check could not be carried out.
const COULD_NOT_RUN: u8 = 2;

/// Runs the command. Exit codes: 0 clean, 1 damage found, 2 could not run.
#[must_use]
pub fn run(args: &args::Check, quiet: bool) -> ExitCode {
    match look(args, quiet) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(DAMAGED),
        Err(error) => {
            eprintln!("lmfs: {}", explain(&error));
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

fn look(args: &args::Check, quiet: bool) -> anyhow::Result<bool> {
    let folder = Folder::find(&args.store)?;
    let access = Access {
        purpose: "lmfs check".to_owned(),
        read_only: true,
        model: args.data,
    };
    let opened = Opened::open(folder, &access)?;
    let total = opened.indexer.totals().by_tag.values().map(|sum| sum.raw_bytes).sum();
    let meter = Mutex::new(Meter::new(quiet));
    let done = AtomicU64::new(0);
    let progress = |more| {
        let done = done.fetch_add(more, Ordering::Relaxed) + more;
        let step = Progress {
            stage: "checking".into(),
            done,
            total,
            note: String::new(),
        };
        meter.lock().unwrap_or_else(PoisonError::into_inner).show(&step);
    };
    let report = check(&opened, args.data, &progress, &stop_on_interrupt()?)?;
    drop(meter);
    opened.close()?;
    if args.json {
        output::json(&report)?;
    } else {
        print(&report, quiet)?;
    }
    Ok(report.clean)
}

fn print(report: &Report, quiet: bool) -> anyhow::Result<()> {
    for warning in &report.warnings {
        output::line(&format!("warning: {warning}"))?;
    }
    for damage in &report.damage {
        output::line(&text(damage))?;
    }
    if quiet {
        return Ok(());
    }
    let verdict = match report.damage.len() {
        0 if report.clean => "no damage".to_owned(),
        0 => "damage in the log, contained; see the warnings".to_owned(),
        n => format!("{n} damages"),
    };
    let what = match report.data {
        true => format!("{} decoded", size::show(report.decoded_bytes)),
        false => "structure only, --data decodes every block".to_owned(),
    };
    output::line(&format!(
        "{verdict}: {} inodes, {} names, {} blocks looked at ({what})",
        output::count(report.inodes),
        output::count(report.entries),
        output::count(report.blocks)
    ))
}

fn text(damage: &Damage) -> String {
    let path = if damage.path.is_empty() {
        "(no path)"
    } else {
        &damage.path
    };
    let place = match (damage.offset, damage.length) {
        (Some(offset), Some(length)) => {
            format!(" bytes {offset} to {}", offset.saturating_add(length))
        }
        _ => String::new(),
    };
    format!("{path} (inode {}){place}: {}", damage.ino, damage.reason)
}
