//! Containers of this format: later versions decode them, too. `golden/README.md` says what they are.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use lmfs_codec::dictionary::DictionaryId;
use lmfs_codec::mix::{self, DataLayout, Predictor};
use lmfs_codec::model::{EngineChoice, LoadOptions, builtin, load_bytes};
use lmfs_codec::stream::{ContainerHeader, Decoder, Encoder, StreamOptions};
use lmfs_codec::{Codec, Error, Growth, Header, Method, Options, Result, Stop};

/// A container `NAME.lmz`, what it decodes to, and the method of all its blocks.
struct Golden {
    name: &'static str,
    content: &'static str,
    method: Method,
    /// The layouts of its blocks: their first bytes, which only method mix has.
    layouts: &'static [u8],
    /// The built-in model it needs.
    model: Option<&'static str>,
}

const fn golden(name: &'static str, content: &'static str, method: Method, model: Option<&'static str>) -> Golden {
    Golden {
        name,
        content,
        method,
        layouts: &[],
        model,
    }
}

const fn mixed(name: &'static str, content: &'static str, layouts: &'static [u8]) -> Golden {
    Golden {
        layouts,
        ..golden(name, content, Method::Mix, None)
    }
}

/// Only ever longer.
const ALL: &[Golden] = &[
    golden("raw", "noise.bin", Method::Raw, None),
    golden("zstd", "text.txt", Method::Zstd, None),
    mixed("mix-text", "text.txt", &[0]),
    mixed("mix-numbers", "numbers.csv", &[0]),
    mixed("mix-records", "records.bin", &[1]),
    mixed("mix-bitmap", "bitmap.bin", &[1]),
    mixed("mix-sound", "sound.bin", &[3]),
    mixed("mix-wide-sound", "wide-sound.bin", &[13]),
    mixed("mix-quantized-floats", "quantized-floats.bin", &[14]),
    mixed("mix-quantized-integers", "quantized-integers.bin", &[14]),
    mixed("mix-mono-sound", "mono-sound.bin", &[2]),
    mixed("mix-big-endian-sound", "big-endian-sound.bin", &[10]),
    mixed("mix-big-endian-stereo", "big-endian-stereo.bin", &[11]),
    mixed("mix-byte-sound", "byte-sound.bin", &[5]),
    mixed("mix-picture", "picture.bin", &[7]),
    mixed("mix-dictionary", "text.txt", &[4]),
    mixed("mix-key", "trees.txt", &[4, 12]),
    golden("model-small", "text.txt", Method::Model, Some("small")),
    golden("model-tiny", "text.txt", Method::Model, Some("tiny")),
    golden("lm-tiny", "text.txt", Method::Lm, Some("tiny")),
];

fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "golden", name].iter().collect()
}

/// A codec with the built-in model that `wanted` accepts, or without a model.
fn codec(wanted: Option<&dyn Fn(&builtin::Builtin) -> bool>, options: Options) -> Result<Codec> {
    let model = match wanted {
        None => None,
        Some(wanted) => {
            let found = builtin::list().iter().find(|builtin| wanted(builtin));
            let found = found.expect("a built-in model that wrote a golden container is gone");
            let name = format!("builtin:{}", found.name);
            let gguf = found.gguf.to_vec();
            Some(load_bytes(&name, gguf, EngineChoice::Exact, &LoadOptions::default())?)
        }
    };
    Codec::new(model, options)
}

fn decode(container: &[u8]) -> Result<Vec<u8>> {
    let codec_of = |header: &ContainerHeader| {
        let digest = header.model.map(|(_, digest)| digest);
        let wanted = |builtin: &builtin::Builtin| Some(builtin.digest()) == digest;
        codec(digest.and(Some(&wanted)), Options::default())
    };
    let mut out = Vec::new();
    Decoder::new(container, codec_of, StreamOptions::default())
        .read_to_end(&mut out)
        .map_err(|source| Error::Io {
            what: "golden container".into(),
            source,
        })?;
    Ok(out)
}

/// The blocks that these bytes begin with.
fn blocks(mut rest: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    // The payload's length is at 7 (docs/FORMAT.md); what follows the last block begins with `b5 54`.
    while rest.starts_with(b"\xb5\x4c") {
        let payload = u32::from_le_bytes([rest[7], rest[8], rest[9], 0]);
        let (block, after) = rest.split_at(Header::LEN + payload as usize);
        found.push(block);
        rest = after;
    }
    found
}

/// The methods of a container's blocks, and the layouts of those of method mix.
fn methods_and_layouts(container: &[u8]) -> (BTreeSet<Method>, BTreeSet<u8>) {
    let header = ContainerHeader::parse(container).unwrap();
    let (mut methods, mut layouts) = (BTreeSet::new(), BTreeSet::new());
    for block in blocks(&container[header.to_bytes().len()..]) {
        let method = Header::parse(block).unwrap().method;
        methods.insert(method);
        if method == Method::Mix {
            layouts.insert(block[Header::LEN]);
        }
    }
    (methods, layouts)
}

/// Blocks of method model behind other text, likewise. Their dictionary and their reference are these parts of
/// `text.txt`, and each begins at one of these places.
const MODEL_BEHIND: (&str, [usize; 3]) = ("model-behind.blocks", [2950, 3700, 3650]);
/// What each of them is coded behind: a dictionary, a reference.
const FRONTS: [(bool, bool); 3] = [(true, false), (false, true), (true, true)];
const FRONT_PARTS: [std::ops::Range<usize>; 2] = [0..1600, 1600..3200];

/// The payload of a block without its header, as the encoder takes such sound for rows of pixels: it, what it decodes
/// to, and its layout.
const PAYLOAD: (&str, &str, u8) = ("mix-byte-stereo.payload", "byte-stereo.bin", 6);

/// Blocks in a row without a container, because no block of a container names a reference. What they decode to begins
/// at these places of `text.txt`, and their reference is its head.
const REFERRING: (&str, [usize; 4]) = ("mix-reference.blocks", [100, 1800, 3000, 4200]);
/// Their layouts, without and with a dictionary.
const REFERRING_LAYOUTS: [u8; 2] = [8, 9];
/// Blocks of a solid head likewise: two parts of it and two behind it. They are the second to the fifth block of
/// `trees.txt`, and the first one begins the head.
const SOLID: (&str, usize) = ("mix-solid.blocks", 4);
/// The layout of each.
const SOLID_LAYOUT: u8 = 15;
/// Bytes of each of them.
const BLOCK: usize = 1024;
/// Bytes of the reference.
const REFERENCE: usize = 2048;

#[test]
fn golden_containers_decode() {
    for golden in ALL {
        let container = std::fs::read(path(&format!("{}.lmz", golden.name))).unwrap();
        let (methods, layouts) = methods_and_layouts(&container);
        assert_eq!(methods, BTreeSet::from([golden.method]), "{}", golden.name);
        assert_eq!(layouts, golden.layouts.iter().copied().collect(), "{}", golden.name);
        let decoded = decode(&container).unwrap_or_else(|error| panic!("{}: {error}", golden.name));
        let content = std::fs::read(path(golden.content)).unwrap();
        assert!(decoded == content, "{} decodes to other bytes", golden.name);
    }
}

#[test]
fn golden_blocks_behind_a_reference_decode() {
    let (name, starts) = REFERRING;
    let text = std::fs::read(path("text.txt")).unwrap();
    let file = std::fs::read(path(name)).unwrap();
    let blocks = blocks(&file);
    let codec = codec(None, Options::default()).unwrap();
    let mut layouts = BTreeSet::new();
    assert_eq!(blocks.len(), starts.len());
    for (block, start) in blocks.into_iter().zip(starts) {
        layouts.insert(block[Header::LEN]);
        let decoded = codec
            .decode_behind(block, Some(&text[..REFERENCE]), &Stop::new())
            .unwrap();
        assert!(
            decoded == text[start..start + BLOCK],
            "the block of {start} decodes to other bytes"
        );
    }
    assert_eq!(layouts, BTreeSet::from(REFERRING_LAYOUTS));
}

#[test]
fn golden_blocks_of_a_solid_head_decode() {
    let (name, count) = SOLID;
    let text = std::fs::read(path("trees.txt")).unwrap();
    let file = std::fs::read(path(name)).unwrap();
    let blocks = blocks(&file);
    assert_eq!(blocks.len(), count);
    let codec = codec(None, Options::default()).unwrap();
    for (number, block) in blocks.into_iter().enumerate() {
        assert_eq!(block[Header::LEN], SOLID_LAYOUT);
        let solid = Codec::needs(block).unwrap().solid.unwrap();
        let expected = ((number + 1).min(3), number < 2);
        assert_eq!((usize::from(solid.blocks), solid.is_part), expected);
        let last = &text[BLOCK * number.min(2)..][..BLOCK];
        let decoded = codec.decode_behind(block, Some(last), &Stop::new()).unwrap();
        let start = BLOCK * (number + 1);
        assert!(
            decoded == text[start..start + BLOCK],
            "block {number} decodes to other bytes"
        );
    }
}

fn tiny(text: &[u8]) -> Codec {
    let gguf = builtin::find("tiny").unwrap().gguf.to_vec();
    let model = load_bytes("builtin:tiny", gguf, EngineChoice::Exact, &LoadOptions::default()).unwrap();
    let mut options = Options::default();
    (options.model_worth, options.dictionaries) = (0, false);
    let dictionary = text[FRONT_PARTS[0].clone()].to_vec();
    Codec::with_dictionaries(Some(model), Arc::new(vec![dictionary]), options).unwrap()
}

#[test]
fn golden_blocks_of_the_model_behind_other_text_decode() {
    let (name, starts) = MODEL_BEHIND;
    let text = std::fs::read(path("text.txt")).unwrap();
    let file = std::fs::read(path(name)).unwrap();
    let blocks = blocks(&file);
    let codec = tiny(&text);
    assert_eq!(blocks.len(), FRONTS.len());
    for ((block, start), front) in blocks.into_iter().zip(starts).zip(FRONTS) {
        let needs = Codec::needs(block).unwrap();
        assert_eq!((needs.dictionary.is_some(), needs.reference.is_some()), front);
        assert!(Header::parse(block).unwrap().is_behind);
        let reference = &text[FRONT_PARTS[1].clone()];
        let decoded = codec.decode_behind(block, Some(reference), &Stop::new()).unwrap();
        assert!(
            decoded == text[start..start + BLOCK],
            "the block of {start} decodes to other bytes"
        );
    }
}

#[test]
fn a_golden_payload_decodes() {
    let (name, content, layout) = PAYLOAD;
    let payload = std::fs::read(path(name)).unwrap();
    let content = std::fs::read(path(content)).unwrap();
    assert_eq!(payload[0], layout);
    let decoded = mix::decode(&mut Predictor::new(), &payload, content.len(), &Stop::new()).unwrap();
    assert!(decoded == content, "it decodes to other bytes");
}

/// Regression: layouts 2, 6, 10 and 11 had no golden container, and a change of them would have gone unnoticed.
#[test]
fn every_layout_has_a_golden_file() {
    let format = include_str!("../../docs/FORMAT.md");
    let (_, table) = format
        .split_once("| bytes | layout | stride |\n|---|---|---|\n")
        .unwrap();
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    // "| 5, 6 | ..." and "| 4, then 4 bytes | ..."
    let numbers = rows.flat_map(|row| {
        let first = row.split('|').nth(1).unwrap();
        first.split(',').map_while(|word| word.trim().parse::<u8>().ok())
    });
    let documented: BTreeSet<u8> = numbers.collect();
    let golden = ALL.iter().flat_map(|golden| golden.layouts.iter().copied());
    assert_eq!(
        documented,
        golden
            .chain(REFERRING_LAYOUTS)
            .chain([PAYLOAD.2, SOLID_LAYOUT])
            .collect()
    );
}

/// Writes the containers that are missing; those that are there stay as they are.
#[test]
#[ignore = "makes golden containers for a new format or model"]
fn make() {
    for golden in ALL {
        let to = path(&format!("{}.lmz", golden.name));
        if to.exists() {
            continue;
        }
        let mut options = Options::default();
        options.model = golden.method == Method::Model;
        options.mix = golden.method == Method::Mix;
        options.dictionaries = golden.name == "mix-dictionary";
        options.lm_only = golden.method == Method::Lm;
        options.model |= options.lm_only;
        let named = |builtin: &builtin::Builtin| Some(builtin.name) == golden.model;
        let codec = codec(golden.model.and(Some(&named)), options).unwrap();
        let mut stream = StreamOptions::default();
        stream.block_size = 4096;
        stream.most_key = if golden.name == "mix-key" { 3 * 4096 } else { 0 };
        let mut encoder = Encoder::new(Vec::new(), codec, stream).unwrap();
        encoder
            .write_all(&std::fs::read(path(golden.content)).unwrap())
            .unwrap();
        std::fs::write(to, encoder.finish().unwrap()).unwrap();
    }
    let (name, starts) = REFERRING;
    if !path(name).exists() {
        let text = std::fs::read(path("text.txt")).unwrap();
        let codec = codec(None, Options::default()).unwrap();
        let block = |start: usize| {
            let raw = &text[start..start + BLOCK];
            codec
                .encode_behind(raw, &[], &[&text[..REFERENCE]], &Stop::new())
                .unwrap()
        };
        std::fs::write(path(name), starts.map(block).concat()).unwrap();
    }
    let (name, count) = SOLID;
    if !path(name).exists() {
        let text = std::fs::read(path("trees.txt")).unwrap();
        let (codec, stop) = (codec(None, Options::default()).unwrap(), Stop::new());
        let raw = |number: usize| &text[BLOCK * number..BLOCK * (number + 1)];
        let first = codec.encode(raw(0), &stop).unwrap();
        let mut head = codec.begin_solid(raw(0), &first, &stop).unwrap().unwrap();
        let mut file = Vec::new();
        for number in 1..=count {
            let growth = if number < 3 { Growth::Preferred } else { Growth::Never };
            let coded = codec.encode_solid(raw(number), &head, growth, usize::MAX, &stop);
            let (block, grown) = coded.unwrap().unwrap();
            file.extend(block);
            head = grown.unwrap_or(head);
        }
        std::fs::write(path(name), file).unwrap();
    }
    let (name, starts) = MODEL_BEHIND;
    if !path(name).exists() {
        let text = std::fs::read(path("text.txt")).unwrap();
        let [dictionary, reference] = FRONT_PARTS.map(|part| &text[part]);
        let codec = tiny(&text);
        let mut file = Vec::new();
        for (start, (with_dictionary, with_reference)) in starts.into_iter().zip(FRONTS) {
            let ids = [DictionaryId::of(dictionary)];
            let dictionaries = if with_dictionary { &ids[..] } else { &[] };
            let references = if with_reference { &[reference][..] } else { &[] };
            let raw = &text[start..start + BLOCK];
            let block = codec
                .encode_behind(raw, dictionaries, references, &Stop::new())
                .unwrap();
            println!(
                "{start}: {:?}, {:?}",
                Header::parse(&block).unwrap(),
                Codec::needs(&block)
            );
            file.extend(block);
        }
        std::fs::write(path(name), file).unwrap();
    }
    let (name, content, _) = PAYLOAD;
    if !path(name).exists() {
        let raw = std::fs::read(path(content)).unwrap();
        let payload = mix::encode_as(&mut Predictor::new(), &raw, DataLayout::ByteSound(2), &Stop::new());
        std::fs::write(path(name), payload.unwrap()).unwrap();
    }
}
