use std::io::{Cursor, Read, Write};
use std::ops::Range;

use super::*;
use crate::stream::{ContainerHeader, Decoder, Encoder, SeekableReader, StreamOptions};
use crate::{Method, Options};

const BLOCK: usize = 4096;

fn codec() -> Codec {
    Codec::new(None, Options::default()).unwrap()
}

fn options(recover: bool) -> StreamOptions {
    StreamOptions {
        block_size: BLOCK,
        most_key: 4 * BLOCK,
        threads: 3,
        recover,
        ..StreamOptions::default()
    }
}

/// Records that have words in common, no two alike: what is at one place of them helps at all others.
fn records(len: usize) -> Vec<u8> {
    let names = [
        "alder", "birch", "cedar", "dogwood", "elm", "fir", "ginkgo", "hazel", "ironwood", "juniper",
    ];
    let mut state = 7_u64;
    let mut next = move |n: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    std::iter::from_fn(|| {
        let (name, height, place) = (names[next(10) as usize], next(40), next(1 << 30));
        Some(format!(
            "{{\"species\": \"{name}\", \"height_in_meters\": {height}, \"plot\": {place}}},\n"
        ))
    })
    .flat_map(String::into_bytes)
    .take(len)
    .collect()
}

fn compress(raw: &[u8], options: StreamOptions) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new(), codec(), options).unwrap();
    encoder.write_all(raw).unwrap();
    encoder.finish().unwrap()
}

/// Where the blocks of a container lie.
fn blocks(container: &[u8]) -> Vec<Range<usize>> {
    let (mut at, mut found) = (ContainerHeader::MIN_LEN, Vec::new());
    while let Ok(header) = Header::parse_prefix(&container[at..]) {
        let end = at + Header::LEN + header.payload_len as usize;
        found.push(at..end);
        at = end;
    }
    found
}

fn parts(container: &[u8]) -> usize {
    let of = |block: &Range<usize>| KeyPart::of(&container[block.clone()]);
    let found: Vec<_> = blocks(container).iter().map_while(of).collect();
    for (number, part) in found.iter().enumerate() {
        assert_eq!(
            (usize::from(part.number), usize::from(part.blocks)),
            (number, found.len())
        );
    }
    found.len()
}

fn read(container: &[u8], recover: bool) -> (Vec<u8>, Vec<Range<u64>>) {
    let mut decoder = Decoder::new(container, |_: &_| Ok(codec()), options(recover));
    let mut out = Vec::new();
    decoder.read_to_end(&mut out).unwrap();
    (out, decoder.missing().iter().map(|(range, _)| range.clone()).collect())
}

fn seekable(container: &[u8]) -> SeekableReader<Cursor<&[u8]>> {
    SeekableReader::recover(Cursor::new(container), |_: &_| Ok(codec()), Stop::new()).unwrap()
}

/// Reads block by block, the last one first; which of them are lost.
fn backwards(container: &[u8], raw: &[u8]) -> Vec<Range<u64>> {
    let mut reader = seekable(container);
    let starts: Vec<u64> = (0..raw.len() as u64).step_by(BLOCK).collect();
    let mut lost = Vec::new();
    for &start in starts.iter().rev() {
        let range = reader.block_at(start).unwrap();
        let mut bytes = vec![0; (range.end - range.start) as usize];
        match reader.read_at(start, &mut bytes) {
            Ok(len) => assert_eq!(bytes[..len], raw[range.start as usize..range.end as usize]),
            Err(error) => {
                assert!(error.is_damage(), "{error}");
                lost.push(range);
            }
        }
    }
    lost.reverse();
    lost
}

#[test]
fn content_of_all_lengths_returns_and_takes_less_with_a_key() {
    for (len, expected) in [(0, 0), (BLOCK, 0), (4 * BLOCK, 3), (4 * BLOCK + 1, 4), (20 * BLOCK, 4)] {
        let raw = records(len);
        let with = compress(&raw, options(false));
        assert_eq!(parts(&with), expected, "{len} bytes");
        assert_eq!(read(&with, false).0, raw, "{len} bytes");
        assert!(backwards(&with, &raw).is_empty());
        let without = compress(
            &raw,
            StreamOptions {
                most_key: 0,
                ..options(false)
            },
        );
        if expected == 4 {
            assert!(with.len() < without.len());
        }
        if len > 5 * BLOCK {
            assert!(
                with.len() * 10 < without.len() * 9,
                "{} for {}",
                with.len(),
                without.len()
            );
        }
        assert_eq!(parts(&without), 0);
    }
}

/// A table of records of a fixed length is smaller as what it is, and noise as it is.
#[test]
fn there_is_no_key_where_it_does_not_pay() {
    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(12 * BLOCK)
    .collect();
    let container = compress(&noise, options(false));
    assert_eq!(parts(&container), 0);
    assert!(
        blocks(&container)
            .iter()
            .all(|block| { Header::parse(&container[block.clone()]).unwrap().method == Method::Raw })
    );
    assert_eq!(read(&container, false).0, noise);
}

#[test]
fn several_containers_in_a_row_have_keys_of_their_own() {
    let raw = records(50 * BLOCK);
    let (a, b, c) = (
        &raw[..20 * BLOCK],
        &raw[20 * BLOCK..31 * BLOCK + 5],
        &raw[31 * BLOCK + 5..],
    );
    let all: Vec<u8> = [a, b, c].map(|part| compress(part, options(false))).concat();
    assert_eq!(read(&all, false).0, raw);
    let mut reader = seekable(&all);
    // Each in turn: more than are kept.
    for at in [0, 25, 40, 5, 30, 49, 1] {
        let mut bytes = [0; 100];
        let len = reader.read_at((at * BLOCK) as u64, &mut bytes).unwrap();
        assert!(len > 0);
        assert_eq!(bytes[..len], raw[at * BLOCK..at * BLOCK + len]);
    }
}

/// Whatever is damaged in a key costs what is behind it and says so, and nothing else.
#[test]
fn a_damaged_key_costs_what_needs_it_and_no_more() {
    let mut raw = records(12 * BLOCK);
    // Block 9 is stored as it is, and needs no key.
    let mut state = 3_u32;
    raw[9 * BLOCK..10 * BLOCK].fill_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    let container = compress(&raw, options(false));
    assert_eq!(parts(&container), 4);
    let all = blocks(&container);
    let range = |from: usize, to: usize| (from * BLOCK) as u64..(to * BLOCK) as u64;
    for (block, at) in [
        (0, 0),
        (0, 5),
        (0, 30),
        (0, 60),
        (2, 0),
        (2, 12),
        (2, 27),
        (2, 90),
        (3, 100),
    ] {
        let mut damaged = container.clone();
        damaged[all[block].start + at] ^= 0x11;
        let (out, missing) = read(&damaged, true);
        assert_eq!(out.len(), raw.len(), "byte {at} of block {block}");
        let lost: Vec<Range<u64>> = (block..12).filter(|i| *i != 9).map(|i| range(i, i + 1)).collect();
        assert_eq!(missing, lost, "byte {at} of block {block}");
        assert_eq!(out[..block * BLOCK], raw[..block * BLOCK]);
        assert_eq!(out[9 * BLOCK..10 * BLOCK], raw[9 * BLOCK..10 * BLOCK]);
        assert_eq!(backwards(&damaged, &raw), lost, "byte {at} of block {block}");
        let mut strict = Decoder::new(&damaged[..], |_: &_| Ok(codec()), options(false));
        assert!(strict.read_to_end(&mut Vec::new()).is_err());
    }
    // A block behind it costs itself.
    let mut damaged = container.clone();
    damaged[all[7].start + 60] ^= 1;
    assert_eq!(read(&damaged, true).1, [range(7, 8)]);
    // The container's header costs nothing.
    let mut damaged = container.clone();
    damaged[9] ^= 0x55;
    assert_eq!(backwards(&damaged, &raw), []);
    assert_eq!(read(&damaged, true).0, raw);
}

/// Blocks of keys at places, in numbers or of lengths that no encoder gives them.
#[test]
fn keys_that_cannot_be_are_damage() {
    let raw = records(12 * BLOCK);
    let container = compress(&raw, options(false));
    let all = blocks(&container);
    let block = |i: usize| container[all[i].clone()].to_vec();
    let claiming = |i: usize, blocks: u16, number: u16| {
        let mut block = block(i);
        let [b0, b1] = blocks.to_le_bytes();
        let [n0, n1] = number.to_le_bytes();
        block[Header::LEN + 1..Header::LEN + 5].copy_from_slice(&[b0, b1, n0, n1]);
        block
    };
    let header = &container[..ContainerHeader::MIN_LEN];
    let of = |blocks: &[Vec<u8>]| {
        let mut assembler = crate::stream::Assembler::new(&ContainerHeader::parse(header).unwrap());
        let mut out = header.to_vec();
        for block in blocks {
            assembler.push(block).unwrap();
            out.extend(block);
        }
        out.extend(assembler.finish());
        out
    };
    let cases: Vec<Vec<Vec<u8>>> = vec![
        // Too few, too many, twice, in another order, behind others, a number beyond the end.
        vec![block(0), block(1), block(2), block(5)],
        vec![block(0), block(1), block(2), block(3), block(3), block(5)],
        vec![block(1), block(0), block(2), block(3), block(5)],
        vec![block(5), block(0), block(1), block(2), block(3)],
        vec![claiming(0, 4, 4), block(5)],
        vec![claiming(0, 0, 0), block(5)],
        vec![claiming(0, 256, 0), block(5)],
        vec![claiming(0, 257, 0), block(5)],
        vec![claiming(0, u16::MAX, 0), block(5)],
        vec![claiming(0, 1, 0), block(5)],
        vec![block(0)],
    ];
    for (number, case) in cases.iter().enumerate() {
        let container = of(case);
        let mut strict = Decoder::new(&container[..], |_: &_| Ok(codec()), options(false));
        let end = strict.read_to_end(&mut Vec::new());
        let whole = number == 10;
        assert_eq!(end.is_ok(), whole, "case {number}");
        let mut reader = seekable(&container);
        let mut lost = 0;
        for at in (0..reader.len()).step_by(BLOCK) {
            match reader.read_at(at, &mut [0; 10]) {
                Ok(_) => {}
                Err(error) => {
                    assert!(error.is_damage(), "case {number}: {error}");
                    lost += 1;
                }
            }
        }
        assert!(whole || lost > 0, "case {number}");
    }
}

/// Regression: damage to the only block of a key was taken for a dictionary that is missing, and nothing was restored.
#[test]
fn damage_to_a_key_of_one_block_is_damage() {
    let mut raw = records(12 * BLOCK);
    for stored_as_it_is in [true, false] {
        if stored_as_it_is {
            let mut state = 3_u32;
            raw[9 * BLOCK..10 * BLOCK].fill_with(|| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            });
        } else {
            raw = records(12 * BLOCK);
        }
        let one = StreamOptions {
            most_key: BLOCK,
            ..options(false)
        };
        let container = compress(&raw, one);
        assert_eq!(parts(&container), 1);
        let at = blocks(&container)[0].clone();
        let lost: Vec<Range<u64>> = (0..12)
            .filter(|i| *i != 9 || !stored_as_it_is)
            .map(|i| (i * BLOCK) as u64..((i + 1) * BLOCK) as u64)
            .collect();
        // Its header, its layout (to one that is not known, and to the plain one), its numbers, its stream, all of it.
        for (from, to, with) in [
            (0, 1, 0x11),
            (5, 6, 0x11),
            (26, 27, 0x11),
            (26, 27, 12),
            (27, 28, 0x11),
            (29, 30, 0x11),
            (60, 61, 0x11),
            (0, at.len(), 0xff),
        ] {
            let mut damaged = container.clone();
            damaged[at.start + from..at.start + to]
                .iter_mut()
                .for_each(|byte| *byte ^= with);
            let (out, missing) = read(&damaged, true);
            assert_eq!(out.len(), raw.len(), "byte {from}");
            assert_eq!(missing, lost, "byte {from}");
            assert_eq!(backwards(&damaged, &raw), lost, "byte {from}");
            let mut strict = Decoder::new(&damaged[..], |_: &_| Ok(codec()), options(false));
            let error = std::iter::from_fn(|| strict.next_chunk().transpose()).find_map(Result::err);
            assert!(error.unwrap().is_damage(), "byte {from}");
        }
    }
}

/// Regression: where the end of a container and the header of the next were lost, all that is behind the key of that
/// one was.
#[test]
fn the_key_of_a_container_whose_header_is_lost_with_the_end_of_the_one_before_is_used() {
    let raw = records(24 * BLOCK);
    let (a, b) = raw.split_at(12 * BLOCK);
    let (first, second) = (compress(a, options(false)), compress(b, options(false)));
    let (table, header) = (first.len() - 33 - 12 * 4, ContainerHeader::MIN_LEN);
    let mut all = [&first[..], &second].concat();
    // One of them, both, and a part of each.
    for zeros in [
        table..first.len() + header,
        table + 20..first.len() + 3,
        first.len()..first.len() + header,
        table..first.len(),
    ] {
        let whole = all.clone();
        all[zeros.clone()].fill(0);
        let (out, _) = read(&all, true);
        assert!(out.starts_with(a), "{zeros:?}");
        assert!(out.ends_with(b), "{zeros:?}");
        all = whole;
    }
}

/// Regression: a small read of a hostile file asked for 256 MiB, because a key was looked for in blocks that are longer
/// than its blocks can be.
#[test]
fn no_more_is_asked_for_than_a_key_can_have() {
    use crate::stream::layout::Finder;
    use crate::stream::table::SeekTable;
    let container = compress(&records(12 * BLOCK), options(false));
    let block = &container[blocks(&container)[5].clone()];
    assert!(may_need(block));
    let longest = (Header::LEN + crate::MAX_BLOCK) as u32;
    for (stored, most) in [(longest, KeyPart::MOST + 256 * Header::LEN), (30, 256 * 30)] {
        let table = SeekTable {
            stored: vec![stored; 300],
            raw_len: (300 * BLOCK) as u64,
            raw_crc: 0,
            header_len: ContainerHeader::MIN_LEN as u8,
        };
        let (tail, before) = (
            table.to_bytes(),
            ContainerHeader::MIN_LEN as u64 + 300 * u64::from(stored),
        );
        let mut finder = Finder::new(before + tail.len() as u64, false).unwrap();
        while let Some(range) = finder.next().unwrap() {
            let bytes = match range.start.checked_sub(before) {
                Some(at) => &tail[at as usize..][..(range.end - range.start) as usize],
                None => &container[range.start as usize..range.end as usize],
            };
            finder.take(bytes).unwrap();
        }
        let layout = finder.finish().unwrap().with(|_| Ok(codec())).unwrap();
        for at in [0, 5, 299] {
            let asked = layout.block((at * BLOCK) as u64).unwrap().key(block).unwrap();
            assert_eq!((asked.start, asked.end - asked.start), (20, most as u64), "block {at}");
        }
    }
}

#[test]
fn a_key_is_learned_once_and_held_by_no_layout() {
    let container = compress(&records(12 * BLOCK), options(false));
    let mut readers: Vec<_> = (0..20).map(|_| seekable(&container)).collect();
    for reader in &mut readers {
        for at in [7, 5, 11] {
            reader.read_at(at * BLOCK as u64, &mut [0; 10]).unwrap();
            let kept = crate::stream::layout::kept_key_bytes();
            assert!(kept > 4 * BLOCK && kept <= 128 << 20, "{kept}");
        }
    }
}

#[test]
fn the_asynchronous_reader_reads_behind_a_key() {
    use ::tokio::io::{AsyncReadExt, AsyncSeekExt};
    let raw = records(12 * BLOCK);
    let container = Cursor::new(compress(&raw, options(false)));
    let runtime = ::tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut reader = crate::stream::tokio::SeekableReader::open(container, |_: &_| Ok(codec()))
            .await
            .unwrap();
        for at in [7 * BLOCK + 3, 0, 11 * BLOCK, 2 * BLOCK] {
            let mut bytes = [0; 500];
            reader.seek(std::io::SeekFrom::Start(at as u64)).await.unwrap();
            reader.read_exact(&mut bytes).await.unwrap();
            assert_eq!(bytes, raw[at..at + 500]);
        }
    });
}

#[test]
fn a_key_longer_than_a_dictionary_is_refused() {
    let options = StreamOptions {
        most_key: KeyPart::MOST + 1,
        ..options(false)
    };
    assert!(matches!(
        Encoder::new(Vec::new(), codec(), options),
        Err(Error::InvalidOption(_))
    ));
}
