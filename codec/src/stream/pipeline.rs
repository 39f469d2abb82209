//! Work done by several threads and returned in order.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::{Error, Result};

type Job<I, O> = (I, Sender<O>);

/// More threads than this are never started.
const MOST_THREADS: usize = 1024;

/// Threads that map inputs to outputs. Inputs go in with [`submit`](Pipeline::submit), outputs come out in the same
/// order; at most `2 * threads` are inside.
pub(super) struct Pipeline<I, O> {
    jobs: Sender<Job<I, O>>,
    inbox: Arc<Mutex<Receiver<Job<I, O>>>>,
    work: Arc<dyn Fn(I) -> O + Send + Sync>,
    outputs: VecDeque<Receiver<O>>,
    /// Threads that may be started, and that were.
    threads: usize,
    started: usize,
}

impl<I: Send + 'static, O: Send + 'static> Pipeline<I, O> {
    /// With so many threads, each started when there is work for it. They end when the pipeline is dropped.
    pub(super) fn new(threads: usize, work: impl Fn(I) -> O + Send + Sync + 'static) -> Pipeline<I, O> {
        let (jobs, inbox) = channel();
        Pipeline {
            jobs,
            inbox: Arc::new(Mutex::new(inbox)),
            work: Arc::new(work),
            outputs: VecDeque::new(),
            threads: threads.clamp(1, MOST_THREADS),
            started: 0,
        }
    }

    fn start(&mut self) -> Result<()> {
        let (inbox, work) = (Arc::clone(&self.inbox), Arc::clone(&self.work));
        let body = move || {
            loop {
                let job = inbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok((input, reply)) = job else { return };
                // Nobody waits for the output of a pipeline that was dropped.
                let _ = reply.send(work(input));
            }
        };
        match thread::Builder::new().name("lmz".into()).spawn(body) {
            Ok(_) => self.started += 1,
            // Those that there are do the work of the others.
            Err(_) if self.started > 0 => self.threads = self.started,
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
        if self.started < self.threads {
            self.start()?;
        }
        let (reply, output) = channel();
        self.outputs.push_back(output);
        self.jobs.send((input, reply)).map_err(|_| ended())
    }

    /// Waits for the oldest output; `None` if nothing is inside.
    pub(super) fn next(&mut self) -> Option<Result<O>> {
        let output = self.outputs.pop_front()?;
        Some(output.recv().map_err(|_| ended()))
    }
}

fn ended() -> Error {
    Error::io(
        "coding blocks",
        std::io::Error::other("a worker thread ended unexpectedly"),
    )
}
