//! Ctrl-C: the first asks the work to end well, a second ends the program.

use std::thread;

use anyhow::Context;
use lmfs_codec::Stop;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// A flag that Ctrl-C or SIGTERM sets.
///
/// # Errors
/// When signals cannot be watched.
pub fn stop_on_interrupt() -> anyhow::Result<Stop> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot watch for signals")?;
    let stop = Stop::new();
    let flag = stop.clone();
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in &mut signals {
            if flag.is_set() {
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
            flag.set();
        }
    })?;
    Ok(stop)
}
