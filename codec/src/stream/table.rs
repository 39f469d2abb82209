//! The seek table: where the blocks of a container are, and a checksum of what they hold.

use super::format::{damaged, take};
use crate::{Header, MAX_BLOCK, Result};

/// What the table starts with; a block would start with `b5 4c`.
pub(super) const TABLE_MAGIC: [u8; 4] = *b"\xb5TAB";
/// What a container ends with.
pub(super) const END_MAGIC: [u8; 4] = *b"\xb5END";

/// Bytes before the first entry.
const LEAD: usize = 8;
/// Bytes between the last entry and the footer.
const SUMS: usize = 13;
/// Bytes of entries that are looked at together.
const PIECE: usize = 1 << 16;

/// Where the blocks are, and a checksum of the whole content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeekTable {
    /// Stored bytes of each block, its header included.
    pub stored: Vec<u32>,
    /// Bytes of content.
    pub raw_len: u64,
    /// CRC-32 of all content.
    pub raw_crc: u32,
    /// Bytes of the container's header.
    pub header_len: u8,
}

impl SeekTable {
    /// Bytes of a table of `blocks` entries with its footer.
    pub(super) fn len(blocks: u64) -> u64 {
        (LEAD + SUMS + Footer::LEN) as u64 + blocks * 4
    }

    /// Whether its blocks can hold the content.
    pub(super) fn holds(&self, block_size: usize) -> bool {
        self.raw_len <= self.stored.len() as u64 * block_size as u64
    }

    /// Whether they can, and all of them are needed.
    pub(super) fn fits(&self, block_size: usize) -> bool {
        let blocks = self.stored.len() as u64;
        self.holds(block_size) && (blocks == 0 || self.raw_len > (blocks - 1) * block_size as u64)
    }

    /// The table and its footer.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let blocks = u32::try_from(self.stored.len()).unwrap_or(u32::MAX).to_le_bytes();
        let mut out = [TABLE_MAGIC, blocks].concat();
        out.extend(self.stored.iter().flat_map(|len| len.to_le_bytes()));
        out.extend(self.raw_len.to_le_bytes());
        out.extend(self.raw_crc.to_le_bytes());
        out.push(self.header_len);
        out.extend(blocks);
        let crc = crc32fast::hash(&out);
        out.extend(crc.to_le_bytes());
        out.extend(END_MAGIC);
        out
    }
}

/// The last bytes of a container, from which its table is found backwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    /// Entries of the table. The checksum beside it is looked at with the table.
    pub(super) blocks: u32,
}

impl Footer {
    /// Bytes of a footer.
    pub(super) const LEN: usize = 12;

    pub(super) fn parse(mut bytes: &[u8]) -> Result<Footer> {
        if !bytes.ends_with(&END_MAGIC) || bytes.len() != Footer::LEN {
            return Err(damaged(
                "it does not end with a footer: it is truncated, or something follows it",
            ));
        }
        Ok(Footer {
            blocks: u32::from_le_bytes(take(&mut bytes)?),
        })
    }
}

/// Reads a table piece by piece. Each entry is checked before more is read, so that a length that is only claimed, or a
/// hole in a sparse file, costs one piece and no more.
pub(super) struct TableReader {
    blocks: u32,
    /// Bytes that there are for blocks.
    room: u64,
    crc: crc32fast::Hasher,
    started: bool,
    table: SeekTable,
}

impl TableReader {
    /// For a table of so many blocks, for which the container has `room` bytes.
    pub(super) fn new(blocks: u32, room: u64) -> Result<TableReader> {
        if u64::from(blocks) * Header::LEN as u64 > room {
            return Err(damaged(format!(
                "its seek table claims {blocks} blocks, there is room for {}",
                room / Header::LEN as u64
            )));
        }
        Ok(TableReader {
            blocks,
            room,
            crc: crc32fast::Hasher::new(),
            started: false,
            table: SeekTable::default(),
        })
    }

    fn entries_left(&self) -> usize {
        self.blocks as usize - self.table.stored.len()
    }

    /// How many bytes to hand over next.
    pub(super) fn wants(&self) -> usize {
        match (self.started, self.entries_left()) {
            (false, _) => LEAD,
            (true, 0) => SUMS + Footer::LEN,
            (true, left) => PIECE.min(left * 4),
        }
    }

    /// Looks at the next bytes; the table, if they were the last.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Option<SeekTable>> {
        if bytes.len() != self.wants() {
            return Err(damaged("its seek table is cut short: it is truncated"));
        }
        match (self.started, self.entries_left()) {
            (false, _) => self.lead(bytes)?,
            (true, 0) => return self.sums(bytes).map(Some),
            (true, _) => self.entries(bytes)?,
        }
        self.crc.update(bytes);
        Ok(None)
    }

    fn lead(&mut self, mut bytes: &[u8]) -> Result<()> {
        if take::<4>(&mut bytes)? != TABLE_MAGIC {
            return Err(damaged("its seek table is not where it should be"));
        }
        let blocks = u32::from_le_bytes(take(&mut bytes)?);
        if blocks != self.blocks {
            let expected = self.blocks;
            return Err(damaged(format!("its seek table has {blocks} blocks, not {expected}")));
        }
        self.started = true;
        Ok(())
    }

    fn entries(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let len = u32::from_le_bytes(take(&mut bytes)?);
            let possible = (Header::LEN..=Header::LEN + MAX_BLOCK).contains(&(len as usize));
            let Some(room) = self.room.checked_sub(u64::from(len)).filter(|_| possible) else {
                return Err(damaged(format!("its seek table has a block of {len} bytes")));
            };
            self.room = room;
            self.table.stored.push(len);
        }
        Ok(())
    }

    fn sums(&mut self, mut bytes: &[u8]) -> Result<SeekTable> {
        let (covered, _) = bytes.split_at(SUMS + 4);
        self.crc.update(covered);
        let mut table = std::mem::take(&mut self.table);
        table.raw_len = u64::from_le_bytes(take(&mut bytes)?);
        table.raw_crc = u32::from_le_bytes(take(&mut bytes)?);
        [table.header_len] = take(&mut bytes)?;
        let footer = Footer::parse(bytes)?;
        let [_, _, _, _, crc @ .., _, _, _, _] = take::<{ Footer::LEN }>(&mut bytes)?;
        if footer.blocks != self.blocks || self.crc.clone().finalize() != u32::from_le_bytes(crc) {
            return Err(damaged("the CRC-32 of its seek table does not fit"));
        }
        Ok(table)
    }
}
