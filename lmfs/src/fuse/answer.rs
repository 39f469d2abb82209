//! Running an operation and answering it, with a guard against panics.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::killed::Watch;
use super::reply::{Answer, Refuse};
use crate::fs::{self, Errno, Error, Filesystem};
use crate::task::Asker;

/// A request that may wait: what it does and who asked.
pub struct Request {
    /// What it is called in the log.
    pub operation: &'static str,
    /// Who waits for it.
    pub asker: Asker,
}

/// Runs `run` at once and answers.
pub fn now<R: Answer<T>, T>(
    fs: &Filesystem,
    operation: &'static str,
    reply: R,
    run: impl FnOnce(&Filesystem) -> fs::Result<T>,
) {
    answer(operation, reply, guarded(fs, operation, || run(fs)));
}

/// Runs `run`, and answers when it has ended. No thread is held while it waits. It ends early when its caller is
/// killed.
pub fn later<R: Answer<T>, T: Send + 'static>(
    fs: &Arc<Filesystem>,
    watch: &Watch,
    request: Request,
    reply: R,
    run: impl Future<Output = fs::Result<T>> + Send + 'static,
) {
    let run = guarded_future(fs.clone(), request.operation, run);
    finish(fs, watch, request, reply, run);
}

/// As [`later`], but begins on this thread and answers at once if it need not wait.
pub fn soon<R: Answer<T>, T: Send + 'static>(
    fs: &Arc<Filesystem>,
    watch: &Watch,
    request: Request,
    reply: R,
    run: impl Future<Output = fs::Result<T>> + Send + 'static,
) {
    let mut run = guarded_future(fs.clone(), request.operation, run);
    match run.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => answer(request.operation, reply, result),
        Poll::Pending => finish(fs, watch, request, reply, run),
    }
}

fn finish<R: Answer<T>, T: Send + 'static>(
    fs: &Filesystem,
    watch: &Watch,
    request: Request,
    reply: R,
    run: impl Future<Output = fs::Result<T>> + Send + 'static,
) {
    let Request { operation, asker } = request;
    let watched = watch.watch(asker.pid);
    fs.spawn(asker, async move {
        let result = watched.interrupt.unless_set(run).await;
        drop(watched);
        answer(
            operation,
            reply,
            result.unwrap_or(Err(Error::new(Errno::INTR, "the caller was killed"))),
        );
    });
}

fn answer<R: Answer<T>, T>(operation: &'static str, reply: R, result: fs::Result<T>) {
    match result {
        Ok(value) => reply.answer(value),
        Err(error) => refuse(operation, reply, &error),
    }
}

/// Runs `run`; a panic is logged, counted and becomes EIO.
pub fn guarded<T>(fs: &Filesystem, operation: &'static str, run: impl FnOnce() -> fs::Result<T>) -> fs::Result<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| panicked(fs, operation))
}

/// [`guarded`] for a future.
fn guarded_future<T>(
    fs: Arc<Filesystem>,
    operation: &'static str,
    run: impl Future<Output = fs::Result<T>> + Send + 'static,
) -> Pin<Box<dyn Future<Output = fs::Result<T>> + Send>> {
    let mut run = Box::pin(run);
    Box::pin(poll_fn(move |context| {
        let polled = catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(context)));
        polled.unwrap_or_else(|_| Poll::Ready(panicked(&fs, operation)))
    }))
}

fn panicked<T>(fs: &Filesystem, operation: &'static str) -> fs::Result<T> {
    fs.count_panic();
    tracing::error!(operation, "panicked; the caller gets EIO. This is a bug");
    Err(Error::new(Errno::IO, "panicked"))
}

/// Answers with an error. What the store reported is logged where it was found; here only on request.
pub fn refuse(operation: &'static str, reply: impl Refuse, error: &fs::Error) {
    if error.is_fault() {
        tracing::debug!(operation, "{error}");
    }
    reply.refuse(fuser::Errno::from_i32(error.errno.raw_os_error()));
}
