//! Where everything is in a file of containers. No IO: whoever reads, in whatever way, asks here what to read next.
//!
//! ```
//! use std::io::Write;
//! use lmfs_codec::stream::layout::Finder;
//! use lmfs_codec::stream::{Encoder, StreamOptions};
//! use lmfs_codec::{Codec, Options, Stop};
//!
//! let codec = Codec::new(None, Options::default())?;
//! let mut encoder = Encoder::new(Vec::new(), codec.clone(), StreamOptions::default())?;
//! encoder.write_all(b"once upon a time").unwrap();
//! let file = encoder.finish()?;
//!
//! let mut finder = Finder::new(file.len() as u64, false)?;
//! while let Some(range) = finder.next()? {
//!     finder.take(&file[range.start as usize..range.end as usize])?;
//! }
//! let layout = finder.finish()?.with(|_| Ok(codec.clone()))?;
//! let mut place = layout.block(5)?;
//! assert_eq!(layout.content(5)?, place.start..place.start + place.len);
//! let stored = &file[place.stored.start as usize..place.stored.end as usize];
//! if let Some(key) = place.key(stored) {
//!     place.take_key(&file[key.start as usize..key.end as usize], &Stop::new())?;
//! }
//! let block = place.decode(stored, &Stop::new())?;
//! assert_eq!(&block.into_bytes()[5..9], b"upon");
//! # Ok::<(), lmfs_codec::Error>(())
//! ```

use std::ops::Range;
use std::sync::Arc;

use super::format::{ContainerHeader, MAGIC, check_magic, no_header};
pub use super::key::kept_key_bytes;
use super::key::{Key, Keys, may_need};
use super::table::{END_MAGIC, Footer, SeekTable, TableReader};
use crate::block::{KeyPart, decode_as, decode_as_into};
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

impl Part {
    /// The content of a block of it.
    fn content(&self, number: u64) -> Range<u64> {
        let size = self.header.block_size as u64;
        let start = self.raw_start + number * size;
        start..start + size.min(self.raw_start + self.table.raw_len - start)
    }
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
pub struct Finder {
    /// Headers may be damaged.
    recover: bool,
    /// End of the container that is being looked at.
    end: u64,
    want: Want,
    parts: Vec<Part>,
}

impl Finder {
    /// For a source of `len` bytes. With `recover`, a header that is damaged is guessed from its blocks.
    ///
    /// # Errors
    /// [`Error::Damaged`] if there are none.
    pub fn new(len: u64, recover: bool) -> Result<Finder> {
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
    ///
    /// # Errors
    /// [`Error::Damaged`] if the source is too short for what its end says.
    pub fn next(&self) -> Result<Option<Range<u64>>> {
        if self.end == 0 {
            return Ok(None);
        }
        Ok(Some(match &self.want {
            Want::Start => 0..self.end.min(MAGIC.len() as u64),
            Want::Footer => self.end.checked_sub(Footer::LEN as u64).ok_or_else(short)?..self.end,
            Want::Table(table, at) => *at..at + table.wants() as u64,
            Want::Header(table, offsets) => {
                let blocks_at = offsets.first().copied().ok_or_else(short)?;
                blocks_at - u64::from(table.header_len)..blocks_at
            }
            Want::Size(part, number) => {
                let at = part.offsets.get(*number).copied().ok_or_else(short)?;
                at..at + Header::LEN as u64
            }
        }))
    }

    /// Bytes of content, as soon as a table says that its container is all there is. Only the header is missing then.
    pub fn only_len(&self) -> Option<u64> {
        match &self.want {
            Want::Header(table, offsets) if self.parts.is_empty() => {
                let whole = offsets.first() == Some(&u64::from(table.header_len));
                whole.then_some(table.raw_len)
            }
            _ => None,
        }
    }

    /// Containers that were found so far, from the last one on.
    pub fn containers(&self) -> usize {
        self.parts.len()
    }

    /// While a table is being read: all of it that is still to be asked for, so that it can be fetched at once.
    pub fn table(&self) -> Option<Range<u64>> {
        match &self.want {
            Want::Table(_, at) if self.end > 0 => Some(*at..self.end),
            _ => None,
        }
    }

    /// Looks at the bytes that were asked for.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::NotAContainer`].
    pub fn take(&mut self, bytes: &[u8]) -> Result<()> {
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
        let first = part.offsets.first().copied().ok_or_else(short)?;
        self.end = first.checked_sub(u64::from(part.table.header_len)).ok_or_else(short)?;
        self.parts.push(part);
        Ok(Want::Footer)
    }

    /// What was found.
    ///
    /// # Errors
    /// [`Error::Damaged`] if not all was looked at, or the contents are longer than numbers can say.
    pub fn finish(mut self) -> Result<Found> {
        if self.end != 0 {
            return Err(Error::damaged("container", "not all of it was looked at"));
        }
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
pub struct Found {
    parts: Vec<Part>,
    len: u64,
}

impl Found {
    /// Bytes of content.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no content.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// CRC-32 of all content, as the tables say.
    pub fn content_crc(&self) -> u32 {
        let mut all = crc32fast::Hasher::new();
        for SeekTable { raw_crc, raw_len, .. } in self.parts.iter().map(|part| &part.table) {
            all.combine(&crc32fast::Hasher::new_with_initial_len(*raw_crc, *raw_len));
        }
        all.finalize()
    }

    /// The headers of the containers, in the order of the source.
    pub fn headers(&self) -> impl Iterator<Item = &ContainerHeader> {
        self.parts.iter().map(|part| &part.header)
    }

    /// Where the first block of the source is; `None` if there is no content.
    pub fn first_block(&self) -> Option<Range<u64>> {
        let mut parts = self.parts.iter();
        parts.find_map(|part| Some(*part.offsets.first()?..*part.offsets.get(1)?))
    }

    /// Asks for the codec of each container, in the order of the source.
    ///
    /// # Errors
    /// Whatever `codec_of` reports.
    pub fn with(self, mut codec_of: impl FnMut(&ContainerHeader) -> Result<Codec>) -> Result<Layout> {
        let parts = self.parts.iter();
        let codecs = parts.map(|part| part.header.codec(part.doubt.is_some(), &mut codec_of));
        let codecs = codecs.collect::<Result<_>>()?;
        Ok(Layout {
            found: self,
            codecs,
            keys: Arc::default(),
        })
    }
}

/// All containers of a source.
pub struct Layout {
    found: Found,
    /// One for each part.
    codecs: Vec<Codec>,
    /// By number of the part.
    keys: Arc<Keys>,
}

impl Layout {
    /// Bytes of content.
    pub fn len(&self) -> u64 {
        self.found.len
    }

    /// Whether there is no content.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Headers that were guessed: the first byte of content behind each, and what is wrong with it.
    pub(super) fn guessed(&self) -> impl Iterator<Item = (u64, &Error)> {
        let parts = self.found.parts.iter();
        parts.filter_map(|part| part.doubt.as_ref().map(|doubt| (part.raw_start, doubt)))
    }

    /// What was found.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// About how many bytes this takes in memory, without its keys ([`kept_key_bytes`]).
    pub fn memory(&self) -> u64 {
        let parts = &self.found.parts;
        let of = |part: &Part| size_of::<Part>() + part.offsets.len() * size_of::<u64>() + part.table.stored.len() * 4;
        parts.iter().map(|part| of(part) as u64).sum()
    }

    /// The container with this byte of content, and the number of the block in it.
    fn locate(&self, offset: u64) -> Result<(usize, &Part, u64)> {
        let gone = || Error::damaged("container", format!("there is no block with byte {offset}"));
        let parts = &self.found.parts;
        let index = parts.partition_point(|part| part.raw_start + part.table.raw_len <= offset);
        let part = parts.get(index).ok_or_else(gone)?;
        let number = offset.checked_sub(part.raw_start).ok_or_else(gone)? / part.header.block_size as u64;
        Ok((index, part, number))
    }

    /// Which content the block with this byte of content has. For those who have the block already: it takes less time
    /// than [`block`](Layout::block).
    ///
    /// # Errors
    /// As for [`block`](Layout::block).
    pub fn content(&self, offset: u64) -> Result<Range<u64>> {
        let (_, part, number) = self.locate(offset)?;
        Ok(part.content(number))
    }

    /// The block with this byte of content.
    ///
    /// # Errors
    /// [`Error::Damaged`] if there is none: it is behind the end.
    pub fn block(&self, offset: u64) -> Result<Place> {
        let gone = || Error::damaged("container", format!("there is no block with byte {offset}"));
        let (index, part, number) = self.locate(offset)?;
        let codec = self.codecs.get(index).ok_or_else(gone)?;
        let at = usize::try_from(number).map_err(|_| gone())?;
        let (Some(&from), Some(&to)) = (part.offsets.get(at), part.offsets.get(at + 1)) else {
            return Err(gone());
        };
        let content = part.content(number);
        let most = KeyPart::MOST / part.header.block_size;
        let first = part.offsets.first().zip(part.offsets.get(most).or(part.offsets.last()));
        let (&first, &end) = first.ok_or_else(gone)?;
        // The blocks of a key are not longer than what they hold, but others may be.
        let end = end.min(first + (KeyPart::MOST + most * Header::LEN) as u64);
        Ok(Place {
            front: Front {
                range: first..end,
                container: index,
                keys: Arc::clone(&self.keys),
                key: None,
            },
            stored: from..to,
            start: content.start,
            len: content.end - content.start,
            number,
            block_size: part.header.block_size as u64,
            codec: codec.clone(),
            fingerprint: part.header.fingerprint,
        })
    }
}

/// A block: where it is, and what decodes it.
pub struct Place {
    /// Its bytes in the source.
    pub stored: Range<u64>,
    /// First byte of content.
    pub start: u64,
    /// Bytes of content.
    pub len: u64,
    number: u64,
    block_size: u64,
    codec: Codec,
    fingerprint: [u8; 8],
    front: Front,
}

/// What may be in front of a block in its container.
struct Front {
    /// Where the blocks of the key lie, if there is one, and perhaps others behind them.
    range: Range<u64>,
    container: usize,
    keys: Arc<Keys>,
    /// Held until this is dropped, whatever becomes of those that are kept.
    key: Option<Arc<Key>>,
}

impl Place {
    /// Which bytes of the source to hand to [`take_key`](Place::take_key) before the block that was read at
    /// [`stored`](Place::stored) is decoded: at most 1 MiB and 6.5 KiB. None if it needs none, or they are known from
    /// another place of the layout. Then this place holds what was learned of them.
    pub fn key(&mut self, stored: &[u8]) -> Option<Range<u64>> {
        if self.front.key.is_some() || !may_need(stored) {
            return None;
        }
        self.front.key = self.front.keys.get(self.front.container);
        self.front.key.is_none().then(|| self.front.range.clone())
    }

    /// Learns the key of the container, a dictionary of at most 1 MiB, from what was read where [`key`](Place::key)
    /// says. That takes as long as decoding as many bytes. Of several who do it for one container, one does the work.
    /// The keys used last are kept, those of all layouts together with at most 128 MiB ([`kept_key_bytes`]). Each takes
    /// about 20 times its bytes.
    ///
    /// # Errors
    /// [`Error::Interrupted`]. What is damaged is found when it is needed.
    pub fn take_key(&mut self, stored: &[u8], stop: &Stop) -> Result<()> {
        let Front { keys, container, .. } = &self.front;
        let key = keys.get_or(*container, stop, || Key::learn(&self.codec, stored, stop))?;
        self.front.key = Some(key);
        Ok(())
    }

    /// Decodes what was read at [`stored`](Place::stored).
    ///
    /// # Errors
    /// As [`Codec::decode`]; [`Error::Damaged`] if the block has another length.
    pub fn decode(&self, stored: &[u8], stop: &Stop) -> Result<Block> {
        let bytes = match self.front.key.as_ref().filter(|_| may_need(stored)) {
            Some(key) => {
                let in_container = self.number * self.block_size;
                key.decode(&self.codec, in_container, stored, &self.fingerprint, stop)?
            }
            None => decode_as(&self.codec, stored, &self.fingerprint, stop)?,
        };
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

    /// The same, put where the bytes belong: `out` has [`len`](Place::len) bytes.
    ///
    /// # Errors
    /// As [`Codec::decode_into`].
    pub fn decode_into(&self, stored: &[u8], out: &mut [u8], stop: &Stop) -> Result<()> {
        if self.front.key.is_none() || !may_need(stored) {
            return decode_as_into(&self.codec, stored, &self.fingerprint, out, stop);
        }
        let bytes = self.decode(stored, stop)?.into_bytes();
        if bytes.len() != out.len() {
            let reason = format!("a block has {} bytes, not {}", bytes.len(), out.len());
            return Err(Error::damaged("container", reason));
        }
        out.copy_from_slice(&bytes);
        Ok(())
    }
}

/// A decoded block.
pub struct Block {
    /// First byte of content.
    start: u64,
    bytes: Vec<u8>,
}

impl Block {
    /// All of it.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// What it has from `offset` of the content on; `None` if that byte is in another block.
    pub(super) fn from(&self, offset: u64) -> Option<&[u8]> {
        let skip = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.bytes.get(skip..).filter(|rest| !rest.is_empty())
    }
}

/// Whether what starts with these bytes, eight or more, is a container or was one.
pub fn starts_a_container(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// Whether what ends with these bytes, four or more, ends as a container does.
pub fn ends_a_container(bytes: &[u8]) -> bool {
    bytes.ends_with(&END_MAGIC)
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
