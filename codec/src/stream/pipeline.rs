//! Work done by several threads and returned in order.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::{Error, Result};

type Job<I, O> = (I, Sender<O>);

/// Threads that map inputs to outputs. Inputs go in with [`submit`](Pipeline::submit), outputs come out in the same
/// order; at most `2 * threads` are inside.
pub(super) struct Pipeline<I, O> {
    jobs: Sender<Job<I, O>>,
    outputs: VecDeque<Receiver<O>>,
    most: usize,
}

impl<I: Send + 'static, O: Send + 'static> Pipeline<I, O> {
    /// Starts the threads. They end when the pipeline is dropped.
    pub(super) fn new(threads: usize, work: impl Fn(I) -> O + Send + Sync + 'static) -> Result<Pipeline<I, O>> {
        let (jobs, inbox) = channel::<Job<I, O>>();
        let (inbox, work) = (Arc::new(Mutex::new(inbox)), Arc::new(work));
        let threads = threads.max(1);
        for _ in 0..threads {
            let (inbox, work) = (Arc::clone(&inbox), Arc::clone(&work));
            let body = move || {
                loop {
                    let job = inbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((input, reply)) = job else { return };
                    // Nobody waits for the output of a pipeline that was dropped.
                    let _ = reply.send(work(input));
                }
            };
            let spawned = thread::Builder::new().name("lmz".into()).spawn(body);
            spawned.map_err(|source| Error::io("starting a thread", source))?;
        }
        Ok(Pipeline {
            jobs,
            outputs: VecDeque::new(),
            most: 2 * threads,
        })
    }

    /// Whether [`next`](Pipeline::next) must be called before more is submitted.
    pub(super) fn is_full(&self) -> bool {
        self.outputs.len() >= self.most
    }

    /// Hands over an input.
    pub(super) fn submit(&mut self, input: I) -> Result<()> {
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
