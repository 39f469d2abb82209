//! The index of a small store as one file: all rows, in packed pages. The clean-shutdown marker has their checksum,
//! by which this file is believed or not. docs/FORMAT.md, "Clean-shutdown marker".

use super::map::{Index, Loader};
use super::packed::{self, MAX_ROWS};
use super::page::{Rows, Writer};
use super::pages::Pages;
use super::sled::INDEX_FOLDER;
use super::spill::MOST_IN_MEMORY;
use crate::io::{Io, read_full, replace, write_full};
use crate::wire::{Reader, put_bytes};
use crate::{Error, Result};
use std::ops::ControlFlow;

const NAME: &str = "index/rows";
const MAGIC: &[u8; 8] = b"LMFSROWS";
const VERSION: u8 = 1;

/// Rows are packed in pages of about this many bytes.
const PAGE: usize = MAX_ROWS / 4;

/// No file that was written has more bytes than this, nor its rows.
const MOST: usize = 4 * MOST_IN_MEMORY;

/// Writes all rows of an index, in place of what was saved before. One that is large, and in memory because sled had
/// no place, is refused.
pub(crate) fn write(io: &dyn Io, index: &Index) -> Result<()> {
    let bytes = encode(index)?;
    let run = || {
        io.make_dir(INDEX_FOLDER)?;
        replace(io, NAME, |file| write_full(file, &bytes, 0))
    };
    run().map_err(unwritten)
}

fn unwritten(why: std::io::Error) -> Error {
    Error::io("write", NAME, why)
}

/// The bytes of the file.
fn encode(index: &Index) -> Result<Vec<u8>> {
    let mut out = MAGIC.to_vec();
    out.push(VERSION);
    let (mut page, mut taken) = (Writer::default(), 0);
    let failed = index.scan(b"", |key, value| {
        page.push(key, value);
        if page.len() < PAGE {
            return ControlFlow::Continue(());
        }
        taken += page.len();
        if taken > MOST - 2 * PAGE {
            let why = "the index is too large for one file";
            return ControlFlow::Break(unwritten(std::io::Error::other(why)));
        }
        match put(&mut out, &mut page) {
            Ok(()) => ControlFlow::Continue(()),
            Err(e) => ControlFlow::Break(e),
        }
    })?;
    failed.map_or_else(|| put(&mut out, &mut page), Err)?;
    Ok(out)
}

fn put(out: &mut Vec<u8>, page: &mut Writer) -> Result<()> {
    put_bytes(out, &packed::pack(&page.take()).map_err(unwritten)?);
    Ok(())
}

/// The index that was saved, in `pages`; `None` if none was. Whether its rows are the right ones is not known yet.
pub(crate) fn read(io: &dyn Io, pages: impl FnOnce() -> Box<dyn Pages>) -> Result<Option<Index>> {
    let at = |e| Error::io("read", NAME, e);
    let file = match io.open(NAME, false) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(at)?,
    };
    let bad = || Error::Index(format!("{NAME} is damaged"));
    let len = usize::try_from(file.len().map_err(at)?).ok().filter(|len| *len <= MOST);
    let mut bytes = vec![0; len.ok_or_else(bad)?];
    let n = read_full(file.as_ref(), &mut bytes, 0).map_err(at)?;
    let mut r = Reader::new(bytes.get(..n).unwrap_or(&bytes));
    if r.array::<8>() != Some(*MAGIC) || r.u8() != Some(VERSION) {
        return Err(bad());
    }
    let (mut loader, mut taken) = (Loader::new(pages()), 0);
    while !r.is_empty() {
        let page = r.bytes().and_then(packed::unpack).ok_or_else(bad)?;
        taken += page.len();
        if taken > MOST {
            return Err(bad());
        }
        let mut rows = Rows::new(&page);
        while let Some((key, value)) = rows.next()? {
            loader.push(key, value)?;
        }
    }
    loader.finish().map(Some)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::index::MemPages;
    use crate::io::MemIo;

    fn memory() -> Box<dyn Pages> {
        Box::new(MemPages::default())
    }

    fn index(rows: u32) -> Index {
        let mut index = Index::new(memory());
        let row = |n: u32| (n.to_be_bytes().to_vec(), Some(n.to_le_bytes().repeat(20)));
        index.apply((0..rows).map(row).collect());
        index
    }

    #[test]
    fn what_is_saved_comes_back_and_no_damaged_file_is_another_index() {
        let io = MemIo::new();
        assert!(read(&io, memory).unwrap().is_none());
        let sum = |index: &Index| index.read_all(|_, _| Some(())).unwrap();
        for rows in [0, 1, 10_000] {
            let index = index(rows);
            write(&io, &index).unwrap();
            let again = read(&io, memory).unwrap().unwrap();
            assert_eq!(sum(&again), sum(&index));
        }
        let right = sum(&index(10_000));
        let files = io.files();
        let bytes = files.get(NAME).unwrap();
        println!("{} bytes for 10,000 rows", bytes.len());
        let mut believed = 0;
        for at in (0..bytes.len()).step_by(97) {
            let mut flipped = bytes.clone();
            *flipped.get_mut(at).unwrap() ^= 1;
            for bad in [flipped, bytes.get(..at).unwrap().to_vec()] {
                let mut files = files.clone();
                files.insert(NAME.to_owned(), bad);
                match read(&MemIo::from_files(files), memory) {
                    Ok(found) => believed += u32::from(sum(&found.unwrap()) == right),
                    Err(e) => assert!(e.to_string().contains("index"), "{e}"),
                }
            }
        }
        assert!(believed < 10, "{believed} damaged files have all rows");
    }

    /// It would be refused by whoever reads it.
    #[test]
    fn an_index_that_is_too_large_is_not_written() {
        let mut index = Index::new(memory());
        let row = |n: u32| (n.to_be_bytes().to_vec(), Some(vec![n as u8; 60_000]));
        index.apply((0..MOST as u32 / 60_000).map(row).collect());
        let io = MemIo::new();
        let refused = write(&io, &index).unwrap_err().to_string();
        assert!(refused.contains("too large"), "{refused}");
        assert!(io.files().is_empty());
    }

    #[test]
    fn a_file_that_says_that_it_is_enormous_takes_no_memory() {
        let io = MemIo::new();
        write(&io, &index(10)).unwrap();
        let file = io.open(NAME, true).unwrap();
        file.set_len(MOST as u64 + 1).unwrap();
        assert!(read(&io, memory).is_err());
        // Rows without end, in pages that are small.
        let value = packed::digits(MAX_ROWS / 2);
        for (pages, good) in [(MOST / value.len() - 2, true), (MOST / value.len() + 1, false)] {
            let mut bytes = MAGIC.to_vec();
            bytes.push(VERSION);
            let mut page = Writer::default();
            for n in 0..pages as u32 {
                page.push(&n.to_be_bytes(), &value);
                put(&mut bytes, &mut page).unwrap();
            }
            assert!(bytes.len() < MOST);
            let io = MemIo::from_files([(NAME.to_owned(), bytes)]);
            assert_eq!(read(&io, memory).is_ok(), good, "{pages} pages");
        }
    }
}
