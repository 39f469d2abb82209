//! Sizes and speed of method mix on files cut into blocks: `mixbench BLOCK LIMIT [behind=DICT] FILE...`
//!
//! With `behind`, every block starts behind a dictionary: a file, `builtin:NAME`, or `head:BYTES` for the first bytes
//! of each file, which are then not measured.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench stops at the first surprise"
)]
use lmfs_codec::Stop;
use lmfs_codec::dictionary::builtin;
use lmfs_codec::entropy::token_tree::DecisionModel;
use lmfs_codec::mix::{self, Predictor, WarmState};

/// Processor time of this process in seconds, which does not depend on what else runs.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    stat.split_whitespace().next().unwrap().parse::<f64>().unwrap() * 1e-9
}

/// What reading a dump takes, apart from the predictor and the coder, in seconds.
fn read_only(dump: &[u8]) -> f64 {
    let start = cpu();
    let sum = dump
        .as_chunks::<8>()
        .0
        .iter()
        .filter(|decision| decision[0] == 2)
        .map(|decision| (1.0 + f64::from(u16::from_le_bytes([decision[4], decision[5]]))).log2())
        .sum::<f64>();
    std::hint::black_box(sum);
    cpu() - start
}

/// Replays what `lmdump` wrote and returns the bytes coded, of which for ends of tokens in the second place.
fn replay(predictor: &mut mix::Predictor, dump: &[u8]) -> (usize, usize, f64) {
    let (mut at, mut raw, mut size, mut ends) = (0, 0, 0, 0.0);
    let u32_at = |at: usize| u32::from_le_bytes(dump[at..at + 4].try_into().unwrap()) as usize;
    while at < dump.len() {
        let (len, lanes) = (u32_at(at), u32_at(at + 4));
        at += 8;
        let lens: Vec<usize> = (0..lanes).map(|l| len / lanes + usize::from(l < len % lanes)).collect();
        predictor.reset(&lens, true);
        let mut coder = lmfs_codec::entropy::range_coder::Encoder::new(Vec::new());
        while dump[at] != 255 {
            let (kind, lane, bit) = (dump[at], dump[at + 1] as usize, dump[at + 2] == 1);
            let lm = u32::from(u16::from_le_bytes([dump[at + 4], dump[at + 5]]));
            let rank = u32::from(u16::from_le_bytes([dump[at + 6], dump[at + 7]]));
            match kind {
                0 => {
                    coder.encode(bit, predictor.predict_bit(lane, Some(lm)));
                    predictor.update(lane, bit);
                }
                1 => predictor.skip(lane, bit),
                3 => predictor.token(lane),
                _ => {
                    let p = predictor.predict_end(lane, rank, lm);
                    ends -= (f64::from(if bit { p } else { 65536 - p }) / 65536.0).log2() / 8.0;
                    coder.encode(bit, p);
                    predictor.update_end(lane, bit);
                }
            }
            at += 8;
        }
        at += 8;
        raw += len;
        size += coder.finish().len();
    }
    (raw, size, ends)
}

/// The dictionary of this name for a file with these contents, and how many of its bytes it takes away.
fn dictionary(name: &str, data: &[u8]) -> (Vec<u8>, usize) {
    if let Some(bytes) = name.strip_prefix("head:") {
        let head = &data[..data.len().min(bytes.parse().unwrap())];
        return (head.to_vec(), head.len());
    }
    let text = match name.strip_prefix("builtin:") {
        Some(name) => {
            let entry = builtin::list().iter().find(|entry| entry.name == name);
            entry.expect("a built-in dictionary").text().unwrap()
        }
        None => std::fs::read(name).unwrap(),
    };
    (text, 0)
}

/// Codes the blocks of a file behind a dictionary and decodes them: bytes, and seconds of decoding.
fn warm(predictor: &mut Predictor, state: &WarmState, data: &[u8], block: usize) -> (usize, f64) {
    let (mut size, mut decoding) = (0, 0.0);
    for raw in data.chunks(block) {
        let stream = mix::encode_behind(predictor, state.into(), raw, &Stop::new()).unwrap();
        let start = cpu();
        let back = mix::decode_behind(predictor, state.into(), &stream, raw.len(), &Stop::new()).unwrap();
        decoding += cpu() - start;
        assert_eq!(back, raw);
        size += stream.len();
    }
    (size, decoding)
}

fn main() {
    let mut args: Vec<String> = std::env::args().collect();
    let block: usize = args[1].parse().unwrap();
    let limit: usize = args[2].parse().unwrap();
    let behind = args
        .get(3)
        .and_then(|arg| arg.strip_prefix("behind="))
        .map(str::to_owned);
    if behind.is_some() {
        args.remove(3);
    }
    let (mut warm_total, mut warm_decoding) = (0, 0.0);
    let mut predictor = mix::Predictor::new();
    let (mut total, mut raw_total, mut seconds, mut decoding) = (0usize, 0usize, 0f64, 0f64);
    for path in &args[3..] {
        let data = std::fs::read(path).unwrap();
        if path.ends_with(&format!(".{block}")) {
            let start = cpu();
            let (raw, size, ends) = replay(&mut predictor, &data);
            seconds += cpu() - start - read_only(&data);
            total += size;
            raw_total += raw;
            println!(
                "{path:50} {raw:8} {size:8} {:.4} {:.4}",
                size as f64 / raw as f64,
                ends / raw as f64
            );
            continue;
        }
        let (text, skip) = behind.as_ref().map_or((Vec::new(), 0), |name| dictionary(name, &data));
        let data = &data[skip..];
        let data = &data[..data.len().min(limit)];
        if behind.is_some() {
            let state = WarmState::learn(&mut predictor, &text, &Stop::new()).unwrap();
            let (size, seconds) = warm(&mut predictor, &state, data, block);
            warm_total += size;
            warm_decoding += seconds;
            println!(
                "{path:50} {:8} {size:8} {:.4} warm",
                data.len(),
                size as f64 / data.len() as f64
            );
        }
        let mut size = 0;
        for raw in data.chunks(block) {
            let start = cpu();
            let payload = mix::encode(&mut predictor, raw, &Stop::new()).unwrap();
            seconds += cpu() - start;
            size += payload.len();
            let start = cpu();
            let back = mix::decode(&mut predictor, &payload, raw.len(), &Stop::new()).unwrap();
            decoding += cpu() - start;
            assert_eq!(back, raw);
        }
        total += size;
        raw_total += data.len();
        println!(
            "{path:50} {:8} {size:8} {:.4}",
            data.len(),
            size as f64 / data.len() as f64
        );
    }
    println!(
        "total {raw_total} {total} {:.4}  decode {:.3} encode {:.3} us/byte",
        total as f64 / raw_total as f64,
        decoding * 1e6 / raw_total as f64,
        seconds * 1e6 / raw_total as f64
    );
    if behind.is_some() {
        println!(
            "warm  {raw_total} {warm_total} {:.4}  decode {:.3} us/byte",
            warm_total as f64 / raw_total as f64,
            warm_decoding * 1e6 / raw_total as f64
        );
    }
}
