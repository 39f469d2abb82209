//! Ctrl-C: the first asks the work to end well, a second ends the program.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use lmfs_codec::Stop;
use parking_lot::Mutex;
use signal_hook::iterator::Signals;

use crate::process_setup::ending_signals;

/// How long work that may wait for its input has to end well.
const GRACE: Duration = Duration::from_secs(3);

/// The signal that came, or 0.
static CAUGHT: AtomicI32 = AtomicI32::new(0);
/// A file without its name yet, which nobody wants when the program is ended.
static UNFINISHED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// A flag that is set by Ctrl-C, SIGTERM or the end of the terminal; see [`ending_signals`].
///
/// # Errors
/// When signals cannot be watched.
pub fn stop_on_interrupt() -> anyhow::Result<Stop> {
    watch(None)
}

/// The same for work that may wait for its input and then sees no flag: what has not ended after three seconds is
/// ended.
///
/// # Errors
/// When signals cannot be watched.
pub fn stop_or_end_on_interrupt() -> anyhow::Result<Stop> {
    watch(Some(GRACE))
}

/// Names the file to remove should the program be ended now; `None` once there is none.
pub fn unfinished(path: Option<&Path>) {
    *UNFINISHED.lock() = path.map(Path::to_owned);
}

/// Ends the program as the signal that came would have, so that shells see what ended it. Returns if none came.
pub fn end_as_interrupted() {
    match CAUGHT.load(Ordering::SeqCst) {
        0 => {}
        signal => end(signal),
    }
}

fn end(signal: i32) {
    if let Some(path) = UNFINISHED.lock().take() {
        let _ = std::fs::remove_file(path);
    }
    let _ = signal_hook::low_level::emulate_default_handler(signal);
}

fn watch(grace: Option<Duration>) -> anyhow::Result<Stop> {
    let mut signals = Signals::new(ending_signals()).context("cannot watch for signals")?;
    let stop = Stop::new();
    let flag = stop.clone();
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in &mut signals {
            CAUGHT.store(signal, Ordering::SeqCst);
            if flag.is_set() {
                end(signal);
            }
            flag.set();
            if let Some(grace) = grace {
                thread::spawn(move || {
                    thread::sleep(grace);
                    end(signal);
                });
            }
        }
    })?;
    Ok(stop)
}
