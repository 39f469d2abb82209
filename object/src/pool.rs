//! Threads that encode and decode. They are not tokio's for blocking work, of which there may be 512: each block by a
//! language model takes 34 MiB and more.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use object_store::{Error, Result};
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::error::generic;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    started: usize,
    idle: usize,
    closed: bool,
}

/// So many threads, each started when there is work for it. They end when this is dropped and the queue is empty.
pub struct Pool {
    queue: Arc<Queue>,
    threads: usize,
}

impl Pool {
    pub fn new(threads: usize) -> Pool {
        Pool {
            queue: Arc::default(),
            threads,
        }
    }

    /// Queues `work` at once. It is not begun any more when the future was dropped before.
    pub fn run<T, F>(&self, work: F) -> impl Future<Output = Result<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (reply, output) = oneshot::channel();
        let job = move || {
            if !reply.is_closed() {
                // Nobody may be there to take it.
                let _ = reply.send(work());
            }
        };
        let queued = self.push(Box::new(job));
        async move {
            queued?;
            output
                .await
                .map_err(|_| generic("a thread that codes blocks ended unexpectedly"))
        }
    }

    fn push(&self, job: Job) -> Result<()> {
        let mut state = self.queue.state.lock();
        if state.idle <= state.jobs.len() && state.started < self.threads {
            match start(&self.queue) {
                Ok(()) => state.started += 1,
                // Those that there are do its work.
                Err(_) if state.started > 0 => {}
                Err(error) => return Err(error),
            }
        }
        state.jobs.push_back(job);
        drop(state);
        self.queue.arrived.notify_one();
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue.state.lock().closed = true;
        self.queue.arrived.notify_all();
    }
}

fn start(queue: &Arc<Queue>) -> Result<(), Error> {
    let queue = Arc::clone(queue);
    let spawned = thread::Builder::new().name("lmfs-object".into()).spawn(move || {
        while let Some(job) = next(&queue) {
            // Its future learns of a panic because nothing was sent. The thread goes on.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
    });
    spawned.map(drop).map_err(generic)
}

fn next(queue: &Queue) -> Option<Job> {
    let mut state = queue.state.lock();
    loop {
        if let Some(job) = state.jobs.pop_front() {
            return Some(job);
        }
        if state.closed {
            return None;
        }
        state.idle += 1;
        queue.arrived.wait(&mut state);
        state.idle -= 1;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn everything_is_done_by_no_more_threads_than_were_asked_for() {
        let pool = Pool::new(3);
        let running = Arc::new(Mutex::new((0, 0)));
        let jobs = (0..50).map(|number| {
            let running = Arc::clone(&running);
            pool.run(move || {
                let mut at = running.lock();
                at.0 += 1;
                at.1 = at.1.max(at.0);
                drop(at);
                thread::sleep(std::time::Duration::from_millis(1));
                running.lock().0 -= 1;
                number
            })
        });
        let done: Vec<i32> = join_all(jobs).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(done, (0..50).collect::<Vec<_>>());
        assert!((1..=3).contains(&running.lock().1));
    }

    #[tokio::test]
    async fn work_that_panics_is_an_error_and_the_next_is_done() {
        let pool = Pool::new(1);
        assert!(pool.run(|| panic!("for the test")).await.is_err());
        assert_eq!(pool.run(|| 7).await.unwrap(), 7);
    }
}
