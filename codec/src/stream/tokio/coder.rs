//! Coding on a thread, which the asynchronous side sees as a pipe: bytes go in, others come out.

use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::thread;

use ::tokio::io::{AsyncWrite, BufReader, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use ::tokio::runtime::Handle;
use ::tokio::sync::oneshot;
use ::tokio::task::JoinHandle;
use parking_lot::Mutex;
use tokio_util::io::SyncIoBridge;

use super::super::StreamOptions;
use super::PIECE;
use crate::{Error, Result, Stop};

/// Where the thread writes.
pub(super) type Sink = SyncIoBridge<WriteHalf<DuplexStream>>;

/// Where the thread reads. After the last byte comes the error of the asynchronous side, if it had one.
pub(super) struct Source {
    pipe: SyncIoBridge<ReadHalf<DuplexStream>>,
    failure: Failure,
}

type Failure = Arc<Mutex<Option<io::Error>>>;

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.pipe.read(buffer)?;
        let failure = match len {
            0 if !buffer.is_empty() => self.failure.lock().take(),
            _ => None,
        };
        failure.map_or(Ok(len), Err)
    }
}

/// A thread that codes. Dropping it ends the work.
pub(super) struct Coder<T> {
    /// Both ways between here and the thread.
    pub(super) pipe: BufReader<DuplexStream>,
    failure: Failure,
    work: Work<T>,
    stop: Stop,
}

enum Work<T> {
    Running(oneshot::Receiver<Result<T>>),
    Done,
    Failed,
}

impl<T: Send + 'static> Coder<T> {
    /// Starts `work` with these options, on a thread of its own: it lasts as long as this does, and of tokio's threads
    /// for blocking work there may be few.
    pub(super) fn start(
        options: StreamOptions,
        work: impl FnOnce(Source, Sink, StreamOptions) -> Result<T> + Send + 'static,
    ) -> Result<Coder<T>> {
        let stop = options.stop.child();
        let options = StreamOptions {
            stop: stop.clone(),
            ..options
        };
        let failure = Failure::default();
        let (pipe, other) = duplex(PIECE);
        let (read, write) = split(other);
        let runtime = runtime()?;
        let source = Source {
            pipe: SyncIoBridge::new_with_handle(read, runtime.clone()),
            failure: Arc::clone(&failure),
        };
        let sink = SyncIoBridge::new_with_handle(write, runtime);
        let (result, running) = oneshot::channel();
        // Nobody waits for the result of what was dropped.
        let body = move || drop(result.send(work(source, sink, options)));
        let started = thread::Builder::new().name("lmz-stream".into()).spawn(body);
        started.map_err(|source| Error::io("starting a thread", source))?;
        Ok(Coder {
            pipe: BufReader::with_capacity(PIECE, pipe),
            failure,
            work: Work::Running(running),
            stop,
        })
    }

    /// [`Error::Interrupted`] if the work was asked to end.
    pub(super) fn check(&self) -> Result<()> {
        self.stop.check()
    }

    /// Hands over as much of `data` as there is room for. An error means that the thread has ended.
    pub(super) fn poll_write(&mut self, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(context, data)
    }

    /// There is no more to be handed over: because of this error, if there is one.
    pub(super) fn poll_close(&mut self, context: &mut Context<'_>, failure: Option<io::Error>) -> Poll<io::Result<()>> {
        if failure.is_some() {
            *self.failure.lock() = failure;
        }
        Pin::new(&mut self.pipe).poll_shutdown(context)
    }

    /// What came of the work, once; `None` when that was asked before.
    pub(super) fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<T>>> {
        let result = match &mut self.work {
            Work::Running(result) => ready!(Pin::new(result).poll(context)).map_err(ended).flatten(),
            Work::Done => return Poll::Ready(Ok(None)),
            Work::Failed => {
                let before = io::Error::other("the work failed before");
                return Poll::Ready(Err(Error::io("coding", before)));
            }
        };
        self.work = if result.is_ok() { Work::Done } else { Work::Failed };
        Poll::Ready(result.map(Some))
    }
}

impl<T> Drop for Coder<T> {
    fn drop(&mut self) {
        self.stop.set();
    }
}

/// Runs `work`, which does not take long, on one of tokio's threads for blocking work.
pub(super) fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>> {
    Ok(runtime()?.spawn_blocking(work))
}

fn runtime() -> Result<Handle> {
    Handle::try_current().map_err(|error| Error::io("starting a thread", io::Error::other(error)))
}

/// What it means that a thread has no result.
pub(super) fn ended(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::io("coding", io::Error::other(error))
}
