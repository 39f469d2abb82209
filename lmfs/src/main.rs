//! The `lmfs` command.

mod standard_streams;

use std::process::ExitCode;

fn main() -> ExitCode {
    lmfs::main()
}
