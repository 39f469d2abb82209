//! Random access to containers.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use super::format::ContainerHeader;
use super::layout::{Block, Finder, Layout, ends_early};
use crate::{Codec, Error, Header, MAX_BLOCK, Result, Stop};

/// Reads any part of one container or several in a row: the tables once, then only the blocks that are asked for.
/// [`tokio::SeekableReader`](super::tokio::SeekableReader) is the asynchronous form.
pub struct SeekableReader<R> {
    source: R,
    layout: Layout,
    position: u64,
    /// The block decoded last.
    block: Option<Block>,
    stop: Stop,
}

impl<R: Read + Seek> SeekableReader<R> {
    /// Finds all containers, backwards from the end of `source`. `codec_of` makes a codec with the model that a header
    /// names; setting `stop` ends a read that takes long.
    ///
    /// # Errors
    /// [`Error::Damaged`] when a header, table or footer is not intact (a [`Decoder`](super::Decoder) still gets at
    /// intact blocks), or whatever `codec_of` or the source reports.
    pub fn new(
        source: R,
        codec_of: impl FnMut(&ContainerHeader) -> Result<Codec>,
        stop: Stop,
    ) -> Result<SeekableReader<R>> {
        SeekableReader::open(source, codec_of, stop, false)
    }

    /// The same, but a header that is damaged is guessed from the blocks behind it and listed by
    /// [`guessed`](SeekableReader::guessed). If `codec_of` has no codec for what it seems to say, it is asked for
    /// [any model's](ContainerHeader::UNKNOWN_MODEL).
    ///
    /// # Errors
    /// As [`new`](SeekableReader::new); tables and footers must be intact.
    pub fn recover(
        source: R,
        codec_of: impl FnMut(&ContainerHeader) -> Result<Codec>,
        stop: Stop,
    ) -> Result<SeekableReader<R>> {
        SeekableReader::open(source, codec_of, stop, true)
    }

    fn open(
        mut source: R,
        codec_of: impl FnMut(&ContainerHeader) -> Result<Codec>,
        stop: Stop,
        recover: bool,
    ) -> Result<SeekableReader<R>> {
        let mut finder = Finder::new(source.seek(SeekFrom::End(0)).map_err(reading)?, recover)?;
        while let Some(range) = finder.next()? {
            finder.take(&read_exact(&mut source, &range)?)?;
        }
        Ok(SeekableReader {
            source,
            layout: finder.finish()?.with(codec_of)?,
            position: 0,
            block: None,
            stop,
        })
    }

    /// Headers that were guessed: the first byte of content behind each, and what is wrong with it.
    pub fn guessed(&self) -> impl Iterator<Item = (u64, &Error)> {
        self.layout.guessed()
    }

    /// Bytes of content.
    pub fn len(&self) -> u64 {
        self.layout.len()
    }

    /// Whether there is no content.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Which content the block with the byte at `offset` has; `None` behind the end. With it, a reader goes on after a
    /// block that is damaged.
    pub fn block_at(&self, offset: u64) -> Option<Range<u64>> {
        self.layout.content(offset).ok()
    }

    /// Reads content from `offset` on, at most to the end of a block; 0 bytes only at the end of the content.
    ///
    /// # Errors
    /// [`Error::Damaged`] for a block that is not intact; other blocks can still be read.
    pub fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        if offset >= self.len() || buffer.is_empty() {
            return Ok(0);
        }
        if self.block.as_ref().and_then(|block| block.from(offset)).is_none() {
            let mut place = self.layout.block(offset)?;
            let stored = read_exact(&mut self.source, &place.stored)?;
            if let Some(key) = place.key(&stored) {
                place.take_key(&read_exact(&mut self.source, &key)?, &self.stop)?;
            }
            self.block = Some(place.decode(&stored, &self.stop)?);
        }
        let rest = self.block.as_ref().and_then(|block| block.from(offset));
        // No bytes would mean the end of the content.
        let rest = rest.ok_or_else(|| Error::damaged("block", "it does not hold the byte that the seek table says"))?;
        let len = rest.len().min(buffer.len());
        buffer.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        Ok(len)
    }
}

fn read_exact<R: Read + Seek>(source: &mut R, range: &Range<u64>) -> Result<Vec<u8>> {
    let len = range.end - range.start;
    source.seek(SeekFrom::Start(range.start)).map_err(reading)?;
    let mut bytes = Vec::with_capacity((MAX_BLOCK + Header::LEN).min(usize::try_from(len).unwrap_or(usize::MAX)));
    source.take(len).read_to_end(&mut bytes).map_err(reading)?;
    match len - bytes.len() as u64 {
        0 => Ok(bytes),
        missing => Err(ends_early(missing)),
    }
}

pub(super) fn reading(source: io::Error) -> Error {
    Error::io("reading the container", source)
}

/// As the traits of std and tokio have it.
pub(super) fn to_io(error: Error) -> io::Error {
    match error {
        Error::Io { source, .. } => source,
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}

/// The position that a seek leads to.
pub(super) fn target(to: SeekFrom, position: u64, len: u64) -> io::Result<u64> {
    let target = match to {
        SeekFrom::Start(at) => Some(at),
        SeekFrom::End(by) => len.checked_add_signed(by),
        SeekFrom::Current(by) => position.checked_add_signed(by),
    };
    let outside = || io::Error::new(io::ErrorKind::InvalidInput, "a position before the start");
    target.ok_or_else(outside)
}

impl<R: Read + Seek> Read for SeekableReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.read_at(self.position, buffer).map_err(to_io)?;
        self.position += len as u64;
        Ok(len)
    }
}

impl<R: Read + Seek> Seek for SeekableReader<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = target(to, self.position, self.len())?;
        Ok(self.position)
    }
}
