//! Random access to containers.

use std::io::{self, Read, Seek, SeekFrom};

use super::format::{ContainerHeader, Footer, SeekTable};
use crate::block::decode_as;
use crate::{Codec, Error, Header, MAX_BLOCK, Result, Stop};

/// One container of the source.
struct Part {
    codec: Codec,
    header: ContainerHeader,
    /// First byte of content, and of the container.
    raw_start: u64,
    /// Offset of each block in the source, and of the end of the last.
    offsets: Vec<u64>,
    table: SeekTable,
}

/// Reads any part of one container or several in a row: the tables once, then only the blocks that are asked for.
pub struct SeekableReader<R> {
    source: R,
    parts: Vec<Part>,
    len: u64,
    position: u64,
    /// The block decoded last, by its first byte of content.
    block: Option<(u64, Vec<u8>)>,
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
        mut source: R,
        mut codec_of: impl FnMut(&ContainerHeader) -> Result<Codec>,
        stop: Stop,
    ) -> Result<SeekableReader<R>> {
        let mut end = source.seek(SeekFrom::End(0)).map_err(reading)?;
        if end == 0 {
            return Err(Error::damaged("container", "it is empty"));
        }
        let mut parts = Vec::new();
        while end > 0 {
            let part = part_before(&mut source, end, &mut codec_of)?;
            end = part
                .offsets
                .first()
                .map_or(0, |first| first - ContainerHeader::LEN as u64);
            parts.push(part);
        }
        parts.reverse();
        let mut len = 0_u64;
        for part in &mut parts {
            part.raw_start = len;
            let sum = len.checked_add(part.table.raw_len);
            len = sum.ok_or_else(|| Error::damaged("container", "its contents are longer than 2^64 bytes"))?;
        }
        Ok(SeekableReader {
            source,
            parts,
            len,
            position: 0,
            block: None,
            stop,
        })
    }

    /// Bytes of content.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no content.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads content from `offset` on, at most to the end of a block; 0 bytes only at the end of the content.
    ///
    /// # Errors
    /// [`Error::Damaged`] for a block that is not intact; other blocks can still be read.
    pub fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        if offset >= self.len || buffer.is_empty() {
            return Ok(0);
        }
        let inside = |(start, block): &(u64, Vec<u8>)| (*start..start + block.len() as u64).contains(&offset);
        if !self.block.as_ref().is_some_and(inside) {
            self.block = Some(self.load(offset)?);
        }
        let (start, block) = self
            .block
            .as_ref()
            .map_or((0, &[][..]), |(start, block)| (*start, block));
        let rest = usize::try_from(offset - start)
            .ok()
            .and_then(|skip| block.get(skip..))
            .unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        Ok(len)
    }

    fn load(&mut self, offset: u64) -> Result<(u64, Vec<u8>)> {
        let gone = || Error::damaged("container", format!("there is no block with byte {offset}"));
        let index = self
            .parts
            .partition_point(|part| part.raw_start + part.table.raw_len <= offset);
        let part = self.parts.get(index).ok_or_else(gone)?;
        let size = part.header.block_size as u64;
        let block = (offset - part.raw_start) / size;
        let at = usize::try_from(block).map_err(|_| gone())?;
        let (Some(&from), Some(&to)) = (part.offsets.get(at), part.offsets.get(at + 1)) else {
            return Err(gone());
        };
        let stored = read_exact(&mut self.source, from, (to - from) as usize)?;
        let raw = decode_as(&part.codec, &stored, &part.header.fingerprint, &self.stop)?;
        let start = part.raw_start + block * size;
        let expected = size.min(part.raw_start + part.table.raw_len - start);
        if raw.len() as u64 != expected {
            return Err(Error::damaged(
                "container",
                format!("block {at} has {} bytes, not {expected}", raw.len()),
            ));
        }
        Ok((start, raw))
    }
}

fn part_before<R: Read + Seek>(
    source: &mut R,
    end: u64,
    codec_of: &mut impl FnMut(&ContainerHeader) -> Result<Codec>,
) -> Result<Part> {
    let short = || {
        Error::damaged(
            "container",
            "its footer's lengths do not fit: it is truncated, or something follows it",
        )
    };
    let footer_at = end.checked_sub(Footer::LEN as u64).ok_or_else(short)?;
    let footer = Footer::parse(&read_exact(source, footer_at, Footer::LEN)?)?;
    let start = end.checked_sub(footer.container_len).ok_or_else(short)?;
    let header = ContainerHeader::parse(&read_exact(source, start, ContainerHeader::LEN)?)?;
    let table_at = footer_at.checked_sub(footer.table_len).ok_or_else(short)?;
    // Both lengths were checked against the source: the table is not longer than the file.
    let table_len = usize::try_from(footer.table_len).map_err(|_| short())?;
    let table = SeekTable::parse(&read_exact(source, table_at, table_len)?)?;
    let mut offsets = vec![start + ContainerHeader::LEN as u64];
    offsets.extend(
        table
            .stored
            .iter()
            .scan(start + ContainerHeader::LEN as u64, |at, &len| {
                *at += u64::from(len);
                Some(*at)
            }),
    );
    if offsets.last() != Some(&table_at) || !table.fits(header.block_size) {
        return Err(Error::damaged(
            "container",
            "its blocks are not those of its seek table",
        ));
    }
    let codec = codec_of(&header)?;
    Ok(Part {
        codec,
        header,
        raw_start: 0,
        offsets,
        table,
    })
}

fn read_exact<R: Read + Seek>(source: &mut R, at: u64, len: usize) -> Result<Vec<u8>> {
    source.seek(SeekFrom::Start(at)).map_err(reading)?;
    let mut bytes = Vec::with_capacity(len.min(MAX_BLOCK + Header::LEN));
    source.take(len as u64).read_to_end(&mut bytes).map_err(reading)?;
    match bytes.len() == len {
        true => Ok(bytes),
        false => Err(Error::damaged(
            "container",
            format!("it ends {} bytes early", len - bytes.len()),
        )),
    }
}

fn reading(source: io::Error) -> Error {
    Error::io("reading the container", source)
}

impl<R: Read + Seek> Read for SeekableReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.read_at(self.position, buffer).map_err(|error| match error {
            Error::Io { source, .. } => source,
            other => io::Error::new(io::ErrorKind::InvalidData, other),
        })?;
        self.position += len as u64;
        Ok(len)
    }
}

impl<R: Read + Seek> Seek for SeekableReader<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        let outside = || io::Error::new(io::ErrorKind::InvalidInput, "a position before the start");
        self.position = position.ok_or_else(outside)?;
        Ok(self.position)
    }
}
