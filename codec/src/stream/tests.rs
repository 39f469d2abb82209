#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::io::{Cursor, Read, Seek, SeekFrom, Write};

mod recovery;

use super::table::{Footer, SeekTable};
use super::*;
use crate::{Codec, Error, Options, Result, Stop};

pub(super) fn codec() -> Codec {
    Codec::new(
        None,
        Options {
            mix: false,
            ..Options::default()
        },
    )
    .unwrap()
}

pub(super) fn options() -> StreamOptions {
    StreamOptions {
        block_size: 4096,
        threads: 2,
        ..StreamOptions::default()
    }
}

pub(super) fn text(len: usize) -> Vec<u8> {
    (0_u32..)
        .flat_map(|i| format!("{i} and {}, ", i.wrapping_mul(2_654_435_761)).into_bytes())
        .take(len)
        .collect()
}

pub(super) fn compress(raw: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new(), codec(), options()).unwrap();
    encoder.write_all(raw).unwrap();
    encoder.finish().unwrap()
}

type CodecOf = fn(&ContainerHeader) -> Result<Codec>;

fn decoder(container: &[u8], recover: bool) -> Decoder<&[u8], CodecOf> {
    Decoder::new(container, |_| Ok(codec()), StreamOptions { recover, ..options() })
}

/// What comes out, and how it ended.
fn decompress(container: &[u8], recover: bool) -> (Vec<u8>, Result<()>) {
    let (mut decoder, mut out) = (decoder(container, recover), Vec::new());
    loop {
        match decoder.next_chunk() {
            Ok(Some(chunk)) => out.extend(chunk),
            Ok(None) => return (out, Ok(())),
            Err(error) => return (out, Err(error)),
        }
    }
}

#[test]
fn contents_of_all_lengths_return() {
    for len in [0, 1, 4095, 4096, 4097, 100_000] {
        let raw = text(len);
        let (out, end) = decompress(&compress(&raw), false);
        end.unwrap();
        assert_eq!(out, raw, "{len} bytes");
    }
}

#[test]
fn concatenated_containers_are_their_contents_concatenated() {
    let (a, b) = (text(10_000), text(5000));
    let both = [compress(&a), compress(&[]), compress(&b)].concat();
    let (out, end) = decompress(&both, false);
    end.unwrap();
    assert_eq!(out, [a, b].concat());
}

#[test]
fn every_truncation_gives_the_blocks_before_it_and_an_error() {
    let raw = text(9000);
    let container = compress(&raw);
    for len in 0..container.len() {
        let (out, end) = decompress(&container[..len], false);
        assert!(end.is_err(), "{len} of {} bytes", container.len());
        assert_eq!(out, raw[..out.len()]);
        let tail = SeekTable::len(3) as usize;
        assert_eq!(
            len >= container.len() - tail,
            out.len() == raw.len(),
            "{len} of {}",
            container.len()
        );
    }
}

#[test]
fn every_bit_flip_is_detected_or_harmless_and_what_lies_before_it_comes_out() {
    let raw = text(4500);
    let container = compress(&raw);
    for bit in 0..container.len() * 8 {
        let mut flipped = container.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let (out, end) = decompress(&flipped, false);
        // Some bits of a zstd frame (its window size) do not matter.
        assert!(end.is_err() || out == raw, "bit {bit}");
        assert!(raw.starts_with(&out), "bit {bit}");
    }
}

/// A source that says "not now" before every few bytes.
struct Halting<'a>(&'a [u8], bool);

impl Read for Halting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(std::io::ErrorKind::WouldBlock.into());
        }
        let len = buffer.len().min(700);
        self.0.read(&mut buffer[..len])
    }
}

/// What followed an error of the input once seemed to be the end of the content.
#[test]
fn reading_goes_on_after_an_error_of_the_input() {
    let raw = text(20_000);
    let both = [compress(&raw), compress(&raw)].concat();
    for recover in [false, true] {
        let options = StreamOptions { recover, ..options() };
        let mut reader = Decoder::new(Halting(&both, false), |_| Ok(codec()), options);
        let (mut out, mut buffer, mut errors) = (Vec::<u8>::new(), [0; 5000], 0);
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(len) => out.extend(&buffer[..len]),
                Err(error) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                    errors += 1;
                }
            }
        }
        assert!(errors > 10 && reader.missing().is_empty());
        assert_eq!(out, [&raw[..], &raw].concat());
    }
}

/// With damage before it, an error of the input once let blocks follow that had no place there; in the middle of
/// damage, it left a gap out and shifted all that followed.
#[test]
fn an_error_of_the_input_changes_nothing_about_damage() {
    let raw = text(20_000);
    let both = [compress(&raw), compress(&raw)].concat();
    let places = [
        0,
        20,
        61,
        65,
        100,
        3000,
        5000,
        both.len() / 2 - 50,
        both.len() / 2 - 10,
        both.len() / 2 + 70,
    ];
    for recover in [false, true] {
        for (at, len) in places.into_iter().flat_map(|at| [1, 30, 2500].map(|len| (at, len))) {
            let mut damaged = both.clone();
            damaged[at..at + len].iter_mut().for_each(|byte| *byte ^= 0x55);
            let (expected, end) = decompress(&damaged, recover);
            let options = StreamOptions { recover, ..options() };
            let mut reader = Decoder::new(Halting(&damaged, false), |_| Ok(codec()), options);
            let (mut out, mut found) = (Vec::new(), None);
            for _ in 0..1000 {
                match reader.next_chunk() {
                    Ok(Some(chunk)) => out.extend(chunk),
                    Ok(None) => break,
                    Err(Error::Io { .. }) => {}
                    Err(error) => found = found.or(Some(error.to_string())),
                }
            }
            assert!(
                out == expected,
                "{len} bytes at {at}: {} of {}",
                out.len(),
                expected.len()
            );
            assert_eq!(found, end.err().map(|error| error.to_string()), "{len} bytes at {at}");
        }
    }
}

/// The next call after damage once went on behind it, or reported the end.
#[test]
fn after_damage_no_call_succeeds() {
    let mut container = compress(&text(20_000));
    container[ContainerHeader::MIN_LEN + 100] ^= 1;
    let mut reader = decoder(&container, false);
    let mut buffer = [0; 100];
    for _ in 0..5 {
        assert!(reader.read(&mut buffer).is_err());
    }
}

/// A block that could not be written was once missing from a container that looked whole.
#[test]
fn nothing_is_finished_after_a_block_was_not_written() {
    struct Hiccup(usize);
    impl Write for Hiccup {
        fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
            self.0 += 1;
            match self.0 {
                3 => Err(std::io::ErrorKind::StorageFull.into()),
                _ => Ok(data.len()),
            }
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut encoder = Encoder::new(Hiccup(0), codec(), options()).unwrap();
    let raw = text(4096);
    let failed = (0..100).filter(|_| encoder.write_all(&raw).is_err()).count();
    assert!(failed > 50, "{failed}");
    assert!(encoder.finish().is_err());
}

#[test]
fn any_part_can_be_read() {
    let (a, b) = (text(30_000), text(7000));
    let raw = [a.clone(), b.clone()].concat();
    let source = Cursor::new([compress(&a), compress(&b)].concat());
    let mut reader = SeekableReader::new(source, |_| Ok(codec()), Stop::new()).unwrap();
    assert_eq!(reader.len(), raw.len() as u64);
    assert_eq!(reader.block_at(5000), Some(4096..8192));
    assert_eq!(reader.block_at(30_001), Some(30_000..34_096));
    assert_eq!(
        (reader.block_at(36_999), reader.block_at(37_000)),
        (Some(34_096..37_000), None)
    );
    for (offset, len) in [
        (0, 10),
        (4090, 20),
        (29_990, 20),
        (36_990, 10),
        (36_990, 20),
        (50_000, 5),
        (12_288, 4096),
    ] {
        let mut part = Vec::new();
        reader.seek(SeekFrom::Start(offset)).unwrap();
        (&mut reader).take(len).read_to_end(&mut part).unwrap();
        let from = raw.len().min(offset as usize);
        let to = raw.len().min(from + len as usize);
        assert_eq!(part, raw[from..to], "{len} bytes at {offset}");
    }
}

#[test]
fn one_part_reads_one_block() {
    struct Counting(Cursor<Vec<u8>>, u64);
    impl Read for Counting {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let len = self.0.read(buffer)?;
            self.1 += len as u64;
            Ok(len)
        }
    }
    impl Seek for Counting {
        fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
            self.0.seek(to)
        }
    }
    let container = compress(&text(1_000_000));
    let mut source = Counting(Cursor::new(container.clone()), 0);
    let mut reader = SeekableReader::new(&mut source, |_| Ok(codec()), Stop::new()).unwrap();
    reader.read_at(500_000, &mut [0; 100]).unwrap();
    drop(reader);
    assert!(source.1 < 10_000, "{} of {} bytes", source.1, container.len());
}

#[test]
fn absurd_claims_are_refused_without_allocating() {
    let container = compress(&text(5000));
    let mut lying = container.clone();
    let footer = lying.len() - Footer::LEN;
    lying[footer..footer + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(decompress(&lying, false).1.is_err());
    assert!(SeekableReader::new(Cursor::new(lying), |_| Ok(codec()), Stop::new()).is_err());
}

#[test]
fn text_transfers_and_other_files_are_recognized() {
    let mut container = compress(b"text");
    container.remove(4);
    let error = decompress(&container, false).1.unwrap_err().to_string();
    assert!(error.contains("transferred as text"), "{error}");
    assert!(matches!(
        decompress(b"\x1f\x8b\x08", false).1,
        Err(Error::NotAContainer { .. })
    ));
    // Other files are not called damaged ones, wherever one starts to read; pieces and damaged ones are.
    for (bytes, words) in [
        (&b"once upon a time"[..], "not an .lmz file: it starts with [6f, "),
        (&text(5000), "not an .lmz file"),
        (&compress(b"text")[..5], "cut short"),
        (&compress(b"text")[..40], "truncated"),
    ] {
        let error = decompress(bytes, false).1.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        let found = SeekableReader::new(Cursor::new(bytes), |_| Ok(codec()), Stop::new()).err();
        let error = found.unwrap().to_string();
        assert!(error.contains(words), "{error}");
    }
    assert!(matches!(decompress(b"", false).1, Err(Error::Damaged { .. })));
}

#[test]
fn a_stop_ends_both_directions() {
    let options = options();
    options.stop.set();
    let mut encoder = Encoder::new(Vec::new(), codec(), options.clone()).unwrap();
    encoder.write_all(&text(4096)).unwrap();
    assert!(matches!(encoder.finish(), Err(Error::Interrupted)));
    let container = compress(&text(10));
    let mut decoder = Decoder::new(&container[..], |_: &_| Ok(codec()), options);
    assert!(matches!(decoder.next_chunk(), Err(Error::Interrupted)));
}

/// The hex dumps of docs/FORMAT.md, which are also the oldest samples of these formats.
#[test]
fn the_worked_examples_are_what_is_written_and_read() {
    let document = include_str!("../../../docs/FORMAT.md");
    let mut dumps: Vec<Vec<u8>> = vec![Vec::new()];
    for line in document.lines() {
        let at = line
            .split_once("  ")
            .filter(|(at, _)| at.len() == 4 && u16::from_str_radix(at, 16).is_ok());
        let Some((_, hex)) = at else {
            dumps.push(Vec::new());
            continue;
        };
        let bytes: Option<Vec<u8>> = hex.split(' ').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
        dumps.last_mut().unwrap().extend(bytes.unwrap_or_default());
    }
    dumps.retain(|dump| dump.starts_with(&[0xb5]));
    let [block, container] = &dumps[..] else {
        panic!("{} dumps", dumps.len())
    };
    assert_eq!(&codec().stage(b"hello").unwrap(), block);
    assert_eq!(codec().decode(block, &Stop::new()).unwrap(), b"hello");
    assert_eq!(&compress(b"hello"), container);
    assert_eq!(decompress(container, false).0, b"hello");
}
