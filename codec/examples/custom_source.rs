//! Reads a container from storage of your own. All that a source needs is [`Read`] and [`Seek`].
//!
//! Here it is a list of pages in memory, as a database or an object store might have them. The program prints how many
//! of them a read in the middle takes.
//!
//! `cargo run --release -p lmfs-codec --example custom_source`

use std::error::Error;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lmfs_codec::stream::{Encoder, SeekableReader, StreamOptions};
use lmfs_codec::{Codec, Options, Stop};

const PAGE: usize = 4096;

/// Bytes in pages. It counts how often a page is read.
struct Pages {
    pages: Vec<Vec<u8>>,
    len: u64,
    position: u64,
    reads: Arc<AtomicUsize>,
}

impl Pages {
    fn new(bytes: &[u8]) -> Pages {
        Pages {
            pages: bytes.chunks(PAGE).map(<[u8]>::to_vec).collect(),
            len: bytes.len() as u64,
            position: 0,
            reads: Arc::default(),
        }
    }
}

impl Read for Pages {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let position = usize::try_from(self.position).map_err(io::Error::other)?;
        let (page, within) = (position / PAGE, position % PAGE);
        // Behind the last page is the end, which `Read` reports as 0 bytes.
        let Some(rest) = self.pages.get(page).and_then(|page| page.get(within..)) else {
            return Ok(0);
        };
        self.reads.fetch_add(1, Ordering::Relaxed);
        let read = (&mut &*rest).read(buffer)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for Pages {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(distance) => self.len.checked_add_signed(distance),
            SeekFrom::Current(distance) => self.position.checked_add_signed(distance),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    // Without a language model, to keep the example fast.
    let codec = Codec::new(None, Options::default())?;
    let text: String = (0..50_000).map(|n| format!("line {n}: {}\n", n * n)).collect();
    let mut options = StreamOptions::default();
    options.block_size = 64 << 10;
    let mut encoder = Encoder::new(Vec::new(), codec.clone(), options)?;
    encoder.write_all(text.as_bytes())?;
    let pages = Pages::new(&encoder.finish()?);
    println!(
        "{} bytes became {} pages of {PAGE} bytes",
        text.len(),
        pages.pages.len()
    );

    let reads = pages.reads.clone();
    let mut reader = SeekableReader::new(pages, |_header| Ok(codec.clone()), Stop::new())?;
    println!("the seek table took {} reads", reads.swap(0, Ordering::Relaxed));
    let middle = reader.len() / 2;
    let mut piece = vec![0; 100];
    let read = reader.read_at(middle, &mut piece)?;
    let expected = text.as_bytes().get(middle as usize..).and_then(|rest| rest.get(..read));
    assert_eq!(piece.get(..read), expected);
    println!(
        "{read} bytes from offset {middle} are right and took {} reads",
        reads.load(Ordering::Relaxed)
    );
    Ok(())
}
