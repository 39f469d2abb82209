//! Writing a container, asynchronously.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::tokio::io::{AsyncBufRead, AsyncWrite};

use super::super::StreamOptions;
use super::coder::Coder;
use super::of_io;
use crate::{Codec, Result};

/// Compresses what is written to it into one container. Call [`finish`](Encoder::finish) at the end, or `shutdown`,
/// which shuts the output down, too: what was not finished has no seek table and counts as truncated.
///
/// Blocks are coded while nobody waits; their bytes reach the output when this is written to, flushed or finished.
/// Memory is that of the [form for std](super::super::Encoder) and 128 KiB. Dropping it ends the work.
pub struct Encoder<W> {
    output: W,
    coder: Coder<()>,
}

impl<W: AsyncWrite + Unpin> Encoder<W> {
    /// Starts a container. The callback for progress is called on another thread.
    ///
    /// # Errors
    /// Options out of range; no tokio runtime. A failing engine is reported when this is written to.
    pub fn new(output: W, codec: Codec, options: StreamOptions) -> Result<Encoder<W>> {
        options.check()?;
        let coder = Coder::start(options, move |mut source, sink, options| {
            let mut encoder = super::super::Encoder::new(sink, codec, options)?;
            io::copy(&mut source, &mut encoder).map_err(|error| of_io("coding", error))?;
            encoder.finish().map(drop)
        })?;
        Ok(Encoder { output, coder })
    }

    /// Codes what is left, writes the seek table, flushes and returns the output.
    ///
    /// # Errors
    /// As for writing.
    pub async fn finish(mut self) -> Result<W> {
        poll_fn(|context| self.poll_finish(context))
            .await
            .map_err(|error| of_io("writing the container", error))?;
        Ok(self.output)
    }

    /// Writes what is coded to the output; ready at the end of the container.
    fn poll_pass_on(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let coded = ready!(Pin::new(&mut self.coder.pipe).poll_fill_buf(context))?;
            if coded.is_empty() {
                return Poll::Ready(Ok(()));
            }
            match ready!(Pin::new(&mut self.output).poll_write(context, coded))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                len => Pin::new(&mut self.coder.pipe).consume(len),
            }
        }
    }

    fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.coder.poll_close(context, None))?;
        ready!(self.poll_pass_on(context))?;
        ready!(self.coder.poll_end(context)).map_err(io::Error::other)?;
        Pin::new(&mut self.output).poll_flush(context)
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Encoder<W> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.coder.check().map_err(io::Error::other)?;
        // Pending here, too, unless the thread has ended: what is coded goes on when there is more of it.
        if let Poll::Ready(Err(error)) = this.poll_pass_on(context) {
            return Poll::Ready(Err(error));
        }
        match ready!(this.coder.poll_write(context, data)) {
            Ok(len) => Poll::Ready(Ok(len)),
            Err(closed) => {
                ready!(this.coder.poll_end(context)).map_err(io::Error::other)?;
                Poll::Ready(Err(closed))
            }
        }
    }

    /// Flushes the output. Blocks that are not full, or still being coded, stay.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(Err(error)) = self.poll_pass_on(context) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.output).poll_flush(context)
    }

    /// Finishes the container and shuts the output down.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_finish(context))?;
        Pin::new(&mut self.output).poll_shutdown(context)
    }
}
