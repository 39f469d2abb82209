//! What the system says of processes: fields of /proc/PID/status (proc_pid_status(5)), processor time.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Processor time that this thread has used: what other programs take is not in it.
pub fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// The value of a field, such as `Groups`.
pub fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let value = |line: &'a str| line.strip_prefix(name)?.strip_prefix(':');
    status.lines().find_map(value).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// `lmfs eval` called 31 seconds of waiting the work of a core.
    #[test]
    fn time_that_is_waited_is_no_processor_time() {
        let begun = processor_time();
        std::thread::sleep(Duration::from_millis(300));
        let waited = processor_time().saturating_sub(begun);
        assert!(waited < Duration::from_millis(100), "{waited:?} of work while asleep");
        let (enough, deadline) = (
            processor_time() + Duration::from_millis(20),
            Instant::now() + Duration::from_secs(60),
        );
        while processor_time() < enough {
            assert!(Instant::now() < deadline, "work takes processor time");
        }
    }
}
