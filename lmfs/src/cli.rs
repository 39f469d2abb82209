//! The command line: what users type, one file per command.

pub mod args;
mod check;
mod clone;
mod compress;
mod eval;
mod gc;
mod generate;
mod init;
mod interrupt;
mod level;
mod manual;
mod model;
mod mount;
mod mount_config;
mod mount_helper;
mod output;
mod pack;
mod pack_objects;
mod parity;
mod push;
mod rebuild;
mod remount;
pub mod stat;
mod status;
mod target;
mod train;
mod trial;
mod umount;
mod work;

use std::io::{IsTerminal, stderr};
use std::process::ExitCode;

use clap::Parser;
use rustix::fs::fstat;
use tracing_subscriber::EnvFilter;

use crate::process_setup;
use args::{Cli, Command, Verbosity};

/// The environment variable that says what to log.
const LOG_VARIABLE: &str = "LMFS_LOG";

/// Runs the command that the process was started with.
///
/// Exit codes: 0 done, 1 it failed (for `check`: damage was found), 2 wrong usage (for `check`: it could not run), and
/// what single commands add: docs/OPERATIONS.md.
#[must_use]
pub fn main() -> ExitCode {
    process_setup::normalise();
    if std::env::args_os()
        .next()
        .is_some_and(|program| mount_helper::is_helper(&program))
    {
        return mount_helper::main();
    }
    let cli = match Cli::try_parse_from(level::joined(std::env::args_os())) {
        Ok(cli) => cli,
        Err(told) => return output::usage(&told),
    };
    start_log(&cli);
    match run(&cli) {
        Ok(code) => code,
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::say_error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let quiet = cli.verbosity.quiet;
    if !names_its_files(&cli.command) {
        process_setup::keep_files_private();
    }
    match &cli.command {
        Command::Init(args) => init::run(args, quiet),
        Command::Umount(args) => umount::run(args, quiet),
        Command::Mount(args) => mount::run(args),
        Command::Pack(args) => pack::run(args, quiet),
        Command::Work(args) => work::run(args, quiet),
        Command::PackObjects(args) => pack_objects::run(args, quiet),
        Command::Push(args) => push::run(args, quiet),
        Command::Clone(args) => clone::run(args, quiet),
        Command::Status(args) => status::run(args),
        Command::Stat(args) => stat::run(args),
        Command::Check(args) => Ok(check::run(args, quiet)),
        Command::Parity(args) => parity::run(args, quiet),
        Command::Rebuild(args) => rebuild::run(args, quiet),
        Command::Gc(args) => gc::run(args, quiet),
        Command::Compress(args) => compress::run(args, false, cli.verbosity),
        Command::Decompress(args) => compress::run(args, true, cli.verbosity),
        Command::Test(args) => compress::test(args, cli.verbosity),
        Command::List(args) => compress::list(args),
        Command::Train(args) => train::run(args, quiet),
        Command::Model(args) => model::run(args),
        Command::Eval(args) => eval::run(args, quiet),
        Command::Generate(args) => generate::run(args, quiet),
        Command::Manual(args) => manual::run(args),
    }
}

/// Whether what the command writes are files that the user names, and not those of a store.
fn names_its_files(command: &Command) -> bool {
    matches!(
        command,
        Command::Compress(_)
            | Command::Decompress(_)
            | Command::Eval(_)
            | Command::Generate(_)
            | Command::PackObjects(_)
            | Command::Model(_)
            | Command::Manual(_)
    )
}

/// Logs go to standard error: warnings, what a daemon does, more with `-v`, or what `LMFS_LOG` says. The journal has
/// its own clock.
fn start_log(cli: &Cli) {
    let level = level(
        cli.verbosity,
        matches!(cli.command, Command::Mount(_) | Command::Work(_)),
    );
    let mut filter = EnvFilter::builder()
        .with_default_directive(level.into())
        .with_env_var(LOG_VARIABLE)
        .from_env_lossy();
    if cli.verbosity.verbose == 0 && std::env::var_os(LOG_VARIABLE).is_none() {
        // llama.cpp warns of many models that do what they should. fuser calls it an error when the kernel no longer
        // wants a reply, because the caller was killed or the mount detached.
        for less in ["llama-cpp-2=error", "fuser::reply=off"] {
            filter = less.parse().into_iter().fold(filter, EnvFilter::add_directive);
        }
    }
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        // What the log does not take cannot be said there either: trying that is a panic.
        .log_internal_errors(false)
        .with_ansi(stderr().is_terminal())
        .with_target(cli.verbosity.verbose > 1);
    if logs_to_journal() {
        log.without_time().init();
    } else {
        log.init();
    }
}

/// Whether standard error is what systemd connected to the journal (systemd.exec(5)): the variable reaches programs
/// whose output goes elsewhere, too.
fn logs_to_journal() -> bool {
    let Ok(found) = fstat(stderr()) else { return false };
    std::env::var("JOURNAL_STREAM").is_ok_and(|stream| stream == format!("{}:{}", found.st_dev, found.st_ino))
}

fn level(verbosity: Verbosity, daemon: bool) -> tracing_subscriber::filter::LevelFilter {
    use tracing_subscriber::filter::LevelFilter;
    match (verbosity.quiet, verbosity.verbose) {
        (true, _) => LevelFilter::ERROR,
        (_, 0) if !daemon => LevelFilter::WARN,
        (_, 0) => LevelFilter::INFO,
        (_, 1) => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    }
}
