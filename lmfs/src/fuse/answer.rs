//! Running an operation and answering it, with a guard against panics.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::reply::{Answer, Refuse};
use crate::fs::{self, Filesystem};

/// Runs `run` at once and answers.
pub fn now<R: Answer<T>, T>(
    fs: &Filesystem,
    operation: &'static str,
    reply: R,
    run: impl FnOnce(&Filesystem) -> fs::Result<T>,
) {
    match guarded(fs, operation, || run(fs)) {
        Ok(value) => reply.answer(value),
        Err(error) => refuse(operation, reply, &error),
    }
}

/// Runs `run` on a thread that may wait, and answers from there.
pub fn later<R: Answer<T>, T>(
    fs: &Filesystem,
    operation: &'static str,
    reply: R,
    run: impl FnOnce(&Filesystem) -> fs::Result<T> + Send + 'static,
) {
    fs.run(move |fs| now(fs, operation, reply, run));
}

/// [`later`] if it `waits`, else [`now`].
pub fn later_if<R: Answer<T>, T>(
    waits: bool,
    fs: &Filesystem,
    operation: &'static str,
    reply: R,
    run: impl FnOnce(&Filesystem) -> fs::Result<T> + Send + 'static,
) {
    if waits {
        later(fs, operation, reply, run);
    } else {
        now(fs, operation, reply, run);
    }
}

/// Runs `run`; a panic is logged, counted and becomes EIO.
pub fn guarded<T>(fs: &Filesystem, operation: &'static str, run: impl FnOnce() -> fs::Result<T>) -> fs::Result<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        fs.count_panic();
        tracing::error!(operation, "panicked; the caller gets EIO. This is a bug");
        Err(fs::Error::new(fs::Errno::IO, "panicked"))
    })
}

/// Answers with an error. What the store reported is logged where it was found; here only on request.
pub fn refuse(operation: &'static str, reply: impl Refuse, error: &fs::Error) {
    if error.is_fault() {
        tracing::debug!(operation, "{error}");
    }
    reply.refuse(fuser::Errno::from_i32(error.errno.raw_os_error()));
}
