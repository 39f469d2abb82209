#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::io::{Cursor, Read, Seek, SeekFrom, Write};

use super::table::{Footer, SeekTable};
use super::*;
use crate::{Codec, Error, Header, Method, Options, Result, Stop};

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

#[test]
fn recovery_fills_gaps_with_zeros_and_lists_them() {
    let raw = text(20_000);
    let container = compress(&raw);
    let second = container[20..].windows(2).position(|w| w == [0xb5, 0x4c]).unwrap() + 20;
    let third = container[second + 26..]
        .windows(2)
        .position(|w| w == [0xb5, 0x4c])
        .unwrap()
        + second
        + 26;
    for at in [third + 30, third + 5] {
        let mut damaged = container.clone();
        damaged[at] ^= 0x55;
        let mut reader = decoder(&damaged, true);
        let mut out = Vec::new();
        reader.read_to_end(&mut out).unwrap();
        assert_eq!(reader.missing().len(), 1, "{:?}", reader.missing());
        assert_eq!(reader.missing()[0].0, 4096..8192);
        assert_eq!(out.len(), raw.len());
        assert_eq!(out[..4096], raw[..4096]);
        assert!(out[4096..8192].iter().all(|&byte| byte == 0));
        assert_eq!(out[8192..], raw[8192..]);
    }
}

#[test]
fn recovery_survives_a_damaged_header_and_finds_the_next_container() {
    let (a, b) = (text(9000), text(5000));
    let (first, second) = (compress(&a), compress(&b));
    // Every byte of the header but those of the block size, and the size itself.
    for at in 0..ContainerHeader::MIN_LEN {
        let mut damaged = [first.clone(), second.clone()].concat();
        damaged[at] ^= 0x81;
        let mut reader = decoder(&damaged, true);
        let mut out = Vec::new();
        reader.read_to_end(&mut out).unwrap();
        assert!(!reader.missing().is_empty(), "byte {at}");
        assert_eq!(out, [a.clone(), b.clone()].concat(), "byte {at}");
    }
    // Header and first block gone: all others were once lost with them, but for those of the second container.
    let mut damaged = [first, second].concat();
    damaged[..100].fill(0);
    let (out, missing) = recover(&damaged);
    assert_eq!(missing.as_slice(), std::slice::from_ref(&(0..4096)));
    assert_eq!(out, [&[0; 4096], &a[4096..], &b].concat());
    // Nothing to be found is an error and no empty content.
    assert!(decompress(&[0; 500], true).1.is_err());
}

/// What recovery finds, and the ranges that it names.
fn recover(container: &[u8]) -> (Vec<u8>, Vec<std::ops::Range<u64>>) {
    let (mut reader, mut out) = (decoder(container, true), Vec::new());
    reader.read_to_end(&mut out).unwrap();
    (out, reader.missing().iter().map(|(range, _)| range.clone()).collect())
}

/// All that followed was once left out, or a block of zeros was put in.
#[test]
fn recovery_goes_on_after_a_damaged_seek_table_and_makes_nothing_up() {
    let (a, b) = (text(9000), text(5000));
    let (first, second) = (compress(&a), compress(&b));
    for at in first.len() - SeekTable::len(3) as usize..first.len() {
        for (follows, content) in [(&[][..], a.clone()), (&second, [a.clone(), b.clone()].concat())] {
            let mut damaged = [&first, follows].concat();
            damaged[at] ^= 0x81;
            let (out, missing) = recover(&damaged);
            assert!(out == content, "byte {at}: {} bytes, {missing:?}", out.len());
            assert!(!missing.is_empty() && missing.iter().all(|range| range.is_empty()));
        }
    }
}

/// A last block's gap was once as long as a whole block.
#[test]
fn a_gap_at_the_end_is_as_long_as_the_seek_table_says() {
    let raw = text(9000);
    let mut damaged = compress(&raw);
    let last = damaged[..damaged.len() - 40]
        .windows(2)
        .rposition(|w| w == [0xb5, 0x4c])
        .unwrap();
    damaged[last + 5] ^= 0x55;
    let (out, missing) = recover(&damaged);
    assert_eq!(
        (out.len(), missing.as_slice()),
        (raw.len(), std::slice::from_ref(&(8192..9000)))
    );
    assert_eq!(out[..8192], raw[..8192]);
}

/// The header of the container behind it was once taken for a block of a newer format.
#[test]
fn a_truncated_container_before_another_is_called_truncated() {
    let (a, b) = (text(9000), text(5000));
    let first = compress(&a);
    let cut = first.len() - SeekTable::len(3) as usize;
    let both = [&first[..cut], &compress(&b)].concat();
    let (out, end) = decompress(&both, false);
    assert_eq!(out, a);
    assert!(end.unwrap_err().to_string().contains("truncated"));
    let (out, missing) = recover(&both);
    assert_eq!(out, [a, b].concat());
    assert_eq!(missing.as_slice(), std::slice::from_ref(&(9000..9000)));
}

/// The whole container was once lost although the seek table said where everything is.
#[test]
fn a_damaged_start_costs_only_itself_with_an_intact_seek_table() {
    let (a, b) = (text(20_000), text(5000));
    let (first, second) = (compress(&a), compress(&b));
    let mut blocks = vec![ContainerHeader::MIN_LEN];
    while let Ok(header) = crate::Header::parse_prefix(&first[*blocks.last().unwrap()..]) {
        blocks.push(blocks.last().unwrap() + crate::Header::LEN + header.payload_len as usize);
    }
    assert_eq!(blocks.len(), 6);
    for (damage, from) in [
        (0..20, 0),
        (0..21, 4096),
        (10..blocks[2] + 1, 3 * 4096),
        (1..blocks[4], 4 * 4096),
    ] {
        for (containers, content) in [
            ([&first[..], &second[..]], [&a[..], &b[..]]),
            ([&second, &first], [&b, &a]),
        ] {
            let start = if containers[0] == first { 0 } else { second.len() };
            let begin = if containers[0] == first { 0 } else { b.len() };
            let mut damaged = containers.concat();
            damaged[start + damage.start..start + damage.end].fill(0);
            let source = || Cursor::new(&damaged);
            assert!(SeekableReader::new(source(), |_| Ok(codec()), Stop::new()).is_err());
            let named = |header: &ContainerHeader| match header.model {
                None | Some((_, ContainerHeader::UNKNOWN_MODEL)) => Ok(codec()),
                Some(_) => Err(Error::InvalidOption("no such model".into())),
            };
            let mut reader = SeekableReader::recover(source(), named, Stop::new()).unwrap();
            let guessed: Vec<u64> = reader.guessed().map(|(at, _)| at).collect();
            assert_eq!(guessed, [begin as u64]);
            let content = content.concat();
            assert_eq!(reader.len(), content.len() as u64);
            let mut at = 0;
            while let Some(block) = reader.block_at(at) {
                let lost = (begin..begin + from).contains(&(at as usize));
                let mut bytes = vec![0; (block.end - at) as usize];
                let read = reader.read_at(at, &mut bytes);
                assert_eq!(read.is_err(), lost, "{damage:?}: block at {at}");
                assert!(lost || bytes == content[at as usize..block.end as usize]);
                at = block.end;
            }
        }
    }
}

/// A table's claim was once allocated at once: 2^50 bytes in a file of 300.
#[test]
fn a_gap_comes_in_pieces_and_no_longer_than_its_blocks_can_be() {
    let container = compress(&text(9000));
    let table = |blocks: usize, raw_len: u64| {
        let table = SeekTable {
            stored: vec![30; blocks],
            raw_len,
            raw_crc: 0,
            header_len: 20,
        };
        table.to_bytes()
    };
    let bad = |blocks: usize, raw_len: u64| [&container[..20], &[0; 3000], &table(blocks, raw_len)].concat();
    let (out, missing) = recover(&bad(0, 1 << 50));
    assert_eq!((out.len(), missing.len()), (4096, 2), "one block may have been there");
    assert_eq!(recover(&bad(50, 1 << 50)).0.len(), 4096);
    let (out, missing) = recover(&bad(50, 50 * 4096 - 1));
    assert_eq!(
        (out.len(), missing),
        (50 * 4096 - 1, std::iter::once(0..50 * 4096 - 1).collect())
    );
    // Without a header, blocks may be as large as blocks can be.
    let large = Decoder::new(
        Cursor::new([&container[21..], &compress(b"more")].concat()),
        |_: &_| Ok(codec()),
        StreamOptions {
            recover: true,
            ..options()
        },
    );
    let mut large = large;
    while let Some(chunk) = large.next_chunk().unwrap() {
        assert!(!chunk.is_empty() && chunk.len() <= crate::MAX_BLOCK);
    }
}

/// A model that was not there once counted as damage: all became zeros, or nothing, and was called recovered.
#[test]
fn recovery_without_the_model_is_an_error_and_no_content() {
    let container = compress(&text(9000));
    let mut damaged = container.clone();
    let end = damaged.len();
    damaged[end - 1] ^= 1;
    for bytes in [&container, &damaged] {
        let codec_of = |_: &ContainerHeader| Err(Error::InvalidOption("no such model".into()));
        let options = StreamOptions {
            recover: true,
            ..options()
        };
        let error = Decoder::new(&bytes[..], codec_of, options).next_chunk().unwrap_err();
        assert!(matches!(error, Error::InvalidOption(_)), "{error}");
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

/// Regression: a damaged byte at the start of a payload names a reference or another dictionary. Recovery ended there.
#[test]
fn recovery_leaves_a_gap_for_a_block_that_seems_to_need_what_is_not_here() {
    let mixing = || {
        let options = Options {
            dictionaries: false,
            ..Options::default()
        };
        Codec::new(None, options)
    };
    // Words without an order, which method mix makes smallest.
    let mut state = 1_u32;
    let word = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        [
            "river ", "stone ", "of the ", "light, ", "a bird ", "and ", "under ", "snow. ",
        ][(state >> 29) as usize]
    };
    let raw: Vec<u8> = std::iter::repeat_with(word)
        .flat_map(str::bytes)
        .take(3 * 4096)
        .collect();
    let mut encoder = Encoder::new(Vec::new(), mixing().unwrap(), options()).unwrap();
    encoder.write_all(&raw).unwrap();
    let container = encoder.finish().unwrap();
    let blocks: Vec<usize> = (0..container.len() - Header::LEN)
        .filter(|at| Header::parse_prefix(&container[*at..]).is_ok_and(|header| header.method == Method::Mix))
        .collect();
    assert_eq!(blocks.len(), 3, "{blocks:?} of {}", container.len());
    let decoded = |container: &[u8], recover: bool| {
        let mut decoder = Decoder::new(container, |_| mixing(), StreamOptions { recover, ..options() });
        let mut out = Vec::new();
        while let Some(chunk) = decoder.next_chunk()? {
            out.extend(chunk);
        }
        let missing: Vec<_> = decoder.missing().iter().map(|(range, _)| range.clone()).collect();
        Ok::<_, Error>((out, missing))
    };
    for layout in [4, 8, 9] {
        let mut damaged = container.clone();
        damaged[blocks[1] + Header::LEN] = layout;
        let error = decoded(&damaged, false).unwrap_err();
        match layout {
            4 => assert!(matches!(error, Error::MissingDictionary { .. }), "{error}"),
            _ => assert!(matches!(error, Error::Damaged { what: "block", .. }), "{error}"),
        }
        let (out, missing) = decoded(&damaged, true).unwrap();
        assert_eq!(missing, std::slice::from_ref(&(4096..8192)), "layout {layout}");
        assert_eq!(out, [&raw[..4096], &[0; 4096], &raw[8192..]].concat());
    }
    // No block without the dictionary: nothing is recovered.
    let mut lacking = container;
    blocks.iter().for_each(|at| lacking[at + Header::LEN] = 4);
    let error = decoded(&lacking, true).unwrap_err();
    assert!(matches!(error, Error::MissingDictionary { .. }), "{error}");
}
