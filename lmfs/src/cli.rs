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
mod log;
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

use std::process::ExitCode;

use clap::Parser;

use crate::process_setup;
use args::{Cli, Command};

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
    log::start(&cli);
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
