//! Futures on a pool of threads.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::{Condvar, Mutex};

use super::{Asker, Pool};

/// Polls futures on a few threads, those of each asker in turn. A poll that panics is logged and counted, and takes
/// nothing with it but its future.
pub struct Executor {
    pool: Arc<Pool>,
    alive: Arc<Alive>,
}

impl Executor {
    /// Starts `threads` threads named `name`-0, `name`-1 and so on.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub fn new(name: &str, threads: usize) -> std::io::Result<Executor> {
        Ok(Executor {
            pool: Arc::new(Pool::new(name, threads)?),
            alive: Arc::default(),
        })
    }

    /// Runs a future to its end. After [`Executor::shutdown`] it is dropped.
    pub fn spawn(&self, asker: Asker, future: impl Future<Output = ()> + Send + 'static) {
        let alive = AliveGuard::new(&self.alive);
        let future = async move {
            let _until_it_ends = alive;
            future.await;
        };
        let task = Arc::new(Task {
            future: Mutex::new(Some(Box::pin(future))),
            phase: AtomicU8::new(IDLE),
            asker,
            pool: self.pool.clone(),
        });
        task.wake();
    }

    /// How many polls panicked.
    pub fn panics(&self) -> u64 {
        self.pool.panics()
    }

    /// Waits until every future has ended, then ends the threads. May be called again.
    pub fn shutdown(&self) {
        let mut count = self.alive.count.lock();
        while *count > 0 {
            self.alive.none.wait(&mut count);
        }
        drop(count);
        self.pool.shutdown();
    }
}

/// How many futures have not ended.
#[derive(Default)]
struct Alive {
    count: Mutex<usize>,
    none: Condvar,
}

struct AliveGuard(Arc<Alive>);

impl AliveGuard {
    fn new(alive: &Arc<Alive>) -> AliveGuard {
        *alive.count.lock() += 1;
        AliveGuard(alive.clone())
    }
}

impl Drop for AliveGuard {
    fn drop(&mut self) {
        let mut count = self.0.count.lock();
        *count -= 1;
        if *count == 0 {
            self.0.none.notify_all();
        }
    }
}

/// It waits to be woken, or it has ended.
const IDLE: u8 = 0;
/// It is in the pool's queue.
const QUEUED: u8 = 1;
/// A thread polls it.
const RUNNING: u8 = 2;
/// A thread polls it, and it was woken meanwhile: it has to be polled once more.
const WOKEN: u8 = 3;

struct Task {
    /// `None` while it is polled, and when it has ended.
    future: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
    phase: AtomicU8,
    asker: Asker,
    pool: Arc<Pool>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let next = |phase| match phase {
            IDLE => Some(QUEUED),
            RUNNING => Some(WOKEN),
            _ => None,
        };
        if self.phase.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next) == Ok(IDLE) {
            self.queue();
        }
    }
}

impl Task {
    fn queue(self: Arc<Self>) {
        let (asker, pool) = (self.asker, self.pool.clone());
        pool.run(asker, move || self.poll());
    }

    fn poll(self: Arc<Self>) {
        self.phase.store(RUNNING, Ordering::SeqCst);
        // Taken out, so that a panic drops it.
        let Some(mut future) = self.future.lock().take() else {
            return;
        };
        let waker = Waker::from(self.clone());
        if future.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Pending {
            *self.future.lock() = Some(future);
            let waits = self
                .phase
                .compare_exchange(RUNNING, IDLE, Ordering::SeqCst, Ordering::SeqCst);
            if waits.is_err() {
                self.phase.store(QUEUED, Ordering::SeqCst);
                self.queue();
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::sync::mpsc;

    use tokio::sync::oneshot;

    use super::super::yield_now;
    use super::*;

    const ME: Asker = Asker { uid: 1, pid: 1 };

    /// Regression: each job held a thread while it waited, and eight that waited stopped all others.
    #[test]
    fn any_number_of_futures_that_wait_keep_none_from_running() {
        let executor = Executor::new("test", 1).unwrap();
        let (done, order) = mpsc::channel();
        let mut gates = Vec::new();
        for n in 0..1000 {
            let (gate, wait) = oneshot::channel::<()>();
            gates.push(gate);
            let done = done.clone();
            executor.spawn(ME, async move {
                wait.await.unwrap();
                done.send(n).unwrap();
            });
        }
        let quick = done.clone();
        executor.spawn(ME, async move { quick.send(1000).unwrap() });
        assert_eq!(order.recv().unwrap(), 1000);
        gates.into_iter().for_each(|gate| gate.send(()).unwrap());
        executor.shutdown();
        assert_eq!(order.try_iter().count(), 1000);
    }

    #[test]
    fn a_future_that_yields_lets_others_run_between_its_steps() {
        let executor = Executor::new("test", 1).unwrap();
        let (steps, other) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(u64::MAX)));
        let (gate, wait) = oneshot::channel::<()>();
        let (counted, seen) = (steps.clone(), other.clone());
        executor.spawn(ME, async move {
            wait.await.unwrap();
            for _ in 0..100 {
                counted.fetch_add(1, Ordering::SeqCst);
                yield_now().await;
            }
        });
        let counted = steps.clone();
        executor.spawn(ME, async move {
            gate.send(()).unwrap();
            yield_now().await;
            seen.store(counted.load(Ordering::SeqCst), Ordering::SeqCst);
        });
        executor.shutdown();
        assert_eq!(steps.load(Ordering::SeqCst), 100);
        assert!(other.load(Ordering::SeqCst) <= 2, "{other:?}");
    }

    #[test]
    fn a_panic_drops_its_future_alone() {
        let executor = Executor::new("test", 2).unwrap();
        let held = Arc::new(());
        let inside = held.clone();
        executor.spawn(ME, async move {
            let _inside = inside;
            yield_now().await;
            panic!("expected by this test");
        });
        let (done, end) = mpsc::channel();
        executor.spawn(ME, async move { done.send(5).unwrap() });
        assert_eq!(end.recv().unwrap(), 5);
        executor.shutdown();
        assert_eq!((executor.panics(), Arc::strong_count(&held)), (1, 1));
    }
}
