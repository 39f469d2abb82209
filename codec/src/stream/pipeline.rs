//! Work done by several threads and returned in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;

use crate::{Error, Result, Stop};

/// An output and what was coded for it ([`Stop::coded`]).
type Reply<O> = (O, u64);
type Job<I, O> = (I, Sender<Reply<O>>);
type Work<I, O> = dyn Fn(I, &Stop) -> O + Send + Sync;

/// More threads than this are never started.
const MOST_THREADS: usize = 1024;

/// Threads that map inputs to outputs. Inputs go in with [`submit`](Pipeline::submit), outputs come out in the same
/// order; at most `2 * threads` are inside.
pub(super) struct Pipeline<I, O> {
    /// Until it is dropped.
    jobs: Option<Sender<Job<I, O>>>,
    inbox: Arc<Mutex<Receiver<Job<I, O>>>>,
    work: Arc<Work<I, O>>,
    /// Set when this is dropped.
    stop: Stop,
    outputs: VecDeque<Receiver<Reply<O>>>,
    /// What was coded for the outputs that came out.
    coded: u64,
    /// Threads that may be started, and that were.
    threads: usize,
    started: Vec<JoinHandle<()>>,
}

impl<I: Send + 'static, O: Send + 'static> Pipeline<I, O> {
    /// With so many threads, each started when there is work for it. `work` gets a flag that is set with `stop`, and
    /// when the pipeline is dropped, which waits for the threads to end.
    pub(super) fn new(
        threads: usize,
        stop: &Stop,
        work: impl Fn(I, &Stop) -> O + Send + Sync + 'static,
    ) -> Pipeline<I, O> {
        let (jobs, inbox) = channel();
        Pipeline {
            jobs: Some(jobs),
            inbox: Arc::new(Mutex::new(inbox)),
            work: Arc::new(work),
            stop: stop.child(),
            outputs: VecDeque::new(),
            coded: 0,
            threads: threads.clamp(1, MOST_THREADS),
            started: Vec::new(),
        }
    }

    fn start(&mut self) -> Result<()> {
        let (inbox, work, stop) = (Arc::clone(&self.inbox), Arc::clone(&self.work), self.stop.clone());
        let body = move || {
            loop {
                let job = inbox.lock().recv();
                let Ok((input, reply)) = job else { return };
                let part = stop.child();
                let output = work(input, &part);
                // Nobody waits for the output of a pipeline that was dropped.
                let _ = reply.send((output, part.coded()));
            }
        };
        match thread::Builder::new().name("lmz".into()).spawn(body) {
            Ok(thread) => self.started.push(thread),
            // Those that there are do the work of the others.
            Err(_) if !self.started.is_empty() => self.threads = self.started.len(),
            Err(source) => return Err(Error::io("starting a thread", source)),
        }
        Ok(())
    }

    /// Whether [`next`](Pipeline::next) must be called before more is submitted.
    pub(super) fn is_full(&self) -> bool {
        self.outputs.len() >= 2 * self.threads
    }

    /// Hands over an input.
    pub(super) fn submit(&mut self, input: I) -> Result<()> {
        if self.started.len() < self.threads {
            self.start()?;
        }
        let (reply, output) = channel();
        self.outputs.push_back(output);
        let jobs = self.jobs.as_ref().ok_or_else(ended)?;
        jobs.send((input, reply)).map_err(|_| ended())
    }

    /// Waits for the oldest output; `None` if nothing is inside. Meanwhile `waiting` is told several times a second
    /// what was coded so far of all that is inside.
    pub(super) fn next(&mut self, mut waiting: impl FnMut(u64)) -> Option<Result<O>> {
        let output = self.outputs.pop_front()?;
        loop {
            match output.recv_timeout(Stop::TICK) {
                Err(RecvTimeoutError::Timeout) => waiting(self.stop.coded().saturating_sub(self.coded)),
                Err(RecvTimeoutError::Disconnected) => return Some(Err(ended())),
                Ok((output, coded)) => {
                    self.coded += coded;
                    return Some(Ok(output));
                }
            }
        }
    }
}

impl<I, O> Drop for Pipeline<I, O> {
    fn drop(&mut self) {
        self.stop.set();
        drop(self.jobs.take());
        for thread in self.started.drain(..) {
            // One that panicked has no output, which was noticed if anybody waited for it.
            let _ = thread.join();
        }
    }
}

fn ended() -> Error {
    Error::io(
        "coding blocks",
        std::io::Error::other("a worker thread ended unexpectedly"),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Regression: a block that took minutes showed nothing until it was done.
    #[test]
    fn who_waits_is_told_what_was_coded_so_far() {
        let (seen, told) = channel();
        let told = Mutex::new(told);
        let work = move |bytes: u64, stop: &Stop| {
            stop.count(bytes);
            told.lock().recv().unwrap()
        };
        let mut pipeline = Pipeline::new(1, &Stop::new(), work);
        for bytes in [30, 4] {
            pipeline.submit(bytes).unwrap();
            let mut heard = Vec::new();
            let output = pipeline.next(|coded| {
                heard.push(coded);
                if coded == bytes {
                    seen.send(coded + 1).unwrap();
                }
            });
            assert_eq!(output.unwrap().unwrap(), bytes + 1);
            assert!(heard.contains(&bytes), "{heard:?}");
        }
    }

    #[test]
    fn dropping_it_ends_its_work_and_its_threads() {
        let (held, whole) = (Arc::new(()), Stop::new());
        let inside = Arc::clone(&held);
        let endless = move |(), stop: &Stop| {
            let _inside = &inside;
            while !stop.is_set() {
                thread::yield_now();
            }
        };
        let mut pipeline = Pipeline::new(3, &whole, endless);
        while !pipeline.is_full() {
            pipeline.submit(()).unwrap();
        }
        drop(pipeline);
        assert_eq!(Arc::strong_count(&held), 1);
        assert!(!whole.is_set());
    }
}
