//! The `lmfs` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    lmfs::cli::main()
}
