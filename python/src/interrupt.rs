//! Work that ends at Ctrl-C.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use lmfs_codec::{Error, Result, Stop};
use parking_lot::Mutex;
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
    let receiver = Mutex::new(receiver);
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
                return Err(PyRuntimeError::new_err("a thread that codes blocks ended unexpectedly"));
            }
        }
    }
}

/// Fills a buffer piece by piece on several threads, without the interpreter's lock. Each piece has an input and a
/// length. The calling thread looks for signals meanwhile.
pub fn fill<I: Send>(
    py: Python<'_>,
    out: &mut [u8],
    pieces: Vec<(I, usize)>,
    threads: usize,
    work: impl Fn(I, &mut [u8], &Stop) -> Result<()> + Sync,
) -> PyResult<()> {
    let mut rest = out;
    let mut jobs = Vec::new();
    for (input, len) in pieces {
        let Some((piece, later)) = std::mem::take(&mut rest).split_at_mut_checked(len) else {
            return Err(PyRuntimeError::new_err("the pieces are longer than what they fill"));
        };
        jobs.push((input, piece));
        rest = later;
    }
    if !rest.is_empty() {
        return Err(PyRuntimeError::new_err(format!("{} bytes are missing", rest.len())));
    }
    let (stop, threads) = (Stop::new(), threads.min(jobs.len()));
    let jobs = Mutex::new(jobs.into_iter());
    let run = || {
        while let Some((input, piece)) = next(&jobs) {
            work(input, piece, &stop).inspect_err(|_| stop.set())?;
        }
        Ok(())
    };
    let mut interrupted = None;
    let mut failed = None;
    thread::scope(|scope| {
        let (sender, receiver) = channel();
        for _ in 0..threads {
            let sender = sender.clone();
            let run = &run;
            scope.spawn(move || {
                // Nobody may be there to take it.
                let _ = sender.send(run());
            });
        }
        drop(sender);
        let receiver = Mutex::new(receiver);
        loop {
            match py.detach(|| receiver.lock().recv_timeout(TICK)) {
                Ok(Ok(())) => {}
                // That others were ended is not why.
                Ok(Err(Error::Interrupted)) if failed.is_some() => {}
                Ok(Err(error)) => failed = Some(error),
                Err(RecvTimeoutError::Timeout) => {
                    if let Err(error) = py.check_signals() {
                        stop.set();
                        interrupted = Some(error);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    });
    match (interrupted, failed) {
        (Some(error), _) => Err(error),
        (None, Some(error)) => Err(raised(error)),
        (None, None) => Ok(()),
    }
}

fn next<T>(jobs: &Mutex<std::vec::IntoIter<T>>) -> Option<T> {
    jobs.lock().next()
}
