//! Undoes what a caller may leave to this process: blocked signals, low limits, open descriptors.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGXFSZ};

use crate::proc_status::field;

/// Undoes what the caller left behind and no command can work with. Called first, while there is one thread.
pub fn normalise() {
    // What cannot be changed shows where it hurts.
    let _ = accept_signals();
    raise_to_maximum(Resource::Nofile);
}

/// Blocked signals would not end a command, and an ignored SIGCHLD makes waiting for a child fail. A write beyond the
/// limit of file sizes is an error like any other, not the end of the process. Handlers, unlike ignored signals, do not
/// reach the programs that this one starts.
fn accept_signals() -> io::Result<()> {
    // SAFETY: both sets are valid for the calls, and no other thread runs yet.
    #[allow(unsafe_code, reason = "neither std nor rustix changes the mask of signals")]
    unsafe {
        let mut none = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
    let ignored = [SIGCHLD].into_iter().filter(|&signal| is_ignored(signal));
    for signal in ignored.chain([SIGXFSZ]) {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}

/// The signals that end this process well. Those that it was started to ignore do not: SIGHUP under `nohup`, SIGINT
/// behind an `&` in a script.
pub fn ending_signals() -> Vec<i32> {
    let wanted = [SIGINT, SIGHUP].into_iter().filter(|&signal| !is_ignored(signal));
    wanted.chain([SIGTERM]).collect()
}

/// Whether this process was started to ignore a signal (`SigIgn`: a bit each).
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = field(&status, "SigIgn").and_then(|mask| u64::from_str_radix(mask, 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Raises a limit as far as everybody may.
pub fn raise_to_maximum(resource: Resource) {
    let limit = getrlimit(resource);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // A limit that stays is met, or reported, where it matters.
    let _ = setrlimit(resource, raised);
}

/// Files that are made from now on are for their owner: the caller's umask is for files that the caller names.
pub fn keep_files_private() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

/// Lifts a limit altogether, or raises it as far as it goes; returns what is left of it.
pub fn lift(resource: Resource) -> Option<u64> {
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    if setrlimit(resource, unlimited).is_err() {
        raise_to_maximum(resource);
    }
    getrlimit(resource).current
}

/// Keeps the descriptors that this process inherited from the programs that it starts: a lock or a pipe of the caller's
/// would be held for as long as they run.
pub fn keep_inherited_descriptors() {
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    let numbers = open
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    for number in numbers.filter(|&number: &i32| number > 2) {
        // SAFETY: the call takes integers only, and a descriptor that is closed by now makes it fail.
        #[allow(unsafe_code, reason = "descriptors that nobody owns")]
        unsafe {
            libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC);
        }
    }
}
