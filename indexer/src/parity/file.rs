//! Parity files: their names, how they are read, also when parts of them are gone, and written whole or not at all.

use super::layout::{HEADER_LEN, Layout};
use super::unusable::{ParityFile, Unusable};
use crate::io::{File, Io, read_full, write_full};
use crate::log::FOLDER;
use crate::wire::Reader;
use crate::{Error, Result};
use std::io::ErrorKind;
use std::sync::Arc;

/// Name of the parity file of a segment.
pub(crate) fn parity_name(segment: u32) -> String {
    format!("{FOLDER}/{segment:08x}.par")
}

/// Segment number in the name of a parity file.
pub(crate) fn parity_number(name: &str) -> Option<u32> {
    let hex = name.strip_suffix(".par").filter(|hex| hex.len() == 8)?;
    let id = u32::from_str_radix(hex, 16).ok()?;
    (format!("{id:08x}") == hex && id > 0).then_some(id)
}

/// A parity file as far as it can be read.
pub(crate) struct Parity {
    pub(crate) layout: Layout,
    /// CRC-32 of every data shard, then of every parity shard.
    sums: Vec<u32>,
    /// Both headers and both tables are there, and the length is right.
    whole: bool,
    file: Arc<dyn File>,
}

impl Parity {
    pub(crate) fn data_sum(&self, i: u32) -> Option<u32> {
        self.sums.get(i as usize).copied()
    }

    /// A parity shard, None if it is damaged.
    pub(crate) fn shard(&self, i: u32) -> Option<Vec<u8>> {
        let mut bytes = vec![0; self.layout.shard as usize];
        // A sector that cannot be read is a shard that is lost, no more.
        let n = read_full(self.file.as_ref(), &mut bytes, self.layout.parity_at(i)).ok()?;
        let sum = self.sums.get((self.layout.data + i) as usize)?;
        (n == bytes.len() && crc32fast::hash(&bytes) == *sum).then_some(bytes)
    }

    /// Whether nothing of the file is damaged.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole && (0..self.layout.parity).all(|i| self.shard(i).is_some())
    }
}

/// The headers of a parity file.
struct Headers {
    file: Arc<dyn File>,
    layout: Layout,
    /// CRC-32 of the table.
    crc: u32,
    /// Both are there, and the length is what they say.
    whole: bool,
}

/// Some bytes of a file, fewer where it ends or cannot be read.
fn part(file: &dyn File, at: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let n = read_full(file, &mut bytes, at).unwrap_or(0);
    bytes.truncate(n);
    bytes
}

fn headers(io: &dyn Io, segment: u32, store_id: &[u8; 16]) -> Result<ParityFile<Headers>> {
    let name = parity_name(segment);
    let file = match io.open(&name, false) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(ParityFile::Missing),
        other => other.map_err(|e| Error::io("open", &name, e))?,
    };
    let len = file.len().map_err(|e| Error::io("read", &name, e))?;
    let header = |at| Layout::decode(&part(file.as_ref(), at, HEADER_LEN), &name);
    let first = header(0)?;
    let last = len.checked_sub(HEADER_LEN as u64);
    let last = last.map(header).transpose()?.flatten();
    let Some((layout, crc)) = first.or(last) else {
        return Ok(ParityFile::Unusable(Unusable::Headers));
    };
    if (layout.segment, &layout.store_id) != (segment, store_id) {
        return Ok(ParityFile::Unusable(Unusable::Foreign));
    }
    let whole = first == last && len == layout.file_len();
    Ok(ParityFile::Usable(Headers {
        file,
        layout,
        crc,
        whole,
    }))
}

/// What the parity file of a segment covers and how, as its headers and its length say.
pub(crate) fn read_layout(io: &dyn Io, segment: u32, store_id: &[u8; 16]) -> Result<ParityFile<Layout>> {
    Ok(match headers(io, segment, store_id)? {
        ParityFile::Usable(headers) if headers.whole => ParityFile::Usable(headers.layout),
        ParityFile::Usable(_) => ParityFile::Unusable(Unusable::Parts),
        ParityFile::Unusable(why) => ParityFile::Unusable(why),
        ParityFile::Missing => ParityFile::Missing,
    })
}

/// Reads the parity file of a segment.
pub(crate) fn read(io: &dyn Io, segment: u32, store_id: &[u8; 16]) -> Result<ParityFile<Parity>> {
    let Headers {
        file,
        layout,
        crc,
        whole,
    } = match headers(io, segment, store_id)? {
        ParityFile::Usable(headers) => headers,
        ParityFile::Unusable(why) => return Ok(ParityFile::Unusable(why)),
        ParityFile::Missing => return Ok(ParityFile::Missing),
    };
    let table = |at| Some(part(file.as_ref(), at, layout.table_len())).filter(|t| crc32fast::hash(t) == crc);
    let tables = [table(HEADER_LEN as u64), table(layout.parity_at(layout.parity))];
    let whole = whole && tables.iter().all(Option::is_some);
    let Some(table) = tables.into_iter().flatten().next() else {
        return Ok(ParityFile::Unusable(Unusable::Tables));
    };
    let mut r = Reader::new(&table);
    let sums = std::iter::from_fn(|| r.u32()).collect();
    Ok(ParityFile::Usable(Parity {
        layout,
        sums,
        whole,
        file,
    }))
}

/// Writes the parity file of a segment in place of the one before: the old or the new is there, whatever happens.
pub(super) fn write(io: &dyn Io, layout: &Layout, sums: &[u32], shards: &[Vec<u8>]) -> Result<()> {
    let name = parity_name(layout.segment);
    let table: Vec<u8> = sums.iter().flat_map(|s| s.to_le_bytes()).collect();
    let header = layout.encode(crc32fast::hash(&table));
    replace(io, &name, |file| {
        write_full(file, &[header.as_slice(), &table].concat(), 0)?;
        for (i, shard) in (0..).zip(shards) {
            write_full(file, shard, layout.parity_at(i))?;
        }
        write_full(
            file,
            &[table.as_slice(), &header].concat(),
            layout.parity_at(layout.parity),
        )
    })
}

/// Writes a file under another name, makes it durable and gives it its name.
pub(crate) fn replace(io: &dyn Io, name: &str, fill: impl FnOnce(&dyn File) -> std::io::Result<()>) -> Result<()> {
    let written = crate::io::replace(io, name, fill).and_then(|()| io.sync_dir(FOLDER));
    written.map_err(|e| {
        // Its space may be what is missing. If this fails too, the next attempt or opening removes it.
        let _left_over = io.remove(&format!("{name}.new"));
        Error::io("write", name, e)
    })
}

/// Deletes the parity file of a segment, if there is one.
pub(crate) fn remove(io: &dyn Io, segment: u32) -> Result<()> {
    let name = parity_name(segment);
    match io.remove(&name) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io("remove", &name, e)),
        _ => Ok(()),
    }
}
