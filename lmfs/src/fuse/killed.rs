//! Ends requests whose callers were killed.
//!
//! The kernel lets a killed process end only when its request is answered. It tells of signals by FUSE_INTERRUPT, but
//! not of which, and not for direct reads that it sends in the background. Most signals must not end a request: a
//! program that gets SIGCHLD or SIGURG does not expect EINTR from a file. So FUSE_INTERRUPT is not used at all. While
//! requests wait, their callers are looked at a few times a second: one that has SIGKILL pending, which is what every
//! fatal signal becomes for each thread of a process, will see no answer, and its request ends with EINTR.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::proc_status::field;
use crate::task::Interrupt;

/// How often callers are looked at, and how long a request waits before its caller is.
const GLANCE: Duration = Duration::from_millis(200);

/// The requests that wait.
#[derive(Default)]
pub struct Watch {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    next: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    requests: HashMap<u64, (u32, Interrupt)>,
    ended: bool,
}

/// A request that waits. Dropping this ends the watching.
pub struct Watched {
    shared: Arc<Shared>,
    number: u64,
    /// Set when the caller was killed.
    pub interrupt: Interrupt,
}

impl Watch {
    /// Starts the thread that looks.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start() -> std::io::Result<Watch> {
        let watch = Watch::default();
        let shared = watch.shared.clone();
        std::thread::Builder::new()
            .name("lmfs-killed".into())
            .spawn(move || shared.look())?;
        Ok(watch)
    }

    /// A request of thread `pid` begins to wait.
    pub fn watch(&self, pid: u32) -> Watched {
        let interrupt = Interrupt::default();
        let number = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let mut waiting = self.shared.waiting.lock();
        waiting.requests.insert(number, (pid, interrupt.clone()));
        if waiting.requests.len() == 1 {
            self.shared.changed.notify_one();
        }
        Watched {
            shared: self.shared.clone(),
            number,
            interrupt,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.waiting.lock().ended = true;
        self.shared.changed.notify_one();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.shared.waiting.lock().requests.remove(&self.number);
    }
}

impl Shared {
    fn look(&self) {
        loop {
            let mut waiting = self.waiting.lock();
            while waiting.requests.is_empty() && !waiting.ended {
                self.changed.wait(&mut waiting);
            }
            if waiting.ended {
                return;
            }
            // Those that are there now will have waited for a glance when they are looked at.
            let requests: Vec<(u64, u32)> = waiting.requests.iter().map(|(n, (pid, _))| (*n, *pid)).collect();
            drop(waiting);
            std::thread::sleep(GLANCE);
            for (number, pid) in requests {
                let still_waits = self.waiting.lock().requests.get(&number).map(|(_, i)| i.clone());
                if let Some(interrupt) = still_waits
                    && is_killed(pid)
                {
                    interrupt.set();
                }
            }
        }
    }
}

/// Whether a thread has SIGKILL pending. No for one that cannot be seen: of another pid namespace, or gone.
fn is_killed(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
    status.is_ok_and(|status| ["SigPnd", "ShdPnd"].iter().any(|set| has_kill(field(&status, set))))
}

/// Whether SIGKILL is in a set of signals as `/proc/PID/status` shows it (man 5 proc_pid_status).
fn has_kill(set: Option<&str>) -> bool {
    let bits = set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    bits.is_some_and(|bits| bits & (1 << (libc::SIGKILL - 1)) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_is_seen_among_pending_signals_and_nothing_else_is() {
        assert!(has_kill(Some("0000000000000100")) && has_kill(Some("0000000000014102\n")));
        assert!(!has_kill(Some("0000000000014002")) && !has_kill(Some("none")) && !has_kill(None));
        assert!(!is_killed(std::process::id()) && !is_killed(0));
    }
}
