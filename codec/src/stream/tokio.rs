//! Asynchronous forms of the encoder, the decoder and the seekable reader, on tokio's traits and its threads for blocking
//! work.

mod seekable;

use std::io::{Read, Write};

use ::tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use ::tokio::sync::mpsc::{Receiver, Sender, channel};
use ::tokio::task::spawn_blocking;

pub use seekable::SeekableReader;

use super::{ContainerHeader, Decoder, Encoder, StreamOptions};
use crate::{Codec, Error, Result};

/// Pieces under way between the asynchronous side and the coding thread.
const PIECES: usize = 4;
const PIECE: usize = 1 << 16;

/// Compresses all of `input` into one container. Returns the bytes read. Dropping the future ends the work.
///
/// # Errors
/// As [`Encoder`], and the errors of `input` and `output`.
pub async fn compress<R, W>(input: R, output: W, codec: Codec, options: StreamOptions) -> Result<u64>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    through(input, output, move |from, to| {
        let mut encoder = Encoder::new(to, codec, options)?;
        let copied = std::io::copy(&mut { from }, &mut encoder).map_err(unwrap_io)?;
        encoder.finish()?;
        Ok(copied)
    })
    .await
}

/// Decompresses all containers of `input`. Returns the bytes written. Everything intact that lies before damage is
/// written before its error is returned.
///
/// # Errors
/// As [`Decoder`], and the errors of `input` and `output`.
pub async fn decompress<R, W, F>(input: R, output: W, codec_of: F, options: StreamOptions) -> Result<u64>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    F: FnMut(&ContainerHeader) -> Result<Codec> + Send + 'static,
{
    through(input, output, move |from, mut to| {
        let mut decoder = Decoder::new(from, codec_of, options);
        let mut copied = 0;
        while let Some(chunk) = decoder.next_chunk()? {
            to.write_all(&chunk).map_err(unwrap_io)?;
            copied += chunk.len() as u64;
        }
        Ok(copied)
    })
    .await
}

/// Runs `work` on a blocking thread between an asynchronous reader and writer.
async fn through<R, W>(
    mut input: R,
    mut output: W,
    work: impl FnOnce(Source, Sink) -> Result<u64> + Send + 'static,
) -> Result<u64>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (feed, pieces) = channel(PIECES);
    let (sink, mut results) = channel(PIECES);
    let task = spawn_blocking(move || {
        work(
            Source {
                pieces,
                piece: Vec::new(),
                taken: 0,
            },
            Sink(sink),
        )
    });
    let read = async {
        let mut buffer = vec![0; PIECE];
        loop {
            let len = input
                .read(&mut buffer)
                .await
                .map_err(|source| Error::io("reading", source))?;
            let piece = buffer.get(..len).unwrap_or_default().to_vec();
            // A failed send means that the work ended early; its result says why.
            if len == 0 || feed.send(piece).await.is_err() {
                drop(feed);
                return Ok::<_, Error>(());
            }
        }
    };
    let write = async {
        while let Some(piece) = results.recv().await {
            output
                .write_all(&piece)
                .await
                .map_err(|source| Error::io("writing", source))?;
        }
        output.flush().await.map_err(|source| Error::io("writing", source))
    };
    ::tokio::try_join!(read, write)?;
    task.await
        .map_err(|error| Error::io("coding", std::io::Error::other(error)))?
}

fn unwrap_io(source: std::io::Error) -> Error {
    match source.downcast::<Error>() {
        Ok(error) => error,
        Err(source) => Error::io("coding", source),
    }
}

/// What the asynchronous side read, as a std reader.
struct Source {
    pieces: Receiver<Vec<u8>>,
    piece: Vec<u8>,
    taken: usize,
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.taken == self.piece.len() {
            (self.piece, self.taken) = (self.pieces.blocking_recv().unwrap_or_default(), 0);
        }
        let mut rest = self.piece.get(self.taken..).unwrap_or_default();
        let len = Read::read(&mut rest, buffer)?;
        self.taken += len;
        Ok(len)
    }
}

/// Hands what is written to the asynchronous side.
struct Sink(Sender<Vec<u8>>);

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        let sent = self.0.blocking_send(data.to_vec());
        sent.map_err(|_| std::io::Error::from(std::io::ErrorKind::BrokenPipe))?;
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
