//! The `lmfs` command.

use std::process::ExitCode;

use rustix::process::{Resource, getrlimit, setrlimit};

fn main() -> ExitCode {
    allow_many_files();
    lmfs::main()
}

/// A store keeps each segment that it reads from open, and shells allow 1024 files: 64 GB. The limit for those who ask is
/// hundreds of times higher. What goes wrong without shows where files are opened.
fn allow_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _kept_as_it_was = setrlimit(Resource::Nofile, limit);
}
