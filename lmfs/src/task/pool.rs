//! A thread pool, a fixed number of threads that run jobs: urgent ones first, idle ones when nothing urgent waits.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use super::{Asker, FairQueue};

type Job = Box<dyn FnOnce() + Send>;

/// A pool of threads. Urgent jobs run before idle ones, those of each asker in turn. A job that panics is logged and
/// counted and takes nothing with it.
pub struct Pool {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    ready: Condvar,
    panics: AtomicU64,
}

#[derive(Default)]
struct Queue {
    urgent: FairQueue<Job>,
    idle: VecDeque<Job>,
    closed: bool,
}

impl Pool {
    /// Starts `threads` threads named `name`-0, `name`-1 and so on.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub fn new(name: &str, threads: usize) -> std::io::Result<Pool> {
        let shared = Arc::new(Shared::default());
        let handles = (0..threads.max(1))
            .map(|i| {
                let shared = shared.clone();
                std::thread::Builder::new()
                    .name(format!("{name}-{i}"))
                    .spawn(move || shared.work())
            })
            .collect::<std::io::Result<Vec<_>>>()?;
        Ok(Pool {
            shared,
            threads: Mutex::new(handles),
        })
    }

    /// Runs `job` as soon as a thread is free and it is `asker`'s turn. After [`Pool::shutdown`] the job is dropped.
    pub fn run(&self, asker: Asker, job: impl FnOnce() + Send + 'static) {
        let mut queue = self.shared.queue.lock();
        if !queue.closed {
            queue.urgent.push(asker, Box::new(job));
            self.shared.ready.notify_one();
        }
    }

    /// Runs `job` when a thread is free and nothing urgent waits.
    pub fn run_idle(&self, job: impl FnOnce() + Send + 'static) {
        let mut queue = self.shared.queue.lock();
        if !queue.closed {
            queue.idle.push_back(Box::new(job));
            self.shared.ready.notify_one();
        }
    }

    /// How many jobs panicked.
    pub fn panics(&self) -> u64 {
        self.shared.panics.load(Ordering::Relaxed)
    }

    /// Drops idle jobs, finishes urgent ones and ends the threads. May be called again.
    pub fn shutdown(&self) {
        {
            let mut queue = self.shared.queue.lock();
            queue.closed = true;
            queue.idle.clear();
            self.shared.ready.notify_all();
        }
        let threads = std::mem::take(&mut *self.threads.lock());
        let me = std::thread::current().id();
        for thread in threads.into_iter().filter(|thread| thread.thread().id() != me) {
            // The thread catches what its jobs throw, so there is nothing to learn from the result.
            let _ = thread.join();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl Shared {
    fn work(&self) {
        while let Some(job) = self.next() {
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                self.panics.fetch_add(1, Ordering::Relaxed);
                tracing::error!(
                    thread = std::thread::current().name().unwrap_or_default(),
                    "a background job panicked; what waited for it gets an error"
                );
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.queue.lock();
        loop {
            let job = queue.urgent.pop();
            if let Some(job) = job.or_else(|| queue.idle.pop_front()) {
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            self.ready.wait(&mut queue);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const ME: Asker = Asker { uid: 1, pid: 1 };

    #[test]
    fn urgent_jobs_overtake_idle_ones() {
        let pool = Pool::new("test", 1).unwrap();
        let (gate, wait) = mpsc::channel::<()>();
        let (out, order) = mpsc::channel();
        pool.run(ME, move || wait.recv().unwrap());
        for (idle, label) in [(true, "idle 1"), (true, "idle 2"), (false, "urgent")] {
            let out = out.clone();
            let job = move || out.send(label).unwrap();
            if idle { pool.run_idle(job) } else { pool.run(ME, job) }
        }
        gate.send(()).unwrap();
        let seen: Vec<_> = order.iter().take(3).collect();
        assert_eq!(seen, ["urgent", "idle 1", "idle 2"]);
    }

    #[test]
    fn a_panic_is_counted_and_the_thread_lives_on() {
        let pool = Pool::new("test", 1).unwrap();
        pool.run(ME, || panic!("expected by this test"));
        let (out, done) = mpsc::channel();
        pool.run(ME, move || out.send(5).unwrap());
        assert_eq!(done.recv().unwrap(), 5);
        assert_eq!(pool.panics(), 1);
    }

    #[test]
    fn shutdown_finishes_what_is_urgent() {
        let pool = Pool::new("test", 2).unwrap();
        let count = Arc::new(AtomicU64::new(0));
        for _ in 0..100 {
            let count = count.clone();
            pool.run(ME, move || {
                count.fetch_add(1, Ordering::Relaxed);
            });
        }
        pool.shutdown();
        assert_eq!(count.load(Ordering::Relaxed), 100);
        pool.run(ME, || panic!("a job after the end never runs"));
        pool.shutdown();
        assert_eq!(pool.panics(), 0);
    }
}
