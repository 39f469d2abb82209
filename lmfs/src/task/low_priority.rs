//! Threads for work that nobody waits for.

use rayon::{ThreadPool, ThreadPoolBuilder};

/// A pool whose threads take every idle moment of a core and none that somebody else wants (nice 19).
///
/// They are for pure computing. A thread of this priority that held a lock could be kept from running, and with it from
/// letting go, for as long as the cores are busy; everybody who wants the lock would wait (priority inversion). So what
/// touches a store, or anything shared, runs on a thread of normal priority, which has this pool do the computing
/// ([`ThreadPool::install`]).
///
/// # Errors
/// When the system gives no threads.
pub fn low_priority_pool(name: &'static str, threads: usize) -> std::io::Result<ThreadPool> {
    ThreadPoolBuilder::new()
        .num_threads(threads.max(1))
        .thread_name(move |n| format!("{name}-{n}"))
        .start_handler(|_| {
            if let Err(error) = rustix::process::setpriority_process(None, 19) {
                tracing::warn!(%error, "threads in the background keep their priority");
            }
        })
        .build()
        .map_err(std::io::Error::other)
}
