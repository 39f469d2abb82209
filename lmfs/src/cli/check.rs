//! `lmfs check`

use std::io::{BufWriter, Write};
use std::process::ExitCode;

use anyhow::bail;
use lmfs_codec::Stop;
use parking_lot::Mutex;

use super::interrupt::stop_on_interrupt;
use super::mount_config::MountConfig;
use super::output::Meter;
use super::target::Target;
use super::{args, output};
use crate::byte_size;
use crate::check::{self, Damage, Job, Pace, Report, parity};
use crate::daemon::control::{Client, Request};
use crate::progress::Progress;
use crate::store::{Access, Error, Folder, Lock, Opened};

/// Damage was found.
const DAMAGED: u8 = 1;
/// The check could not be carried out.
const COULD_NOT_RUN: u8 = 2;
/// Damage was found, and is repaired.
const REPAIRED: u8 = 3;

/// What others are told while the store is checked.
const PURPOSE: &str = "lmfs check";

/// Runs the command. Exit codes: 0 clean, 1 damage found, 2 could not run, 3 all damage repaired.
#[must_use]
pub fn run(args: &args::Check, quiet: bool) -> ExitCode {
    match look(args, quiet) {
        Ok(report) if !report.clean => ExitCode::from(DAMAGED),
        Ok(report) if report.repaired => ExitCode::from(REPAIRED),
        Ok(_) => ExitCode::SUCCESS,
        Err(error) if output::is_broken_pipe(&error) => ExitCode::from(COULD_NOT_RUN),
        Err(error) => {
            output::say_error(&error);
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

fn look(args: &args::Check, quiet: bool) -> anyhow::Result<Report> {
    let store = match (&args.config, &args.target) {
        (Some(file), _) => MountConfig::read(file)?.store,
        (None, Some(target)) => target.clone(),
        (None, None) => bail!("name a store"),
    };
    let report = match Target::find(&store)? {
        Target::Mounted { client } => ask(client, args, quiet)?,
        Target::Unmounted(folder) => check(folder, args, quiet)?,
    };
    if args.json {
        output::json(&report)?;
    } else {
        // Standard output is for the checksums, if they are wanted.
        let say = |text: String| match args.sha256 {
            true => {
                output::say(&text);
                Ok(())
            }
            false => output::line(&text),
        };
        print(&report, quiet, &say)?;
    }
    Ok(report)
}

/// Whether every block is decoded: options that mean nothing without it imply it.
fn wants_data(args: &args::Check) -> bool {
    args.data || args.sha256 || args.resume || args.max_rate.is_some()
}

/// Has the daemon of a mounted store decode every block.
fn ask(client: Client, args: &args::Check, quiet: bool) -> anyhow::Result<Report> {
    if args.repair || args.sha256 {
        let option = if args.repair { "--repair" } else { "--sha256" };
        bail!("the store is mounted; {option} wants it for itself: unmount it first with `lmfs umount`");
    }
    if !wants_data(args) {
        bail!(
            "the store is mounted, and its names and links change while they are looked at: add --data to check \
             contents only, or unmount it first with `lmfs umount`"
        );
    }
    let request = Request::Check {
        resume: args.resume,
        max_rate: args.max_rate.unwrap_or(0),
    };
    let mut meter = Meter::new(quiet);
    Ok(client.call(&request, &mut |progress| meter.show(&progress))?)
}

/// Checks a store that is not mounted.
fn check(folder: Folder, args: &args::Check, quiet: bool) -> anyhow::Result<Report> {
    let stop = stop_on_interrupt()?;
    let pace = Pace::new(args.max_rate);
    let meter = Mutex::new(Meter::new(quiet));
    let show = |step| meter.lock().show(&step);
    let data = wants_data(args);

    let lock = Lock::acquire(folder.dir(), PURPOSE)?;
    if args.repair {
        lock.require_writable(folder.path())?;
    }
    let parity = if data || args.repair {
        let mut progress = |done, total| show(Progress::new("comparing with parity", done, total));
        Some(parity::compare(&folder, args.repair, &pace, &mut progress, &stop)?)
    } else {
        None
    };
    let write = args.repair && parity.as_ref().is_some_and(|parity| parity.left() == 0);
    let opened = open(folder, lock, write, data)?;
    let mut report = check_opened(&opened, args, data, &pace, &stop, &show)?;
    if write {
        // What is missing, or could not be read at all.
        let (mut done, total) = (0, opened.indexer.totals().log_bytes);
        let made = opened.indexer.make_parity(&mut |more| {
            done += more;
            show(Progress::new("making parity", done.min(total), total));
            !stop.is_set()
        })?;
        report.warnings.extend(made.refused);
    }
    drop(meter);
    opened.close()?;
    if let Some(parity) = parity {
        report.add_parity(parity);
    }
    Ok(report)
}

fn open(folder: Folder, lock: Lock, write: bool, model: bool) -> anyhow::Result<Opened> {
    let access = |read_only| Access {
        purpose: PURPOSE.to_owned(),
        read_only,
        model,
        ..Access::full(PURPOSE)
    };
    match Opened::open_locked(folder.clone(), &access(!write), lock) {
        // What is left of it can be read.
        Err(Error::Repairable { .. } | Error::Indexer { .. }) if write => Ok(Opened::open(folder, &access(true))?),
        other => Ok(other?),
    }
}

fn check_opened(
    opened: &Opened,
    args: &args::Check,
    data: bool,
    pace: &Pace,
    stop: &Stop,
    show: &(dyn Fn(Progress) + Sync),
) -> anyhow::Result<Report> {
    let job = Job {
        store: &opened.indexer,
        codec: &opened.codec,
        folder: opened.folder.dir(),
        computing: None,
        block_size: opened.config().block_size,
        data,
        resume: args.resume,
        pace,
        stop,
        progress: show,
    };
    let mut out = BufWriter::new(output::stdout()?);
    let mut line = |line: &[u8]| {
        out.write_all(line)?;
        out.write_all(b"\n")
    };
    let line: Option<check::Line<'_>> = if args.sha256 { Some(&mut line) } else { None };
    let report = check::check(opened, &job, line).map_err(|error| match error {
        check::Error::Interrupted if data => anyhow::anyhow!("interrupted; `--resume` goes on from here"),
        other => other.into(),
    })?;
    out.flush()?;
    Ok(report)
}

fn print(report: &Report, quiet: bool, say: &dyn Fn(String) -> anyhow::Result<()>) -> anyhow::Result<()> {
    for warning in &report.warnings {
        say(format!("warning: {warning}"))?;
    }
    for damage in &report.damage {
        say(text(damage))?;
    }
    if let Some(parity) = &report.parity {
        print_parity(parity, quiet, say)?;
    }
    if quiet {
        return Ok(());
    }
    let verdict = match report.damage.len() {
        0 if report.clean && report.repaired => "no damage any more".to_owned(),
        0 if report.clean => "no damage".to_owned(),
        0 => "damage in the log, contained; see above".to_owned(),
        n => format!("{n} damages"),
    };
    let what = match report.data {
        true => format!("{} decoded", byte_size::show(report.decoded_bytes)),
        false => "structure only, --data decodes every block".to_owned(),
    };
    let resumed = if report.resumed { ", resumed" } else { "" };
    let names = match report.entries {
        0 => String::new(),
        entries => format!("{} names, ", output::count(entries)),
    };
    say(format!(
        "{verdict}: {} inodes, {names}{} blocks looked at ({what}{resumed})",
        output::count(report.inodes),
        output::count(report.blocks)
    ))
}

fn print_parity(
    parity: &parity::Summary,
    quiet: bool,
    say: &dyn Fn(String) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for segment in &parity.damaged {
        let ranges = segment.ranges.iter().map(|(start, end)| format!("{start} to {end}"));
        let ranges: Vec<String> = ranges.collect();
        say(format!(
            "{} bytes {}: {}",
            segment.file,
            ranges.join(", "),
            segment.text
        ))?;
    }
    for file in &parity.files {
        let done = if parity.repair {
            "made anew"
        } else {
            "`lmfs check --repair` makes it anew"
        };
        say(format!("{file}; {done}"))?;
    }
    if quiet {
        return Ok(());
    }
    if parity.segments == 0 {
        return match parity.repair {
            true => say("the store has no parity; `lmfs parity` gives it some".to_owned()),
            false => Ok(()),
        };
    }
    let without = match parity.unprotected {
        0 => String::new(),
        n => format!("; {n} have none"),
    };
    say(format!(
        "parity: {} segments compared, {}{without}",
        parity.segments,
        byte_size::show(parity.bytes)
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
        (Some(offset), None) => format!(" from byte {offset}"),
        _ => String::new(),
    };
    format!("{path} (inode {}){place}: {}", damage.ino, damage.reason)
}
