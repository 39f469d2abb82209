//! Asynchronous forms of the encoder, the decoder and the seekable reader, on tokio's traits. Coding is done on
//! threads of its own, and reading at random on tokio's for blocking work, so nothing here holds up a runtime; the
//! bytes are those of the forms for std.
//!
//! ```
//! use lmfs_codec::stream::{StreamOptions, tokio::{Decoder, Encoder}};
//! use lmfs_codec::{Codec, Options};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let codec = Codec::new(None, Options::default())?;
//! let mut encoder = Encoder::new(Vec::new(), codec.clone(), StreamOptions::default())?;
//! encoder.write_all(b"hello, hello, hello").await.unwrap();
//! let container = encoder.finish().await?;
//!
//! let mut text = String::new();
//! let codec_of = move |_: &_| Ok(codec.clone());
//! let mut decoder = Decoder::new(&container[..], codec_of, StreamOptions::default())?;
//! decoder.read_to_string(&mut text).await.unwrap();
//! assert_eq!(text, "hello, hello, hello");
//! # Ok::<(), lmfs_codec::Error>(()) }).unwrap();
//! ```

mod coder;
mod decoder;
mod encoder;
mod seekable;

use ::tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub use decoder::Decoder;
pub use encoder::Encoder;
pub use seekable::SeekableReader;

use super::{ContainerHeader, StreamOptions};
use crate::{Codec, Error, Result};

/// Bytes that are handed over at a time.
const PIECE: usize = 1 << 16;

/// Compresses all of `input` into one container. Returns the bytes read. Dropping the future ends the work.
///
/// # Errors
/// As [`Encoder`], and the errors of `input` and `output`.
pub async fn compress<R, W>(mut input: R, output: W, codec: Codec, options: StreamOptions) -> Result<u64>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut encoder = Encoder::new(output, codec, options)?;
    let mut copied = 0;
    let mut buffer = vec![0; PIECE];
    loop {
        let read = input.read(&mut buffer).await;
        let len = read.map_err(|source| Error::io("reading", source))?;
        if len == 0 {
            encoder.finish().await?;
            return Ok(copied);
        }
        let (piece, _) = buffer.split_at(len);
        encoder
            .write_all(piece)
            .await
            .map_err(|error| of_io("writing the container", error))?;
        copied += len as u64;
    }
}

/// Decompresses all containers of `input`. Returns the bytes written. Everything intact that lies before damage is
/// written before its error is returned. Dropping the future ends the work.
///
/// # Errors
/// As [`Decoder`], and the errors of `input` and `output`.
pub async fn decompress<R, W, F>(input: R, mut output: W, codec_of: F, options: StreamOptions) -> Result<u64>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    F: FnMut(&ContainerHeader) -> Result<Codec> + Send + 'static,
{
    let writing = |source| Error::io("writing", source);
    let mut decoder = Decoder::new(input, codec_of, options)?;
    let mut copied = 0;
    let mut buffer = vec![0; PIECE];
    loop {
        let read = decoder.read(&mut buffer).await;
        let len = match read {
            Ok(len @ 1..) => len,
            end => {
                output.flush().await.map_err(writing)?;
                end.map_err(|error| of_io("reading the container", error))?;
                return Ok(copied);
            }
        };
        let (piece, _) = buffer.split_at(len);
        output.write_all(piece).await.map_err(writing)?;
        copied += len as u64;
    }
}

/// The error that went through one of IO, or else `what` failed in it.
fn of_io(what: &'static str, error: std::io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(source) => Error::io(what, source),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod agreement;
#[cfg(test)]
mod tests;
