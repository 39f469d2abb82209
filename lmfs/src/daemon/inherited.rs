//! What a daemon takes over from the shell, script or service that starts it, and what becomes of that.
//!
//! | inherited | becomes |
//! |---|---|
//! | limits of file sizes and processor time | none, or as high as allowed: a low one would end the daemon at work |
//! | limits of memory and open files | as high as allowed without privileges: an administrator may mean them |
//! | umask | 077: files of a store are for its owner |
//! | working directory | `/`: another mount must not be busy because of it |
//! | badness for the kernel's killer of processes (`oom_score_adj`) | 0 if it was above |
//! | blocked signals, ignored SIGCHLD | undone for every command ([`process_setup::normalise`]) |
//! | ignored SIGINT and SIGHUP | ignored: that is what `nohup` and `&` in scripts are for |
//! | descriptors, session, variables of service managers | not passed on into the background ([`super::announce`]) |
//! | nice value, scheduling, cgroup, namespaces, the other limits | kept: they say what the daemon may use |

use anyhow::bail;
use rustix::process::{Resource, getrlimit};

use crate::byte_size;
use crate::process_setup;

/// A segment of the log, and the index beside it, grow to this before others begin.
const LARGE_FILE: u64 = 128 << 20;
/// What each mount needs: segments that are read from, connections, event loops.
const MANY_FILES: u64 = 256;

/// Normalises the process, while it has one thread; returns what stays that its user should know.
///
/// # Errors
/// A limit under which a store cannot be written.
pub fn normalise(read_only: bool) -> anyhow::Result<Vec<String>> {
    std::env::set_current_dir("/")?;
    process_setup::keep_files_private();
    spare_from_killer();
    for resource in [Resource::As, Resource::Data] {
        process_setup::raise_to_maximum(resource);
    }
    let file_size = process_setup::lift(Resource::Fsize);
    if let Some(most) = file_size.filter(|&most| most < LARGE_FILE && !read_only) {
        bail!(
            "no file may grow beyond {} here (`ulimit -f`), and those of a store do; raise that limit, or mount with -o ro",
            byte_size::show(most)
        );
    }
    let left = [
        file_size.map(|most| format!("no file can grow beyond {} (`ulimit -f`)", byte_size::show(most))),
        process_setup::lift(Resource::Cpu)
            .map(|seconds| format!("the daemon will be ended after {seconds} s of processor time (`ulimit -t`)")),
        getrlimit(Resource::As).current.map(|most| memory(most, "-v")),
        getrlimit(Resource::Data).current.map(|most| memory(most, "-d")),
        getrlimit(Resource::Nofile)
            .current
            .filter(|&most| most < MANY_FILES)
            .map(|most| format!("only {most} files can be open at a time (`ulimit -n`)")),
    ];
    Ok(left.into_iter().flatten().collect())
}

fn memory(most: u64, option: &str) -> String {
    format!(
        "the daemon will be ended if it needs more than {} of memory (`ulimit {option}`)",
        byte_size::show(most)
    )
}

/// Nobody wants the daemon, with data that is not stored yet, to be killed before the shell that started it.
fn spare_from_killer() {
    const FILE: &str = "/proc/self/oom_score_adj";
    let now = std::fs::read_to_string(FILE)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    if now.is_some_and(|now: i32| now > 0) {
        // In some containers nobody may.
        let _ = std::fs::write(FILE, "0");
    }
}
