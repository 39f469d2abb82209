//! Work that ends at Ctrl-C.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use lmfs_codec::{Error, Result, Stop};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::raised;

/// How often Python is asked for signals.
const TICK: Duration = Duration::from_millis(50);

/// Does work on a thread of its own, without the interpreter's lock. The calling thread looks for signals meanwhile.
pub fn interruptible<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce(&Stop) -> Result<T> + Send + 'static,
) -> PyResult<T> {
    interruptible_by(py, &Stop::new(), work)
}

/// The same, with the flag that ends it.
pub fn interruptible_by<T: Send + 'static>(
    py: Python<'_>,
    stop: &Stop,
    work: impl FnOnce(&Stop) -> Result<T> + Send + 'static,
) -> PyResult<T> {
    let (sender, receiver) = channel();
    let flag = stop.clone();
    let body = move || {
        // Nobody may be there to take it.
        let _ = sender.send(work(&flag));
    };
    let thread = thread::Builder::new().name("lmfs".into()).spawn(body)?;
    let mut interrupted = None;
    // Only one thread receives, but Python's lock can only be given up around what may be shared.
    let receiver = parking_lot::Mutex::new(receiver);
    loop {
        match py.detach(|| receiver.lock().recv_timeout(TICK)) {
            Ok(done) => {
                return match interrupted {
                    Some(error) => Err(error),
                    None => done.map_err(raised),
                };
            }
            Err(RecvTimeoutError::Timeout) => {
                if let Err(error) = py.check_signals() {
                    stop.set();
                    interrupted = Some(error);
                }
            }
            Err(RecvTimeoutError::Disconnected) => {
                // It ended without an answer.
                let _ = thread.join();
                return Err(PyRuntimeError::new_err(
                    "a thread that codes blocks ended unexpectedly",
                ));
            }
        }
    }
}

/// Runs work on several threads and returns what came of it in order; the first error of any ends it.
pub fn in_parallel<I: Sync, O: Send>(
    inputs: &[I],
    threads: usize,
    stop: &Stop,
    work: impl Fn(&I, &Stop) -> Result<O> + Sync,
) -> Result<Vec<O>> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let part = stop.child();
    let run = || {
        let mut done = Vec::new();
        while let Some((number, input)) = {
            let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            inputs.get(number).map(|input| (number, input))
        } {
            let output = work(input, &part);
            if output.is_err() {
                part.set();
            }
            done.push((number, output));
        }
        done
    };
    let mut all: Vec<(usize, Result<O>)> = thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(inputs.len()))
            .map(|_| scope.spawn(run))
            .collect();
        let mut all = run();
        for other in others {
            match other.join() {
                Ok(done) => all.extend(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    });
    all.sort_by_key(|(number, _)| *number);
    // That others were ended is not why.
    if let Some(at) = all.iter().position(
        |(_, output)| matches!(output, Err(error) if !matches!(error, Error::Interrupted)),
    ) {
        return all.swap_remove(at).1.map(|_| Vec::new());
    }
    all.into_iter().map(|(_, output)| output).collect()
}
