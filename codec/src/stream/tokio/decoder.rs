//! Reading containers from their beginning, asynchronously.

use std::io::{self, Write};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::tokio::io::{AsyncBufRead, AsyncRead, BufReader, ReadBuf};

use super::super::seekable::to_io;
use super::super::{ContainerHeader, StreamOptions};
use super::coder::Coder;
use super::{PIECE, of_io};
use crate::{Codec, Error, Result};

/// What could not be had, and why; and how many gaps there are.
type Missing = (Vec<(Range<u64>, Error)>, u64);

/// Decompresses one container or several in a row. All intact blocks come out before the error of a damaged one.
///
/// Memory is that of the [form for std](super::super::Decoder) and 192 KiB. Dropping it ends the work.
pub struct Decoder<R> {
    input: BufReader<R>,
    /// All input was handed over.
    fed: bool,
    coder: Coder<Missing>,
    missing: Missing,
}

impl<R: AsyncRead + Unpin> Decoder<R> {
    /// A decoder that asks `codec_of`, on another thread, for a codec with the model that a container's header names.
    /// The callback for progress is called there, too.
    ///
    /// # Errors
    /// No tokio runtime.
    pub fn new<F>(input: R, codec_of: F, options: StreamOptions) -> Result<Decoder<R>>
    where
        F: FnMut(&ContainerHeader) -> Result<Codec> + Send + 'static,
    {
        let coder = Coder::start(options, move |source, mut sink, options| {
            let mut decoder = super::super::Decoder::new(source, codec_of, options);
            while let Some(chunk) = decoder.next_chunk()? {
                sink.write_all(&chunk).map_err(|error| of_io("coding", error))?;
            }
            Ok(decoder.into_gaps())
        })?;
        Ok(Decoder {
            input: BufReader::with_capacity(PIECE, input),
            fed: false,
            coder,
            missing: Missing::default(),
        })
    }

    /// With [`StreamOptions::recover`], once the end was read: which bytes of the content are zeros because they could
    /// not be had, and why.
    pub fn missing(&self) -> &[(Range<u64>, Error)] {
        &self.missing.0
    }

    /// How many gaps there are, once the end was read.
    pub fn gaps(&self) -> u64 {
        self.missing.1
    }

    /// Hands over what there is of the input.
    fn feed(&mut self, context: &mut Context<'_>) {
        while !self.fed {
            let (piece, failure) = match Pin::new(&mut self.input).poll_fill_buf(context) {
                Poll::Pending => return,
                Poll::Ready(Ok(piece)) => (piece, None),
                Poll::Ready(Err(failure)) => (Default::default(), Some(failure)),
            };
            if piece.is_empty() {
                // A pipe in memory: it is closed at once.
                let _ = self.coder.poll_close(context, failure);
                self.fed = true;
                return;
            }
            match self.coder.poll_write(context, piece) {
                Poll::Pending => return,
                Poll::Ready(Ok(len)) => Pin::new(&mut self.input).consume(len),
                // The thread has ended: what it still sent, and its result, are to be read.
                Poll::Ready(Err(_)) => self.fed = true,
            }
        }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Decoder<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.coder.check().map_err(to_io)?;
        this.feed(context);
        let room = buffer.remaining();
        ready!(Pin::new(&mut this.coder.pipe).poll_read(context, buffer))?;
        if buffer.remaining() == room && room > 0 {
            let missing = ready!(this.coder.poll_end(context)).map_err(to_io)?;
            this.missing = missing.unwrap_or_else(|| std::mem::take(&mut this.missing));
        }
        Poll::Ready(Ok(()))
    }
}
