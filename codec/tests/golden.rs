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

use lmfs_codec::model::{EngineChoice, LoadOptions, builtin, load_bytes};
use lmfs_codec::stream::{ContainerHeader, Decoder, Encoder, StreamOptions};
use lmfs_codec::{Codec, Error, Header, Method, Options, Result, Stop};

/// A container `NAME.lmz`, what it decodes to, and the method of all its blocks.
struct Golden {
    name: &'static str,
    content: &'static str,
    method: Method,
    /// The built-in model it needs.
    model: Option<&'static str>,
}

const fn golden(name: &'static str, content: &'static str, method: Method, model: Option<&'static str>) -> Golden {
    Golden {
        name,
        content,
        method,
        model,
    }
}

/// Only ever longer.
const ALL: &[Golden] = &[
    golden("raw", "noise.bin", Method::Raw, None),
    golden("zstd", "text.txt", Method::Zstd, None),
    golden("mix-text", "text.txt", Method::Mix, None),
    golden("mix-records", "records.bin", Method::Mix, None),
    golden("mix-bitmap", "bitmap.bin", Method::Mix, None),
    golden("mix-sound", "sound.bin", Method::Mix, None),
    golden("mix-wide-sound", "wide-sound.bin", Method::Mix, None),
    golden("mix-byte-sound", "byte-sound.bin", Method::Mix, None),
    golden("mix-picture", "picture.bin", Method::Mix, None),
    golden("mix-dictionary", "text.txt", Method::Mix, None),
    golden("mix-key", "trees.txt", Method::Mix, None),
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

/// The methods of a container's blocks.
fn methods(container: &[u8]) -> BTreeSet<Method> {
    let header = ContainerHeader::parse(container).unwrap();
    let blocks = blocks(&container[header.to_bytes().len()..]);
    blocks
        .iter()
        .map(|block| Header::parse(block).unwrap().method)
        .collect()
}

/// Blocks in a row without a container, because no block of a container names a reference. What they decode to begins
/// at these places of `text.txt`, and their reference is its head.
const REFERRING: (&str, [usize; 4]) = ("mix-reference.blocks", [100, 1800, 3000, 4200]);
/// Bytes of each of them.
const BLOCK: usize = 1024;
/// Bytes of the reference.
const REFERENCE: usize = 2048;

#[test]
fn golden_containers_decode() {
    for golden in ALL {
        let container = std::fs::read(path(&format!("{}.lmz", golden.name))).unwrap();
        assert_eq!(methods(&container), BTreeSet::from([golden.method]), "{}", golden.name);
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
    assert_eq!(layouts, BTreeSet::from([8, 9]), "without and with a dictionary");
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
}
