//! What is logged, and where to.

use std::ffi::OsStr;
use std::io::{IsTerminal, stderr};

use anyhow::Context as _;
use rustix::fs::fstat;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::args::{Cli, Command, Verbosity};

/// The environment variable that says what to log.
const VARIABLE: &str = "LMFS_LOG";

/// Logs go to standard error: warnings, what a daemon does, more with `-v`, or what `LMFS_LOG` says. The journal has
/// its own clock.
pub(super) fn start(cli: &Cli) {
    let level = level(
        cli.verbosity,
        matches!(cli.command, Command::Mount(_) | Command::Work(_)),
    );
    let asked = std::env::var_os(VARIABLE);
    let (filter, refused) = match asked.as_deref().map(filter_of) {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (Targets::new().with_default(level), Some(error)),
        // llama.cpp warns of many models that do what they should. fuser calls it an error when the kernel no longer
        // wants a reply, because the caller was killed or the mount detached.
        None if cli.verbosity.verbose == 0 => (
            Targets::new()
                .with_default(level)
                .with_target("llama-cpp-2", level.min(LevelFilter::ERROR))
                .with_target("fuser::reply", LevelFilter::OFF),
            None,
        ),
        None => (Targets::new().with_default(level), None),
    };
    let log = tracing_subscriber::fmt::layer()
        .with_writer(stderr)
        // What the log does not take cannot be said there either: trying that is a panic.
        .log_internal_errors(false)
        .with_ansi(stderr().is_terminal())
        .with_target(cli.verbosity.verbose > 1);
    let filtered = tracing_subscriber::registry().with(filter);
    if logs_to_journal() {
        filtered.with(log.without_time()).init();
    } else {
        filtered.with(log).init();
    }
    if let Some(error) = refused {
        tracing::warn!("{VARIABLE} is not obeyed: {error}. LMFS_LOG=info,lmfs=debug would be valid");
    }
}

/// The filter that `LMFS_LOG` asks for: levels, each alone or after a target and `=`, with commas between them.
fn filter_of(value: &OsStr) -> anyhow::Result<Targets> {
    Ok(value.to_str().context("it is not UTF-8")?.parse()?)
}

/// Whether standard error is what systemd connected to the journal (systemd.exec(5)): the variable reaches programs
/// whose output goes elsewhere, too.
fn logs_to_journal() -> bool {
    let Ok(found) = fstat(stderr()) else { return false };
    std::env::var("JOURNAL_STREAM").is_ok_and(|stream| stream == format!("{}:{}", found.st_dev, found.st_ino))
}

fn level(verbosity: Verbosity, daemon: bool) -> LevelFilter {
    match (verbosity.quiet, verbosity.verbose) {
        (true, _) => LevelFilter::ERROR,
        (_, 0) if !daemon => LevelFilter::WARN,
        (_, 0) => LevelFilter::INFO,
        (_, 1) => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn a_filter_names_levels_and_targets() {
        let filter = filter_of("info,lmfs=debug".as_ref()).unwrap();
        let of = |target, level| filter.would_enable(target, &level);
        assert!(of("lmfs::packer", Level::DEBUG) && of("lmfs_codec::block", Level::DEBUG));
        assert!(of("sled", Level::INFO) && !of("sled", Level::DEBUG) && !of("lmfs", Level::TRACE));
        for wrong in ["lmfs=loud", "info,lmfs=9", "a=b=info"] {
            filter_of(wrong.as_ref()).unwrap_err();
        }
    }
}
