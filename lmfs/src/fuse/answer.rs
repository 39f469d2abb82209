//! Running an operation and answering it, with a guard against panics.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::fs::{self, Filesystem};

/// A reply that can be an error. Dropped unanswered, it answers EIO by itself.
pub trait Refuse: Send + 'static {
    /// Answers with an errno.
    fn refuse(self, errno: fuser::Errno);
}

macro_rules! refuse {
    ($($reply:ident)*) => {
        $(impl Refuse for fuser::$reply {
            fn refuse(self, errno: fuser::Errno) {
                self.error(errno);
            }
        })*
    };
}

refuse!(ReplyAttr ReplyCreate ReplyData ReplyDirectory ReplyDirectoryPlus ReplyEmpty ReplyEntry);
refuse!(ReplyLseek ReplyOpen ReplyStatfs ReplyWrite ReplyXattr);

/// Runs `run` at once and answers.
pub fn now<R: Refuse, T>(
    fs: &Filesystem,
    operation: &'static str,
    reply: R,
    run: impl FnOnce(&Filesystem) -> fs::Result<T>,
    answer: impl FnOnce(R, T),
) {
    match guarded(fs, operation, || run(fs)) {
        Ok(value) => answer(reply, value),
        Err(error) => refuse(operation, reply, &error),
    }
}

/// Runs `run` on a thread that may wait, and answers from there.
pub fn later<R: Refuse, T>(
    fs: &Filesystem,
    operation: &'static str,
    reply: R,
    run: impl FnOnce(&Filesystem) -> fs::Result<T> + Send + 'static,
    answer: impl FnOnce(R, T) + Send + 'static,
) {
    fs.run(move |fs| now(fs, operation, reply, run, answer));
}

/// Runs `run`; a panic is logged, counted and becomes EIO.
pub fn guarded<T>(
    fs: &Filesystem,
    operation: &'static str,
    run: impl FnOnce() -> fs::Result<T>,
) -> fs::Result<T> {
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
