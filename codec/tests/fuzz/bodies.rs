//! What the fuzz targets do: plain functions over bytes that return, or panic when something that must hold does not.
//!
//! `codec/tests/fuzz.rs` runs them for a moment on every `make test`; `fuzz/` runs them for hours under libFuzzer.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::cell::RefCell;
use std::io::{Cursor, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, LazyLock};

use lmfs_codec::dictionary::DictionaryId;
use lmfs_codec::entropy::frequencies::Frequencies;
use lmfs_codec::entropy::range_coder::{Coder, Decoder as BitDecoder, Encoder as BitEncoder};
use lmfs_codec::entropy::token_tree::{Passthrough, Place, TokenTree};
use lmfs_codec::mix::{self, DataLayout, Predictor, Quantized, SampleKind, WideSound};
use lmfs_codec::model::gguf::Gguf;
use lmfs_codec::model::{EngineChoice, LanguageModel, LoadOptions, ModelSource, Vocabulary, load, load_bytes};
use lmfs_codec::stream::{ContainerHeader, Decoder, Encoder, SeekableReader, StreamOptions};
use lmfs_codec::{Codec, Error, Growth, Header, Method, Options, Stop};

use super::common::{Vocab, Weights, model};

/// A fuzz target: its name under `fuzz/fuzz_targets`, its body, and inputs to start from.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    pub seeds: fn() -> Vec<Vec<u8>>,
}

pub const TARGETS: [Target; 6] = [
    Target {
        name: "block",
        run: block,
        seeds: block_seeds,
    },
    Target {
        name: "container",
        run: container,
        seeds: container_seeds,
    },
    Target {
        name: "tokenizer",
        run: tokenizer,
        seeds: texts,
    },
    Target {
        name: "coder",
        run: coder,
        seeds: texts,
    },
    Target {
        name: "mixer",
        run: mixer,
        seeds: mixer_seeds,
    },
    Target {
        name: "gguf",
        run: gguf,
        seeds: gguf_seeds,
    },
];

const TEXT: &[u8] = b"It was the best of times, 12 + 30 = 42, {\"id\": 7, \"ok\": true}\r\n\xc3\xa4\xe6\xbc\xa2 \xff\0";

fn texts() -> Vec<Vec<u8>> {
    vec![
        TEXT.to_vec(),
        TEXT.repeat(5),
        (0..=255).collect(),
        vec![b' '; 300],
        "  the \u{2581}\u{a0}\u{fffd}<s></s><0x41>𝄞".as_bytes().to_vec(),
    ]
}

fn tiny(vocab: Vocab) -> Arc<dyn LanguageModel> {
    load_bytes(
        "tiny",
        model(vocab, Weights::Q8_0),
        EngineChoice::Llama,
        &LoadOptions::default(),
    )
    .unwrap()
}

fn builtin(engine: EngineChoice) -> Arc<dyn LanguageModel> {
    load(
        &ModelSource::builtin_default().unwrap(),
        engine,
        &LoadOptions::default(),
    )
    .unwrap()
}

/// Codecs to try, by what they may do: nothing but zstd, a tiny model on llama.cpp, that model alone.
/// What blocks may be coded behind.
const REFERENCE: &[u8] = TEXT;

fn dictionary() -> Vec<u8> {
    TEXT.repeat(3)
}

fn codecs() -> &'static [Codec; 3] {
    static CODECS: LazyLock<[Codec; 3]> = LazyLock::new(|| {
        let model = tiny(Vocab::Bpe);
        let with = |change: fn(&mut Options)| {
            let mut options = Options::default();
            options.lanes = Some(2);
            // Fast; and GCC 12's AddressSanitizer takes a constant table of zstd's optimal parsers for a dead stack
            // variable.
            options.zstd_level = 3;
            change(&mut options);
            let source = Arc::new(vec![dictionary()]);
            Codec::with_dictionaries(Some(Arc::clone(&model)), source, options).unwrap()
        };
        [
            with(|options| (options.mix, options.model) = (false, false)),
            with(|_| ()),
            with(|options| options.lm_only = true),
        ]
    });
    &CODECS
}

/// Decoding any bytes as a block, as they are and behind a header that fits; and encoding them.
pub fn block(data: &[u8]) {
    let [plain, full, lm] = codecs();
    let stop = Stop::new();
    let decode = |block: &[u8]| {
        if let Ok(raw) = full.decode_behind(block, Some(REFERENCE), &stop) {
            assert_eq!(crc32fast::hash(&raw), Header::parse(block).unwrap().raw_crc);
        }
    };
    decode(data);
    // The first bytes say what the rest is the payload of: what lies behind the checksums is reached at once.
    if let Some((&[method, lane_byte, low, high], payload)) = data.split_first_chunk::<4>() {
        let method = Method::ALL[usize::from(method) % Method::ALL.len()];
        let len = usize::from(u16::from_le_bytes([low, high]));
        let (lanes, len) = match method {
            Method::Raw => (0, payload.len()),
            Method::Zstd => (0, len),
            Method::Mix => (1, len),
            // As long as a fuzzer has patience for.
            Method::Model | Method::Lm => {
                let lanes = u16::from(lane_byte & 0x7f).clamp(1, Header::MAX_LANES as u16);
                (lanes, len % 512)
            }
        };
        let header = Header {
            version: Header::VERSION,
            method,
            lanes,
            is_behind: method == Method::Model && lane_byte & 0x80 != 0,
            raw_len: u32::try_from(len).unwrap(),
            payload_len: u32::try_from(payload.len()).unwrap(),
            raw_crc: crc32fast::hash(payload),
            params: full.params(method),
        };
        decode(&[&header.to_bytes(), payload].concat());
    }
    let raw = &data[..data.len().min(100)];
    for codec in [plain, full, lm] {
        let block = codec.encode(raw, &stop).unwrap();
        assert!(block.len() <= raw.len() + Header::LEN);
        assert_eq!(full.decode(&block, &stop).unwrap(), raw);
    }
    let reference = &data[..data.len().min(64)];
    let dictionaries = [DictionaryId::of(&dictionary())];
    let block = full.encode_behind(raw, &dictionaries, &[reference], &stop).unwrap();
    assert_eq!(full.decode_behind(&block, Some(reference), &stop).unwrap(), raw);
    let _ = full.decode_solid(REFERENCE, &[data.to_vec()], &stop);
    let staged = full.stage(REFERENCE).unwrap();
    if let Some(head) = full.begin_solid(REFERENCE, &staged, &stop).unwrap() {
        let growth = [Growth::Never, Growth::Preferred][data.len() % 2];
        let behind = full.encode_solid(raw, &head, growth, usize::MAX, &stop);
        let (block, _) = behind.unwrap().unwrap();
        assert_eq!(full.decode_behind(&block, Some(REFERENCE), &stop).unwrap(), raw);
    }
}

fn block_seeds() -> Vec<Vec<u8>> {
    let mut seeds = texts();
    let stop = Stop::new();
    for codec in codecs() {
        for text in texts() {
            let block = codec.encode(&text, &stop).unwrap();
            let header = Header::parse(&block).unwrap();
            let len = u16::try_from(text.len()).unwrap().to_le_bytes();
            let lead = [header.method as u8, block[3], len[0], len[1]];
            seeds.push([&lead, &block[Header::LEN..]].concat());
            seeds.push(block);
        }
    }
    let mut options = Options::default();
    (options.model_worth, options.zstd_level, options.dictionaries) = (0, 1, false);
    let source = Arc::new(vec![dictionary()]);
    let codec = Codec::with_dictionaries(Some(tiny(Vocab::Bpe)), source, options).unwrap();
    let ids = [DictionaryId::of(&dictionary())];
    for (dictionaries, references) in [(&ids[..], &[][..]), (&[], &[REFERENCE]), (&ids, &[REFERENCE])] {
        for text in texts() {
            let needs = Codec::needs(&codec.encode_behind(&text, dictionaries, references, &stop).unwrap()).unwrap();
            // Whatever is smaller: the fuzzer is to see the other one, too.
            for layout in [needs.dictionary.map(|_| 4), needs.reference.map(|_| 8)]
                .into_iter()
                .flatten()
            {
                let named = match layout {
                    4 => ids[0].0,
                    _ => crc32fast::hash(REFERENCE).to_le_bytes(),
                };
                let len = u16::try_from(text.len()).unwrap().to_le_bytes();
                let lead = [Method::Model as u8, 0x81, len[0], len[1], layout];
                seeds.push([&lead[..], &named, &text].concat());
            }
        }
    }
    seeds
}

fn stream_options(recover: bool) -> StreamOptions {
    let mut options = StreamOptions::default();
    (options.block_size, options.threads, options.recover) = (4096, 1, recover);
    options
}

/// All of a container, strictly or with recovery; how it ended; and whether anything was missing.
fn decompress(data: &[u8], recover: bool) -> (Vec<u8>, Result<(), Error>, bool) {
    let mut decoder = Decoder::new(data, |_: &_| Ok(codecs()[0].clone()), stream_options(recover));
    let mut out = Vec::new();
    let end = loop {
        match decoder.next_chunk() {
            Ok(Some(chunk)) => out.extend(chunk),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
        assert!(
            out.len() <= (data.len() + 100) << 17,
            "{} bytes from {}",
            out.len(),
            data.len()
        );
    };
    (out, end, !decoder.missing().is_empty())
}

/// Reading any bytes as containers: the strict way, with recovery and at random give the same bytes or an error.
pub fn container(data: &[u8]) {
    for data in [data.to_vec(), resealed(data)] {
        let (out, end, _) = decompress(&data, false);
        let (recovered, also, missing) = decompress(&data, true);
        let source = Cursor::new(&data);
        let random = SeekableReader::new(source, |_: &ContainerHeader| Ok(codecs()[0].clone()), Stop::new());
        if end.is_ok() {
            assert!(also.is_ok() && recovered == out && !missing);
            let mut random = random.expect("what reads from the start reads at random");
            assert_eq!(random.len(), out.len() as u64);
            let middle = out.len() / 2;
            let mut rest = Vec::new();
            random.seek(SeekFrom::Start(middle as u64)).unwrap();
            random.read_to_end(&mut rest).unwrap();
            assert_eq!(rest, out[middle..]);
        } else {
            assert!(also.is_err() || missing, "recovery says what was wrong");
            if let Ok(mut random) = random {
                let mut buffer = [0; 100];
                for at in [0, random.len() / 2, random.len().saturating_sub(1), u64::MAX] {
                    let _ = random.read_at(at, &mut buffer);
                }
            }
        }
    }
}

/// The same bytes with checksums that fit wherever a header, a block, a table or a footer seems to start.
fn resealed(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    for at in 0..data.len() {
        let magic: [u8; 4] = match data.get(at..at + 4) {
            Some(bytes) => bytes.try_into().unwrap(),
            None => break,
        };
        let len = match &magic {
            b"\xb5LMZ" if data.get(at + 9) == Some(&0) => ContainerHeader::MIN_LEN,
            b"\xb5LMZ" => ContainerHeader::MAX_LEN,
            b"\xb5TAB" => {
                let count = data
                    .get(at + 4..at + 8)
                    .map_or(0, |n| u32::from_le_bytes(n.try_into().unwrap()));
                // Up to the checksum, which the end's magic follows.
                29 + 4 * (count as usize).min(1 << 16)
            }
            [0xb5, 0x4c, ..] => Header::LEN,
            _ => continue,
        };
        if let Some(part) = data.get_mut(at..at + len) {
            let (covered, crc) = part.split_at_mut(len - 4);
            crc.copy_from_slice(&crc32fast::hash(covered).to_le_bytes());
        }
    }
    data
}

fn container_seeds() -> Vec<Vec<u8>> {
    let compress = |raw: &[u8]| {
        let mut encoder = Encoder::new(Vec::new(), codecs()[0].clone(), stream_options(false)).unwrap();
        encoder.write_all(raw).unwrap();
        encoder.finish().unwrap()
    };
    let noise: Vec<u8> = (0..300_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let all = [&b""[..], TEXT, &TEXT.repeat(130), &noise].map(compress);
    [&all[..], &[all.concat(), with_key()]].concat()
}

/// A container with a key of two blocks, and another block behind it.
fn with_key() -> Vec<u8> {
    let text: Vec<u8> = (0_u32..)
        .flat_map(|i| format!("{{\"number\": {i}, \"square\": {}}}\n", i.wrapping_mul(i)).into_bytes())
        .take(9000)
        .collect();
    let codec = Codec::new(None, Options::default()).unwrap();
    let mut options = stream_options(false);
    options.most_key = 2 * options.block_size;
    let mut encoder = Encoder::new(Vec::new(), codec, options).unwrap();
    encoder.write_all(&text).unwrap();
    let container = encoder.finish().unwrap();
    assert_eq!(
        container[ContainerHeader::MIN_LEN + Header::LEN],
        DataLayout::KEY,
        "there is a key"
    );
    container
}

/// Any bytes to tokens and back, by both engines and three kinds of tokenizers of llama.cpp.
pub fn tokenizer(data: &[u8]) {
    static MODELS: LazyLock<[Arc<dyn LanguageModel>; 5]> = LazyLock::new(|| {
        [
            builtin(EngineChoice::Exact),
            builtin(EngineChoice::Llama),
            tiny(Vocab::Bpe),
            tiny(Vocab::Spm),
            tiny(Vocab::Rwkv),
        ]
    });
    for model in &*MODELS {
        let tokens = model.tokenize(data).expect("any bytes have tokens");
        let mut joined = Vec::new();
        model.vocabulary().join(&tokens, &mut joined);
        assert_eq!(joined, data);
        let without = tokens.iter().find(|&&token| model.vocabulary().bytes(token).is_empty());
        assert_eq!(without, None, "a token that no decoder can name");
    }
}

/// Decisions of any probability, and tokens of any distribution, through the arithmetic coder and back.
pub fn coder(data: &[u8]) {
    let decisions: Vec<(bool, u32)> = data
        .chunks_exact(2)
        .map(|pair| {
            (
                pair[0] ^ pair[1] & 1 == 1,
                u32::from(u16::from_le_bytes([pair[0], pair[1]])),
            )
        })
        .map(|(bit, p)| (bit, if p % 7 == 0 { p % 5 } else { p }))
        .collect();
    let mut encoder = BitEncoder::new(Vec::new());
    let mut ideal = 0.0;
    for &(bit, p) in &decisions {
        encoder.code(bit, p);
        let p = f64::from(p.clamp(1, 65535)) / 65536.0;
        ideal -= if bit { p.log2() } else { (1.0 - p).log2() };
    }
    let stream = encoder.finish();
    assert!(
        stream.len() as f64 * 8.0 <= ideal * 1.001 + 33.0,
        "{} bytes for {ideal} bits",
        stream.len()
    );
    let mut decoder = BitDecoder::new(&stream);
    decisions
        .iter()
        .for_each(|&(bit, p)| assert_eq!(decoder.code(false, p), bit));
    decoder.finish().expect("the encoder's own stream has the right length");
    let mut decoder = BitDecoder::new(data);
    decisions.iter().for_each(|&(_, p)| {
        decoder.code(false, p);
    });
    let _ = decoder.finish();
    tokens(data);
}

/// Tokens with logits of any bits: infinities, huge and tiny numbers, no numbers at all.
fn tokens(data: &[u8]) {
    static SHARED: LazyLock<(Arc<dyn LanguageModel>, TokenTree)> = LazyLock::new(|| {
        let model = tiny(Vocab::Spm);
        let tree = TokenTree::new(model.vocabulary());
        (model, tree)
    });
    let (model, tree) = &*SHARED;
    let vocabulary = model.vocabulary();
    let tokens = model.tokenize(&data[..data.len().min(40)]).unwrap();
    let text_len: usize = tokens.iter().map(|&token| vocabulary.bytes(token).len()).sum();
    let logits = |step: usize| -> Vec<f32> {
        let at = |i: usize| data.get((i * 4 + step) % data.len().max(1)).copied().unwrap_or(0);
        let logit = |i: usize| match at(i) % 3 {
            0 => f32::from_bits(u32::from_le_bytes([at(i), at(i + 1), at(i + 2), at(i + 3)])),
            _ => f32::from(at(i + 1)) / 8.0 - 16.0,
        };
        (0..vocabulary.len()).map(logit).collect()
    };
    let mut encoder = BitEncoder::new(Vec::new());
    through(vocabulary, tree, &mut encoder, text_len, &tokens, &logits);
    let stream = encoder.finish();
    let mut decoder = BitDecoder::new(&stream);
    assert_eq!(through(vocabulary, tree, &mut decoder, text_len, &[], &logits), tokens);
    decoder.finish().unwrap();
}

/// Codes tokens up to `left` bytes; those given are encoded, without any they are decoded.
fn through<C: Coder>(
    vocabulary: &Vocabulary,
    tree: &TokenTree,
    coder: &mut C,
    mut left: usize,
    known: &[u32],
    logits: &dyn Fn(usize) -> Vec<f32>,
) -> Vec<u32> {
    let mut distribution = Frequencies::new(vocabulary);
    let mut out = Vec::new();
    while left > 0 {
        distribution.set(&logits(out.len()));
        let token = known.get(out.len()).copied().unwrap_or_default();
        let place = Place { lane: 0, left };
        let token = tree
            .code(vocabulary, &distribution, coder, &mut Passthrough, place, token)
            .unwrap();
        left -= vocabulary.bytes(token).len();
        out.push(token);
    }
    out
}

/// Any bytes through the adaptive models alone, in every shape, and any bytes as what they made.
pub fn mixer(data: &[u8]) {
    thread_local! {
        static PREDICTOR: RefCell<Predictor> = RefCell::new(Predictor::new());
    }
    PREDICTOR.with_borrow_mut(|predictor| mixed(predictor, data));
}

fn mixed(predictor: &mut Predictor, data: &[u8]) {
    let (lead, raw) = data
        .split_first_chunk::<3>()
        .map_or(([0; 3], data), |(lead, raw)| (*lead, raw));
    let stop = Stop::new();
    let payload = mix::encode(predictor, raw, &stop).unwrap();
    assert_eq!(mix::decode(predictor, &payload, raw.len(), &stop).unwrap(), raw);
    let row = u16::from_le_bytes([lead[1], lead[2]]);
    let shape = match lead[0] % 13 {
        0 => DataLayout::Plain,
        1 => DataLayout::Records(row),
        channels @ 2..4 => DataLayout::Sound(channels - 1),
        channels @ 4..6 => DataLayout::ByteSound(channels - 3),
        channels @ 6..10 => DataLayout::Picture(channels - 5, row),
        10 => DataLayout::BigEndianSound(1 + (row & 1) as u8),
        // One that cannot be counts as plain.
        11 => DataLayout::WideSound(WideSound {
            bytes: 3 + (row & 1) as u8,
            channels: 1 + (row >> 1 & 1) as u8,
            big_endian: row & 4 != 0,
            before: (row >> 3 & 7) as u8,
        }),
        // So does one of samples that are no multiples, which nearly all are.
        _ => DataLayout::Quantized(Quantized {
            kind: SampleKind {
                float: row & 1 != 0,
                big_endian: row & 2 != 0,
            },
            channels: 1 + (row >> 2 & 1) as u8,
            bytes: 1 + (row >> 3 & 3) as u8,
            step: if row & 32 != 0 { 1_f64 } else { 0.7 }.to_bits(),
            before: row >> 6,
            samples: raw.len().saturating_sub((row >> 6).into()) as u32 / 4,
        }),
    };
    let payload = mix::encode_as(predictor, raw, shape, &stop).unwrap();
    assert_eq!(
        mix::decode(predictor, &payload, raw.len(), &stop).unwrap(),
        raw,
        "{shape:?}"
    );
    let _ = mix::decode(predictor, data, usize::from(lead[1]) * 16 + raw.len() % 4096, &stop);
}

fn mixer_seeds() -> Vec<Vec<u8>> {
    let samples: Vec<u8> = (0..400_i32)
        .flat_map(|i| ((i * i % 3000 - 1500) as i16).to_le_bytes())
        .collect();
    let mut seeds = Vec::new();
    for lead in [
        [0, 0, 0],
        [11, 0, 0],
        [11, 15, 0],
        [12, 40, 0],
        [12, 41, 1],
        [1, 4, 0],
        [1, 255, 255],
        [2, 9, 0],
        [3, 9, 0],
        [4, 9, 0],
        [6, 9, 0],
        [8, 90, 0],
    ] {
        seeds.extend([&samples[..], TEXT].map(|raw| [&lead, raw].concat()));
    }
    let floats = (0..400_i32).flat_map(|i| ((i * i % 3000 - 1500) as f32).to_le_bytes());
    seeds.push([12, 41, 0].into_iter().chain(floats).collect());
    seeds
}

/// Any bytes as a model file, up to the engine that computes everything itself.
pub fn gguf(data: &[u8]) {
    if let Ok(gguf) = Gguf::parse(data) {
        gguf.parameters();
        let _ = gguf.check_model();
        let _ = load_bytes("fuzz", data.to_vec(), EngineChoice::Exact, &LoadOptions::default());
    }
}

fn gguf_seeds() -> Vec<Vec<u8>> {
    vec![
        model(Vocab::Bpe, Weights::Q8_0),
        model(Vocab::Spm, Weights::F16),
        model(Vocab::Bpe, Weights::Q4K),
    ]
}
