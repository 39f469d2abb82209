#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::io::{Cursor, Read, Write};

use super::super::table::SeekTable;
use super::super::*;
use super::{codec, compress, decoder, decompress, options, text};
use crate::{Codec, Error, Header, Method, Options, Stop};

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
