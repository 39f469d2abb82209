//! Random access to containers behind tokio's traits.

use std::future::poll_fn;
use std::io::{self, SeekFrom};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::tokio::io::{AsyncRead, AsyncReadExt, AsyncSeek, AsyncSeekExt, ReadBuf};
use ::tokio::task::JoinHandle;

use super::super::ContainerHeader;
use super::super::layout::{Block, Finder, Layout, Place, ends_early};
use super::super::seekable::{reading, target, to_io};
use super::coder::{ended, spawn};
use crate::{Codec, Result, Stop};

/// Reads any part of one container or several in a row: the tables once, then only the blocks that are asked for.
/// Blocks are decoded on tokio's threads for blocking work. Dropping it ends a decode that is under way.
///
/// ```
/// use std::io::Write;
/// use lmfs_codec::stream::{Encoder, StreamOptions, tokio::SeekableReader};
/// use lmfs_codec::{Codec, Options};
/// use tokio::io::{AsyncReadExt, AsyncSeekExt};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let codec = Codec::new(None, Options::default())?;
/// let mut encoder = Encoder::new(Vec::new(), codec.clone(), StreamOptions::default())?;
/// encoder.write_all(b"once upon a time").unwrap();
/// let container = std::io::Cursor::new(encoder.finish()?);
///
/// let mut reader = SeekableReader::open(container, move |_| Ok(codec.clone())).await?;
/// let mut word = [0; 4];
/// reader.seek(std::io::SeekFrom::Start(5)).await.unwrap();
/// reader.read_exact(&mut word).await.unwrap();
/// assert_eq!(&word, b"upon");
/// # Ok::<(), lmfs_codec::Error>(()) }).unwrap();
/// ```
pub struct SeekableReader<R> {
    source: R,
    layout: Layout,
    position: u64,
    /// The block decoded last.
    block: Option<Block>,
    state: State,
    /// Set when this is dropped.
    stop: Stop,
}

/// How far the next block has come.
enum State {
    Idle,
    /// To where the block lies, or the key that it needs.
    Seeking(Place, Option<(Range<u64>, Vec<u8>)>),
    Reading {
        place: Place,
        bytes: Vec<u8>,
        filled: usize,
        /// The stored bytes of the block itself, while those of its key are read.
        block: Option<Vec<u8>>,
    },
    /// Of these bytes of content.
    Decoding(Range<u64>, JoinHandle<Result<Block>>),
}

impl<R: AsyncRead + AsyncSeek + Unpin> SeekableReader<R> {
    /// Finds all containers, backwards from the end of `source`. `codec_of` makes a codec with the model that a header
    /// names; it runs on a thread for blocking work.
    ///
    /// # Errors
    /// As the form for [std](super::super::SeekableReader::new).
    pub async fn open<F>(mut source: R, codec_of: F) -> Result<SeekableReader<R>>
    where
        F: FnMut(&ContainerHeader) -> Result<Codec> + Send + 'static,
    {
        let mut finder = Finder::new(source.seek(SeekFrom::End(0)).await.map_err(reading)?, false)?;
        while let Some(range) = finder.next()? {
            finder.take(&read_exact(&mut source, &range).await?)?;
        }
        let found = finder.finish()?;
        let layout = spawn(move || found.with(codec_of))?.await.map_err(ended)??;
        Ok(SeekableReader {
            source,
            layout,
            position: 0,
            block: None,
            state: State::Idle,
            stop: Stop::new(),
        })
    }

    /// Bytes of content.
    pub fn len(&self) -> u64 {
        self.layout.len()
    }

    /// Whether there is no content.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads content from `offset` on, at most to the end of a block; 0 bytes only at the end of the content. What was
    /// begun by a call that was dropped is not done again.
    ///
    /// # Errors
    /// [`Error::Damaged`](crate::Error::Damaged) for a block that is not intact; other blocks can still be read.
    pub async fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        if offset >= self.len() || buffer.is_empty() {
            return Ok(0);
        }
        poll_fn(|context| self.poll_block(context, offset)).await?;
        let len = self.rest(offset).len().min(buffer.len());
        buffer
            .iter_mut()
            .zip(self.rest(offset))
            .for_each(|(to, from)| *to = *from);
        Ok(len)
    }

    fn rest(&self, offset: u64) -> &[u8] {
        let rest = self.block.as_ref().and_then(|block| block.from(offset));
        rest.unwrap_or_default()
    }

    /// Gets the block with this byte of content.
    fn poll_block(&mut self, context: &mut Context<'_>, offset: u64) -> Poll<Result<()>> {
        loop {
            // An error leaves it idle: the next read begins anew.
            match std::mem::replace(&mut self.state, State::Idle) {
                State::Idle if !self.rest(offset).is_empty() => return Poll::Ready(Ok(())),
                State::Idle => {
                    let place = self.layout.block(offset)?;
                    let to = SeekFrom::Start(place.stored.start);
                    Pin::new(&mut self.source).start_seek(to).map_err(reading)?;
                    self.state = State::Seeking(place, None);
                }
                State::Seeking(place, key) => {
                    let Poll::Ready(done) = Pin::new(&mut self.source).poll_complete(context) else {
                        self.state = State::Seeking(place, key);
                        return Poll::Pending;
                    };
                    done.map_err(reading)?;
                    // A block of a table that was checked: not longer than a block can be.
                    let (range, block) = match key {
                        Some((range, block)) => (range, Some(block)),
                        None => (place.stored.clone(), None),
                    };
                    let bytes = vec![0; (range.end - range.start) as usize];
                    self.state = State::Reading {
                        place,
                        bytes,
                        filled: 0,
                        block,
                    };
                }
                State::Reading {
                    mut place,
                    mut bytes,
                    mut filled,
                    block,
                } => {
                    let mut buffer = ReadBuf::new(bytes.get_mut(filled..).unwrap_or_default());
                    let read = Pin::new(&mut self.source).poll_read(context, &mut buffer);
                    let (missing, more) = (buffer.capacity(), buffer.filled().len());
                    match read {
                        Poll::Ready(Ok(())) if missing == 0 => {
                            let key = block.is_none().then(|| place.key(&bytes)).flatten();
                            if let Some(range) = key {
                                let to = SeekFrom::Start(range.start);
                                Pin::new(&mut self.source).start_seek(to).map_err(reading)?;
                                self.state = State::Seeking(place, Some((range, bytes)));
                                continue;
                            }
                            let stop = self.stop.clone();
                            let content = place.start..place.start + place.len;
                            let decoding = spawn(move || decode(place, bytes, block, &stop))?;
                            self.state = State::Decoding(content, decoding);
                            continue;
                        }
                        Poll::Ready(Ok(())) if more == 0 => return Poll::Ready(Err(ends_early(missing as u64))),
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(reading(error))),
                        Poll::Ready(Ok(())) => filled += more,
                        Poll::Pending => {}
                    }
                    self.state = State::Reading {
                        place,
                        bytes,
                        filled,
                        block,
                    };
                    if read.is_pending() {
                        return Poll::Pending;
                    }
                }
                State::Decoding(content, mut decoding) => {
                    let Poll::Ready(block) = Pin::new(&mut decoding).poll(context) else {
                        self.state = State::Decoding(content, decoding);
                        return Poll::Pending;
                    };
                    match block.map_err(ended).flatten() {
                        Ok(block) => self.block = Some(block),
                        // Of a block that a call wanted which was dropped: none of this call's business.
                        Err(_) if !content.contains(&offset) => {}
                        Err(error) => return Poll::Ready(Err(error)),
                    }
                }
            }
        }
    }
}

/// Decodes the bytes of a block; or `block` with those of its key.
fn decode(mut place: Place, bytes: Vec<u8>, block: Option<Vec<u8>>, stop: &Stop) -> Result<Block> {
    match block {
        None => place.decode(&bytes, stop),
        Some(block) => {
            place.take_key(&bytes, stop)?;
            place.decode(&block, stop)
        }
    }
}

async fn read_exact<R: AsyncRead + AsyncSeek + Unpin>(source: &mut R, range: &Range<u64>) -> Result<Vec<u8>> {
    let len = range.end - range.start;
    source.seek(SeekFrom::Start(range.start)).await.map_err(reading)?;
    let mut bytes = Vec::new();
    source.take(len).read_to_end(&mut bytes).await.map_err(reading)?;
    match len - bytes.len() as u64 {
        0 => Ok(bytes),
        missing => Err(ends_early(missing)),
    }
}

impl<R: AsyncRead + AsyncSeek + Unpin> AsyncRead for SeekableReader<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.position >= this.len() || buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        ready!(this.poll_block(context, this.position)).map_err(to_io)?;
        let rest = this.rest(this.position);
        let part = rest.get(..buffer.remaining()).unwrap_or(rest);
        buffer.put_slice(part);
        this.position += part.len() as u64;
        Poll::Ready(Ok(()))
    }
}

impl<R: AsyncRead + AsyncSeek + Unpin> AsyncSeek for SeekableReader<R> {
    fn start_seek(mut self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        self.position = target(to, self.position, self.len())?;
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Ok(self.position))
    }
}

impl<R> Drop for SeekableReader<R> {
    fn drop(&mut self) {
        self.stop.set();
    }
}
