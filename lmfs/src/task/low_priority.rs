//! Threads for work that nobody waits for.

use std::cell::RefCell;
use std::sync::mpsc::{Sender, channel};

use rayon::{ThreadPool, ThreadPoolBuilder};

type Errand = Box<dyn FnOnce() + Send>;

thread_local! {
    /// On a thread of low priority: who does what it must not do itself.
    static ERRANDS: RefCell<Option<Sender<Errand>>> = const { RefCell::new(None) };
}

/// A pool whose threads take every idle moment of a core and none that somebody else wants (nice 19).
///
/// They are for pure computing. A thread of this priority that held a lock could be kept from running, and with it from
/// letting go, for as long as the cores are busy; everybody who wants the lock would wait (priority inversion). So what
/// touches a store, or anything shared, runs on a thread of normal priority, which has this pool do the computing
/// ([`ThreadPool::install`]), or which the pool sends on an errand ([`at_normal_priority`]).
///
/// # Errors
/// When the system gives no threads.
pub fn low_priority_pool(name: &'static str, threads: usize) -> std::io::Result<ThreadPool> {
    let (errands, sent) = channel::<Errand>();
    // It ends with the last thread of the pool.
    std::thread::Builder::new()
        .name(format!("{name}-io"))
        .spawn(move || sent.iter().for_each(|errand| errand()))?;
    ThreadPoolBuilder::new()
        .num_threads(threads.max(1))
        .thread_name(move |n| format!("{name}-{n}"))
        .start_handler(move |_| {
            ERRANDS.set(Some(errands.clone()));
            if let Err(error) = rustix::process::setpriority_process(None, 19) {
                tracing::warn!(%error, "threads in the background keep their priority");
            }
        })
        .build()
        .map_err(std::io::Error::other)
}

/// Does what takes locks of a store on a thread of normal priority: on this one, unless it belongs to a pool of low
/// priority.
pub fn at_normal_priority<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let Some(errands) = ERRANDS.with_borrow(Clone::clone) else {
        return work();
    };
    let (answer, answered) = channel();
    let errand = move || {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        // Nobody waits any more: then nobody needs it.
        let _ = answer.send(result);
    };
    let lost = "the thread that does errands ended before the pool";
    #[expect(
        clippy::expect_used,
        reason = "it lives as long as a sender, and catches what panics"
    )]
    let result = {
        errands.send(Box::new(errand)).expect(lost);
        answered.recv().expect(lost)
    };
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use rustix::process::getpriority_process;

    use super::*;

    /// Of the calling thread, as the system keeps it for each.
    fn priority() -> i32 {
        getpriority_process(None).unwrap()
    }

    #[test]
    fn errands_run_at_the_priority_of_who_made_the_pool() {
        let pool = low_priority_pool("test", 2).unwrap();
        let mine = std::thread::current().id();
        let before = priority();
        let (low, (errand, doer)) = pool.install(|| {
            let errand = at_normal_priority(|| (priority(), std::thread::current().id()));
            (priority(), errand)
        });
        assert_eq!((low, errand), (19, before));
        assert_ne!(doer, mine);
        assert_eq!(at_normal_priority(|| std::thread::current().id()), mine);
    }

    #[test]
    fn a_panic_of_an_errand_is_one_of_who_sent_it() {
        let pool = low_priority_pool("test", 1).unwrap();
        let panics = || pool.install(|| at_normal_priority(|| std::panic::panic_any(7)));
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics));
        assert_eq!(caught.unwrap_err().downcast_ref(), Some(&7));
        assert_eq!(pool.install(|| at_normal_priority(|| 8)), 8, "the next one is done");
    }
}
