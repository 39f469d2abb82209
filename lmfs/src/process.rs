//! What the system says of a process: `/proc/PID/status` (proc_pid_status(5)).

/// The value of a field, such as `Groups`.
pub fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let value = |line: &'a str| line.strip_prefix(name)?.strip_prefix(':');
    status.lines().find_map(value).map(str::trim)
}
