//! Input that was made to cost more than it is: what reading it takes of memory and of the input is bounded, and
//! printed.
//!
//! Memory is counted by an allocator, work by a reader: both are the same in every run.

#![allow(
    missing_docs,
    unsafe_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests, with an allocator that counts"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use ::tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use lmfs_codec::model::gguf::Gguf;
use lmfs_codec::stream::{ContainerHeader, Decoder, Encoder, SeekableReader, StreamOptions, tokio};
use lmfs_codec::{Codec, Error, Header, MAX_BLOCK, Method, Options, Stop};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grown(by: usize) {
    let live = LIVE.fetch_add(by, Ordering::Relaxed) + by;
    PEAK.fetch_max(live, Ordering::Relaxed);
}

// SAFETY: every call goes on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller keeps the promises that this method asks of it.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Held by each test from its start to its end: the allocator counts for all threads, so a test that prepares its input
/// would be counted in another's measurement.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The most memory that `work` had at a time.
fn memory<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let result = work();
    (PEAK.load(Ordering::Relaxed).saturating_sub(before), result)
}

/// A file of zeros with something here and there, which counts the bytes that are read.
struct Sparse {
    parts: Vec<(u64, Vec<u8>)>,
    len: u64,
    at: u64,
    read: u64,
}

impl Sparse {
    fn new(len: u64, parts: Vec<(u64, Vec<u8>)>) -> Sparse {
        Sparse {
            parts,
            len,
            at: 0,
            read: 0,
        }
    }
}

impl Read for Sparse {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer
            .len()
            .min(usize::try_from(self.len.saturating_sub(self.at)).unwrap());
        let buffer = &mut buffer[..len];
        buffer.fill(0);
        for (start, bytes) in &self.parts {
            let from = self.at.max(*start);
            let to = (self.at + len as u64).min(start + bytes.len() as u64);
            if from < to {
                let source = &bytes[(from - start) as usize..(to - start) as usize];
                buffer[(from - self.at) as usize..][..source.len()].copy_from_slice(source);
            }
        }
        self.at += len as u64;
        self.read += len as u64;
        Ok(len)
    }
}

impl Seek for Sparse {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::End(by) => self.len.checked_add_signed(by).unwrap(),
            SeekFrom::Current(by) => self.at.checked_add_signed(by).unwrap(),
        };
        Ok(self.at)
    }
}

impl AsyncRead for Sparse {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut piece = vec![0; buffer.remaining().min(1 << 16)];
        let len = Read::read(&mut *self, &mut piece)?;
        buffer.put_slice(&piece[..len]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncSeek for Sparse {
    fn start_seek(mut self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        Seek::seek(&mut *self, to).map(drop)
    }

    fn poll_complete(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Ok(self.at))
    }
}

fn plain() -> Codec {
    Codec::new(None, Options::default()).unwrap()
}

fn container(raw: &[u8]) -> Vec<u8> {
    let mut options = StreamOptions::default();
    options.block_size = 4096;
    let mut encoder = Encoder::new(Vec::new(), plain(), options).unwrap();
    encoder.write_all(raw).unwrap();
    encoder.finish().unwrap()
}

const MIB: usize = 1 << 20;
const TIB: u64 = 1 << 40;

/// Files of 1 TiB of holes that claim a seek table: how each begins and ends.
fn tables() -> Vec<(&'static str, Sparse)> {
    let header = || (0, container(b"")[..ContainerHeader::MIN_LEN].to_vec());
    let table_len = |blocks: u32| u64::from(blocks) * 4 + 33;
    let footer = |blocks: u32| [&blocks.to_le_bytes()[..], &[0; 4], b"\xb5END"].concat();
    let lead = |blocks: u32| [b"\xb5TAB", &blocks.to_le_bytes()[..]].concat();
    let most = u32::MAX;
    let entries: Vec<u8> = [30, 0, 0, 0].repeat(40_000);
    vec![
        ("all holes", Sparse::new(TIB, vec![])),
        (
            "a table of holes",
            Sparse::new(TIB, vec![header(), (TIB - 12, footer(most))]),
        ),
        (
            "a table whose start is there",
            Sparse::new(
                TIB,
                vec![header(), (TIB - table_len(most), lead(most)), (TIB - 12, footer(most))],
            ),
        ),
        (
            "a table whose first entries are there",
            Sparse::new(
                TIB,
                vec![
                    header(),
                    (TIB - table_len(most), [&lead(most)[..], &entries].concat()),
                    (TIB - 12, footer(most)),
                ],
            ),
        ),
        (
            "a table longer than the file",
            Sparse::new(1 << 30, vec![header(), ((1 << 30) - 12, footer(most))]),
        ),
    ]
}

/// Regression: a sparse file of 1 TiB, 8 KB of the disk, was read into memory as a seek table.
#[test]
fn a_claimed_seek_table_costs_what_is_there_of_it() {
    let _alone = alone();
    let any = |_: &ContainerHeader| Ok(plain());
    for recover in [false, true] {
        for (what, mut file) in tables() {
            let (peak, result) = memory(|| match recover {
                false => SeekableReader::new(&mut file, any, Stop::new()).err(),
                true => SeekableReader::recover(&mut file, any, Stop::new()).err(),
            });
            let error = result.unwrap();
            assert!(error.is_damage() || what == "all holes", "{what}: {error}");
            println!("{what}: {} bytes read, {peak} of memory: {error}", file.read);
            assert!(
                file.read <= 512 << 10 && peak <= 2 * MIB,
                "{what}: {}, {peak}",
                file.read
            );
        }
    }
    let runtime = ::tokio::runtime::Builder::new_current_thread().build().unwrap();
    for (what, mut file) in tables() {
        let (peak, error) = memory(|| {
            runtime
                .block_on(tokio::SeekableReader::open(&mut file, any))
                .err()
                .unwrap()
        });
        println!(
            "{what}, asynchronously: {} bytes read, {peak} of memory: {error}",
            file.read
        );
        assert!(
            file.read <= 512 << 10 && peak <= 2 * MIB,
            "{what}: {}, {peak}",
            file.read
        );
    }
}

/// A table that recovery comes to from the front may claim a block for every 26 bytes that were lost.
#[test]
fn a_table_after_a_hole_costs_what_is_there_of_it() {
    let _alone = alone();
    let start = container(&[7; 4096]);
    let begin = start[..start.len() - 37].to_vec();
    let (hole, len) = (64 << 20, 80 << 20);
    let blocks = (hole / 26) as u32;
    let lead = [b"\xb5TAB", &blocks.to_le_bytes()[..], &[30, 0, 0, 0].repeat(1000)].concat();
    let mut file = Sparse::new(len, vec![(0, begin), (hole, lead)]);
    let mut options = StreamOptions::default();
    (options.recover, options.threads) = (true, 1);
    let (peak, out) = memory(|| {
        let mut decoder = Decoder::new(&mut file, |_: &ContainerHeader| Ok(plain()), options);
        let mut out = 0;
        while let Ok(Some(chunk)) = decoder.next_chunk() {
            out += chunk.len();
        }
        assert!(!decoder.missing().is_empty());
        out
    });
    println!(
        "{len} bytes with a hole and a table: {} read, {peak} of memory, {out} bytes out",
        file.read
    );
    assert!(file.read <= len && peak <= 8 * MIB, "{}, {peak}", file.read);
}

/// Regression: recovery that found nothing did not hear that it should end.
#[test]
fn a_stop_ends_a_search_for_something_intact() {
    let _alone = alone();
    struct Endless(Stop, u64);
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            buffer.fill(0xb5);
            self.1 += buffer.len() as u64;
            if self.1 >= 1 << 20 {
                self.0.set();
            }
            Ok(buffer.len())
        }
    }
    let start = container(&[7; 4096]);
    let in_container = &start[..start.len() - 37];
    for begin in [&b""[..], in_container] {
        let mut options = StreamOptions::default();
        options.recover = true;
        let mut endless = Endless(options.stop.clone(), 0);
        let mut decoder = Decoder::new(begin.chain(&mut endless), |_: &ContainerHeader| Ok(plain()), options);
        let end = loop {
            match decoder.next_chunk() {
                Ok(chunk) => assert!(chunk.is_some(), "no end of an endless input"),
                Err(error) => break error,
            }
        };
        assert!(matches!(end, Error::Interrupted), "{end}");
        drop(decoder);
        assert!(endless.1 <= (1 << 20) + (1 << 16), "{} bytes after the stop", endless.1);
    }
}

/// Damage on every second block once made a list as long as the input.
#[test]
fn many_gaps_take_bounded_memory() {
    let _alone = alone();
    let block = plain().stage(b"a").unwrap();
    let begin = container(b"")[..ContainerHeader::MIN_LEN].to_vec();
    let peak = |times: usize| {
        let bytes = [&begin[..], &[&block[..], b"?"].concat().repeat(times)].concat();
        let mut options = StreamOptions::default();
        (options.recover, options.threads) = (true, 1);
        let (peak, gaps) = memory(|| {
            let mut decoder = Decoder::new(&bytes[..], |_: &ContainerHeader| Ok(plain()), options);
            while let Ok(Some(_)) = decoder.next_chunk() {}
            (decoder.missing().len(), decoder.gaps())
        });
        println!(
            "{} bytes: {} gaps, {} listed, {peak} of memory",
            bytes.len(),
            gaps.1,
            gaps.0
        );
        assert!(gaps.1 >= times as u64 - 1);
        peak
    };
    let (some, more) = (peak(20_000), peak(80_000));
    assert!(more <= some + 80_000 * 8, "{some}, {more}");
}

/// Block headers that claim much before a payload that has little.
#[test]
fn a_block_takes_what_its_documented_size_takes() {
    let _alone = alone();
    let codec = plain();
    for (method, limit) in [
        (Method::Raw, 4 * MIB),
        (Method::Zstd, 4 * MIB),
        (Method::Mix, 150 * MIB),
    ] {
        for len in [0, 1, 30, 3000] {
            let payload: Vec<u8> = (0..len).map(|i: u32| (i * 7) as u8).collect();
            let header = Header {
                version: Header::VERSION,
                method,
                lanes: u16::from(method == Method::Mix),
                is_behind: false,
                raw_len: MAX_BLOCK as u32,
                payload_len: payload.len() as u32,
                raw_crc: 1,
                params: codec.params(method),
            };
            let block = [&header.to_bytes()[..], &payload].concat();
            let (peak, result) = memory(|| codec.decode(&block, &Stop::new()));
            assert!(result.is_err(), "{method}, {len} bytes");
            println!("{method} of {len} bytes that claims {MAX_BLOCK}: {peak} of memory");
            assert!(peak <= limit, "{method}, {len} bytes: {peak}");
        }
    }
}

/// Model files whose values take more memory than file.
#[test]
fn a_model_file_takes_a_bounded_multiple_of_its_length() {
    let _alone = alone();
    let head = |tensors: u64, keys: u64| {
        let mut file = b"GGUF\x03\0\0\0".to_vec();
        file.extend(tensors.to_le_bytes());
        file.extend(keys.to_le_bytes());
        file
    };
    let array = |kind: u32, count: u64, value: &[u8]| {
        let mut file = head(0, 1);
        file.extend(1_u64.to_le_bytes());
        file.extend(b"a\x09\0\0\0");
        file.extend(kind.to_le_bytes());
        file.extend(count.to_le_bytes());
        file.extend(value.repeat(1 << 20));
        file
    };
    let nested = [&9_u32.to_le_bytes()[..], &u64::MAX.to_le_bytes()].concat();
    for (what, file) in [
        ("bytes", array(0, 1 << 20, b"x")),
        ("more bytes than there are", array(0, 1 << 40, b"x")),
        ("empty strings", array(8, 1 << 20, &[0; 8])),
        ("long strings", array(8, 1 << 20, &[0xff; 8])),
        ("arrays of arrays", array(9, 1 << 20, &nested)),
        ("tensors", [head(u64::MAX, 0), vec![0; MIB]].concat()),
    ] {
        let (peak, result) = memory(|| Gguf::parse(&file).map(drop));
        let times = peak / file.len();
        println!(
            "{what}: {} bytes, {peak} of memory ({times} times): {:?}",
            file.len(),
            result.err()
        );
        assert!(peak <= 72 * file.len(), "{what}: {peak}");
    }
}
