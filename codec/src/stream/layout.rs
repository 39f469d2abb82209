//! Where everything is in a file of containers. No IO: whoever reads, in whatever way, asks here what to read next.

use std::ops::Range;

use super::format::{ContainerHeader, MAGIC, check_magic, no_header};
use super::table::{Footer, SeekTable, TableReader};
use crate::block::decode_as;
use crate::{Codec, Error, Header, Result, Stop};

/// One container.
struct Part {
    header: ContainerHeader,
    /// Why the header is only guessed.
    doubt: Option<Error>,
    /// First byte of content.
    raw_start: u64,
    /// Offset of each block in the source, and of the end of the last.
    offsets: Vec<u64>,
    table: SeekTable,
}

/// What is to be read next.
enum Want {
    /// The first bytes of the source, so that what is no container at all is not called a damaged one.
    Start,
    Footer,
    /// The piece of a table at an offset of the source.
    Table(TableReader, u64),
    /// The header of the container whose blocks are at these offsets.
    Header(SeekTable, Vec<u64>),
    /// The header of a block of this number, which says what the container's header does not.
    Size(Part, usize),
}

/// Finds all containers of a source, backwards from its end.
pub(super) struct Finder {
    /// Headers may be damaged.
    recover: bool,
    /// End of the container that is being looked at.
    end: u64,
    want: Want,
    parts: Vec<Part>,
}

impl Finder {
    /// For a source of `len` bytes. With `recover`, a header that is damaged is guessed from its blocks.
    pub(super) fn new(len: u64, recover: bool) -> Result<Finder> {
        if len == 0 {
            return Err(Error::damaged("container", "it is empty"));
        }
        Ok(Finder {
            recover,
            end: len,
            want: if recover { Want::Footer } else { Want::Start },
            parts: Vec::new(),
        })
    }

    /// Which bytes of the source to hand to [`take`](Finder::take) next; `None` when all was found.
    pub(super) fn next(&self) -> Result<Option<Range<u64>>> {
        if self.end == 0 {
            return Ok(None);
        }
        Ok(Some(match &self.want {
            Want::Start => 0..self.end.min(MAGIC.len() as u64),
            Want::Footer => self.end.checked_sub(Footer::LEN as u64).ok_or_else(short)?..self.end,
            Want::Table(table, at) => *at..at + table.wants() as u64,
            Want::Header(table, offsets) => {
                let blocks_at = offsets.first().copied().unwrap_or_default();
                blocks_at - u64::from(table.header_len)..blocks_at
            }
            Want::Size(part, number) => {
                let at = part.offsets.get(*number).copied().unwrap_or_default();
                at..at + Header::LEN as u64
            }
        }))
    }

    /// Looks at the bytes that were asked for.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<()> {
        self.want = match std::mem::replace(&mut self.want, Want::Footer) {
            Want::Start => {
                check_magic(bytes)?;
                Want::Footer
            }
            Want::Footer => {
                let Footer { blocks } = Footer::parse(bytes)?;
                let table_at = self.end.checked_sub(SeekTable::len(blocks.into())).ok_or_else(short)?;
                let room = table_at
                    .checked_sub(ContainerHeader::MIN_LEN as u64)
                    .ok_or_else(short)?;
                Want::Table(TableReader::new(blocks, room)?, table_at)
            }
            Want::Table(mut reader, at) => match reader.take(bytes)? {
                None => Want::Table(reader, at + bytes.len() as u64),
                Some(table) => self.located(table)?,
            },
            Want::Header(table, offsets) => {
                let (header, doubt) = match ContainerHeader::parse(bytes) {
                    Ok(header) if header.stored_len() == table.header_len => (header, None),
                    Ok(_) => return Err(other_blocks()),
                    Err(error) if self.recover => (ContainerHeader::guess(bytes, 0), Some(no_header(error))),
                    Err(error) => return Err(error),
                };
                let part = Part {
                    header,
                    doubt,
                    raw_start: 0,
                    offsets,
                    table,
                };
                self.known(part, 0)?
            }
            Want::Size(mut part, number) => {
                let others = part.table.stored.len() - 1;
                let size = Header::parse_prefix(bytes).map(|header| match header.raw_len as usize {
                    len if number < others => len,
                    last => part.table.raw_len.saturating_sub(last as u64) as usize / others,
                });
                match size {
                    Ok(size) if part.table.fits(size) => {
                        part.header.block_size = size;
                        self.known(part, usize::MAX)?
                    }
                    _ => self.known(part, number + 1)?,
                }
            }
        };
        Ok(())
    }

    /// Finds the blocks of a table, and with them what is before them.
    fn located(&self, table: SeekTable) -> Result<Want> {
        let blocks = table.stored.iter().map(|&len| u64::from(len)).sum::<u64>();
        let around = SeekTable::len(table.stored.len() as u64) + u64::from(table.header_len);
        let start = self.end.checked_sub(blocks + around).ok_or_else(short)?;
        let first = start + u64::from(table.header_len);
        let ends = table.stored.iter().scan(first, |at, &len| {
            *at += u64::from(len);
            Some(*at)
        });
        let offsets = std::iter::once(first).chain(ends).collect();
        Ok(Want::Header(table, offsets))
    }

    /// Takes a container whose block size is known or, from block `number` on, to be found out: a single block can be
    /// as large as any.
    fn known(&mut self, part: Part, number: usize) -> Result<Want> {
        let blocks = part.table.stored.len();
        if part.doubt.is_some() && blocks > 1 && number < blocks {
            return Ok(Want::Size(part, number));
        }
        if !part.table.fits(part.header.block_size) {
            return Err(other_blocks());
        }
        let first = part.offsets.first().copied().unwrap_or_default();
        self.end = first.checked_sub(u64::from(part.table.header_len)).ok_or_else(short)?;
        self.parts.push(part);
        Ok(Want::Footer)
    }

    /// What was found.
    pub(super) fn finish(mut self) -> Result<Found> {
        self.parts.reverse();
        let mut len = 0_u64;
        for part in &mut self.parts {
            part.raw_start = len;
            let sum = len.checked_add(part.table.raw_len);
            len = sum.ok_or_else(|| Error::damaged("container", "its contents are longer than 2^64 bytes"))?;
        }
        Ok(Found { parts: self.parts, len })
    }
}

/// All containers of a source, without what decodes them.
pub(super) struct Found {
    parts: Vec<Part>,
    len: u64,
}

impl Found {
    /// Asks for the codec of each container, in the order of the source.
    pub(super) fn with(self, mut codec_of: impl FnMut(&ContainerHeader) -> Result<Codec>) -> Result<Layout> {
        let parts = self.parts.iter();
        let codecs = parts.map(|part| part.header.codec(part.doubt.is_some(), &mut codec_of));
        let codecs = codecs.collect::<Result<_>>()?;
        Ok(Layout { found: self, codecs })
    }
}

/// All containers of a source.
pub(super) struct Layout {
    found: Found,
    /// One for each part.
    codecs: Vec<Codec>,
}

impl Layout {
    /// Bytes of content.
    pub(super) fn len(&self) -> u64 {
        self.found.len
    }

    /// Headers that were guessed: the first byte of content behind each, and what is wrong with it.
    pub(super) fn guessed(&self) -> impl Iterator<Item = (u64, &Error)> {
        let parts = self.found.parts.iter();
        parts.filter_map(|part| part.doubt.as_ref().map(|doubt| (part.raw_start, doubt)))
    }

    /// The block with this byte of content.
    pub(super) fn block(&self, offset: u64) -> Result<Place> {
        let gone = || Error::damaged("container", format!("there is no block with byte {offset}"));
        let parts = &self.found.parts;
        let index = parts.partition_point(|part| part.raw_start + part.table.raw_len <= offset);
        let (part, codec) = parts.get(index).zip(self.codecs.get(index)).ok_or_else(gone)?;
        let size = part.header.block_size as u64;
        let number = offset.checked_sub(part.raw_start).ok_or_else(gone)? / size;
        let at = usize::try_from(number).map_err(|_| gone())?;
        let (Some(&from), Some(&to)) = (part.offsets.get(at), part.offsets.get(at + 1)) else {
            return Err(gone());
        };
        let start = part.raw_start + number * size;
        Ok(Place {
            stored: from..to,
            start,
            len: size.min(part.raw_start + part.table.raw_len - start),
            number,
            codec: codec.clone(),
            fingerprint: part.header.fingerprint,
        })
    }
}

/// A block: where it is, and what decodes it.
pub(super) struct Place {
    /// Its bytes in the source.
    pub(super) stored: Range<u64>,
    /// First byte of content.
    pub(super) start: u64,
    /// Bytes of content.
    pub(super) len: u64,
    number: u64,
    codec: Codec,
    fingerprint: [u8; 8],
}

impl Place {
    /// Decodes what was read at [`stored`](Place::stored).
    pub(super) fn decode(&self, stored: &[u8], stop: &Stop) -> Result<Block> {
        let bytes = decode_as(&self.codec, stored, &self.fingerprint, stop)?;
        if bytes.len() as u64 != self.len {
            let (number, found, expected) = (self.number, bytes.len(), self.len);
            let reason = format!("block {number} has {found} bytes, not {expected}");
            return Err(Error::damaged("container", reason));
        }
        Ok(Block {
            start: self.start,
            bytes,
        })
    }
}

/// A decoded block.
pub(super) struct Block {
    /// First byte of content.
    start: u64,
    bytes: Vec<u8>,
}

impl Block {
    /// What it has from `offset` of the content on; `None` if that byte is in another block.
    pub(super) fn from(&self, offset: u64) -> Option<&[u8]> {
        let skip = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.bytes.get(skip..).filter(|rest| !rest.is_empty())
    }
}

/// What is wrong when a read of the source ends `missing` bytes early.
pub(super) fn ends_early(missing: u64) -> Error {
    Error::damaged("container", format!("it ends {missing} bytes early"))
}

fn other_blocks() -> Error {
    Error::damaged("container", "its blocks are not those of its seek table")
}

fn short() -> Error {
    Error::damaged(
        "container",
        "its footer's lengths do not fit: it is truncated, or something follows it",
    )
}
