#![allow(clippy::unwrap_used, reason = "tests")]

mod layouts;

use proptest::prelude::*;

use super::byte_coder::{STEP, code_bytes};
use super::*;
use crate::entropy::range_coder::{Coder, Decoder, Encoder};
use crate::entropy::token_tree::DecisionModel;
use crate::simd::dispatch::Dispatch;
use crate::{Error, Stop};

fn encoded(predictor: &mut Predictor, raw: &[u8]) -> Vec<u8> {
    encode(predictor, raw, &Stop::new()).unwrap()
}

fn encoded_as(predictor: &mut Predictor, raw: &[u8], shape: DataLayout) -> Vec<u8> {
    encode_as(predictor, raw, shape, &Stop::new()).unwrap()
}

fn behind(predictor: &mut Predictor, warm: &WarmState, raw: &[u8]) -> Vec<u8> {
    behind_all(predictor, front(warm), raw)
}

fn behind_all(predictor: &mut Predictor, front: Front<'_>, raw: &[u8]) -> Vec<u8> {
    encode_behind(predictor, front, raw, &Stop::new()).unwrap()
}

fn front(warm: &WarmState) -> Front<'_> {
    Front {
        dictionary: Some(warm),
        reference: &[],
    }
}

fn learned(predictor: &mut Predictor, text: &[u8]) -> WarmState {
    WarmState::learn(predictor, text, &Stop::new()).unwrap()
}

fn check(predictor: &mut Predictor, raw: &[u8]) -> usize {
    let (payload, stop) = (encoded(predictor, raw), Stop::new());
    assert_eq!(decode(predictor, &payload, raw.len(), &stop).unwrap(), raw);
    payload.len()
}

/// Lines of numbers in columns: doubles and floats with all their digits, and integers.
fn numbers(lines: u32) -> Vec<u8> {
    let line = |i: u32| {
        let (double, float) = (f64::from(i * i) / 7.0 + 0.5, (f64::from(i) / 3.0) as f32);
        format!("{i},{double:.12},{:.14},-{float:.7}\n", f64::from(float)).into_bytes()
    };
    (1..=lines).flat_map(line).collect()
}

/// Codes `raw` in `lens` lanes as a language model would: bytes of the lanes in the order of `turns`, some bits
/// certain, some ends of tokens decided.
fn lanes<C: Coder>(predictor: &mut Predictor, coder: &mut C, raw: &[u8], lens: &[usize], turns: &[usize]) -> Vec<u8> {
    predictor.reset(lens, true);
    let starts: Vec<usize> = lens
        .iter()
        .scan(0, |sum, len| Some(std::mem::replace(sum, *sum + len)))
        .collect();
    let mut at = starts.clone();
    let mut turn = 0;
    while at
        .iter()
        .zip(&starts)
        .zip(lens)
        .any(|((at, start), len)| *at < start + len)
    {
        let lane = turns.get(turn % turns.len()).copied().unwrap_or(0) % lens.len();
        let lane = (lane..)
            .map(|l| l % lens.len())
            .find(|&l| at[l] < starts[l] + lens[l])
            .unwrap();
        turn += 1;
        let byte = raw.get(at[lane]).copied().unwrap_or(0);
        for k in (0..8).rev() {
            let bit = byte >> k & 1 == 1;
            // All bytes of these tests have their top bit set; in every other one that is taken as certain.
            if k == 7 && at[lane].is_multiple_of(2) {
                predictor.skip(lane, true);
                continue;
            }
            let lm = 1 + (at[lane] as u32 * 7919 + k * 104_729) % 65_535;
            let p = predictor.predict_bit(lane, Some(lm));
            let bit = coder.code(bit, p);
            predictor.update(lane, bit);
        }
        at[lane] += 1;
        if at[lane].is_multiple_of(3) {
            let p = predictor.predict_end(lane, at[lane] as u32 % 50, 30_000);
            let end = coder.code(at[lane].is_multiple_of(2), p);
            predictor.update_end(lane, end);
            predictor.token(lane);
        }
    }
    predictor.take()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_bytes_return(raw: Vec<u8>, repeat in 1_usize..40, garbage: Vec<u8>) {
        let raw = raw.repeat(repeat);
        let mut predictor = Predictor::new();
        check(&mut predictor, &raw);
        // Garbage decodes to something or an error.
        let _ = decode(&mut predictor, &garbage, raw.len(), &Stop::new());
    }

    #[test]
    fn any_lanes_in_any_order_return(
        raw in prop::collection::vec(any::<u8>(), 1..400),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..9),
        turns in prop::collection::vec(0_usize..64, 1..50),
    ) {
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(raw.len() + 1)).chain([0, raw.len()]).collect();
        ends.sort_unstable();
        let lens: Vec<usize> = ends.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mut predictor = Predictor::new();
        let mut encoder = Encoder::new(Vec::new());
        let text: Vec<u8> = raw.iter().map(|b| b | 128).collect();
        prop_assert_eq!(&lanes(&mut predictor, &mut encoder, &text, &lens, &turns), &text);
        let payload = encoder.finish();
        let mut decoder = Decoder::new(&payload);
        prop_assert_eq!(&lanes(&mut predictor, &mut decoder, &[], &lens, &turns), &text);
        decoder.finish().unwrap();
    }
}

#[test]
fn a_used_predictor_gives_the_bits_of_a_new_one() {
    let text = b"the quick brown fox jumps over the lazy dog, and the dog sleeps on. ".repeat(40);
    let (numbers, other) = (numbers(200), numbers(150).repeat(2));
    let mut used = Predictor::new();
    encoded(&mut used, &vec![7; 100_000]);
    encoded(&mut used, &other);
    encoded_as(&mut used, &text, DataLayout::Sound(2));
    let warm = learned(&mut used, &text);
    behind(&mut used, &warm, &text);
    let front = Front {
        reference: &text,
        ..front(&warm)
    };
    behind_all(&mut used, front, &text);
    let mut coder = Encoder::new(Vec::new());
    lanes(&mut used, &mut coder, &text, &[1000, 1720], &[0, 1, 1]);
    assert_eq!(encoded(&mut used, &text), encoded(&mut Predictor::new(), &text));
    assert_eq!(encoded(&mut used, &numbers), encoded(&mut Predictor::new(), &numbers));
    encoded(&mut used, &other);
    let warm = learned(&mut Predictor::new(), &other);
    let expected = behind(&mut Predictor::new(), &warm, &numbers);
    assert_eq!(behind(&mut used, &warm, &numbers), expected);
}

/// Of floats that were printed as doubles only a few digits are new, and numbers below one another share most.
#[test]
fn numbers_take_a_fraction_of_their_digits() {
    let text: Vec<u8> = (0..400_u32)
        .flat_map(|i| {
            format!(
                "{:.16},",
                f64::from(0.1 + (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 2e7)
            )
            .into_bytes()
        })
        .collect();
    let digits = text.iter().filter(|byte| byte.is_ascii_digit()).count();
    // 24 bits and their end, where each digit alone would take 3.3 bits.
    let bits = 8 * check(&mut Predictor::new(), &text);
    assert!(bits < digits * 22 / 10, "{bits} bits for {digits} digits");
}

#[test]
fn blocks_of_any_length_return_behind_any_dictionary() {
    let text: Vec<u8> = (0..9_000_u32)
        .flat_map(|i| format!("{{\"id\": {}, \"ok\": {}}}\n", i * 7919 % 977, i % 3 == 0).into_bytes())
        .collect();
    let mut predictor = Predictor::new();
    for dictionary_len in [0, 1, 7, 3000, 70_000] {
        let warm = learned(&mut predictor, &text[..dictionary_len]);
        assert_eq!(warm.text(), &text[..dictionary_len]);
        // The longest has larger tables than the dictionary.
        for len in [0, 1, 5, 4096, 100_000] {
            let raw = &text[80_000..80_000 + len];
            let stream = behind(&mut predictor, &warm, raw);
            let mut other = Predictor::new();
            assert_eq!(
                decode_behind(&mut other, front(&warm), &stream, len, &Stop::new()).unwrap(),
                raw,
                "{len} behind {dictionary_len}"
            );
            if len == 4096 && dictionary_len == 70_000 {
                assert!(
                    stream.len() * 2 < encoded(&mut predictor, raw).len(),
                    "{}",
                    stream.len()
                );
            }
        }
    }
}

#[test]
fn blocks_of_any_length_return_behind_any_reference() {
    let text: Vec<u8> = (0..5_000_u32)
        .flat_map(|i| format!("let v{} = f({});\n", i * 7919 % 977, i % 31).into_bytes())
        .collect();
    let mut predictor = Predictor::new();
    let warm = learned(&mut predictor, &text[60_000..]);
    for dictionary in [None, Some(&warm)] {
        for reference_len in [0, 1, 4, 5, 6, 4096, 50_000] {
            let reference = &text[..reference_len];
            let front = Front { dictionary, reference };
            for len in [0, 1, 5, 6, 4096, 30_000] {
                // The same but for its head and a byte in the middle.
                let mut raw = text[10..10 + len].to_vec();
                if let Some(byte) = raw.get_mut(len / 2) {
                    *byte ^= 1;
                }
                let stream = behind_all(&mut predictor, front, &raw);
                let back = decode_behind(&mut Predictor::new(), front, &stream, len, &Stop::new()).unwrap();
                assert_eq!(back, raw, "{len} behind {reference_len}");
                if len == 4096 && reference_len == 50_000 && dictionary.is_none() {
                    let alone = Front {
                        reference: &[],
                        ..front
                    };
                    let alone = behind_all(&mut predictor, alone, &raw).len();
                    assert!(stream.len() * 3 < alone, "{} and {alone}", stream.len());
                }
            }
        }
    }
}

#[test]
fn a_dictionary_that_is_compressed_leaves_the_same_state() {
    let text = b"state is what was learned, however it was learned. ".repeat(300);
    let mut predictor = Predictor::new();
    let known = learned(&mut predictor, &text);
    let stop = Stop::new();
    let (_, stream) = WarmState::compress(&mut predictor, &text, &Stop::new()).unwrap();
    let decompressed = WarmState::decompress(&mut predictor, &stream, text.len(), &stop).unwrap();
    assert_eq!(decompressed.text(), &text[..]);
    let raw = b"what was learned is state";
    let block = behind(&mut predictor, &known, raw);
    assert_eq!(behind(&mut predictor, &decompressed, raw), block);
    assert!(WarmState::decompress(&mut predictor, &stream[..20], text.len(), &stop).is_err());
}

/// Overlapping reads of a genome once took more than what `xz` makes of them: matches of five letters are
/// accidents, and they were followed instead of long ones.
#[test]
fn reads_that_overlap_match_in_spite_of_accidents_and_errors() {
    let mut state = 1_u32;
    let mut below = |n: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) * n >> 16
    };
    let genome: Vec<u8> = (0..3000).map(|_| b"ACGT"[below(4) as usize]).collect();
    let mut reads = Vec::new();
    for _ in 0..300 {
        let start = below(2900) as usize;
        let mut read = genome[start..start + 100].to_vec();
        read[below(100) as usize] = b'N';
        reads.extend(read);
    }
    // Two bits for each letter of the genome are 750 bytes, and the places of 300 errors and starts about 600.
    let size = check(&mut Predictor::new(), &reads);
    println!("{} bytes: {size}", reads.len());
    assert!(size < 3000, "{size}");
}

/// The rows of a bitmap that is mostly white were once not found, because white repeats at every distance.
#[test]
fn rows_of_a_bitmap_are_found() {
    let raw: Vec<u8> = (0..40_000)
        .map(|i| {
            let (x, y) = (i % 100, i / 100);
            let disc = |cx: i32, cy: i32| ((x * 8 - cx * 8).pow(2) / 64 + (y - cy).pow(2) < 400) as u8;
            (disc(30, 60) | disc(70, 300)) * 0xFF
        })
        .collect();
    assert!(DataLayout::candidates(&raw).contains(&DataLayout::Records(100)));
    let mut predictor = Predictor::new();
    let len = check(&mut predictor, &raw);
    assert!(len <= encoded_as(&mut predictor, &raw, DataLayout::Plain).len());
}

#[test]
fn all_vectors_give_the_same_bits() {
    let text: Vec<u8> = (0..20_000u32).map(|i| (i * i >> 7) as u8 & 63).collect();
    for shape in [
        DataLayout::Plain,
        DataLayout::Records(3),
        DataLayout::Sound(1),
        DataLayout::Picture(3, 300),
    ] {
        let payloads = Dispatch::all().into_iter().map(|dispatch| {
            let mut predictor = Predictor::new();
            predictor.set_dispatch(dispatch);
            let mut coder = Encoder::new(Vec::new());
            let text: Vec<u8> = text.iter().map(|b| b | 128).collect();
            lanes(&mut predictor, &mut coder, &text, &[9000, 11_000], &[0, 1, 1, 0]);
            let warm = learned(&mut predictor, &text[..5000]);
            let front = Front {
                reference: &text[2000..6000],
                ..front(&warm)
            };
            let warmed = behind_all(&mut predictor, front, &text[5000..9000]);
            let numbers = encoded_as(&mut predictor, &numbers(100), shape);
            (
                encoded_as(&mut predictor, &text, shape),
                coder.finish(),
                warmed,
                numbers,
            )
        });
        let payloads: Vec<_> = payloads.collect();
        assert!(payloads.iter().all(|payload| *payload == payloads[0]));
    }
}

#[test]
fn one_byte_repeated_costs_almost_nothing() {
    assert!(check(&mut Predictor::new(), &vec![b'a'; crate::MAX_BLOCK]) < 400);
    assert!(check(&mut Predictor::new(), &[]) < 4);
    assert!(check(&mut Predictor::new(), b"x") < 5);
}

/// Counts the bits that were coded, and sets the stop after some.
struct Stopping<C> {
    coder: C,
    stop: Stop,
    bits: usize,
}

impl<C: Coder> Coder for Stopping<C> {
    fn code(&mut self, bit: bool, p: u32) -> bool {
        self.bits += 1;
        if self.bits == 8 * 10_000 {
            self.stop.set();
        }
        self.coder.code(bit, p)
    }
}

/// Regression: a block of 1 MiB was coded to its end, for a second or more, whoever had asked for it to stop.
#[test]
fn a_stop_is_heard_within_a_block() {
    let raw: Vec<u8> = (0..1 << 20).map(|i: u32| (i.wrapping_mul(i) >> 9) as u8).collect();
    let mut predictor = Predictor::new();
    predictor.reset(&[raw.len()], false);
    let stop = Stop::new();
    let mut side = Stopping {
        coder: Encoder::new(Vec::new()),
        stop: stop.clone(),
        bits: 0,
    };
    let end = code_bytes(&mut predictor, &mut side, &raw, raw.len(), &stop);
    assert!(matches!(end, Err(Error::Interrupted)));
    assert!(side.bits <= 8 * (10_000 + STEP), "{} bits", side.bits);

    let payload = encoded(&mut predictor, &raw[..20_000]);
    let mut side = Stopping {
        coder: Decoder::new(&payload),
        stop: stop.clone(),
        bits: 0,
    };
    assert!(code_bytes(&mut predictor, &mut side, &[], 20_000, &stop).is_err());
    assert_eq!(side.bits, 0, "it was set before");
    for interrupted in [
        encode(&mut predictor, &raw, &stop),
        decode(&mut predictor, &payload, 20_000, &stop),
        WarmState::learn(&mut predictor, &raw, &stop).map(|state| state.text().to_vec()),
    ] {
        assert!(matches!(interrupted, Err(Error::Interrupted)));
    }
}

#[test]
fn a_cut_payload_is_an_error() {
    let text = b"some text that is not quite the same as any other text of its kind ".repeat(5);
    let mut predictor = Predictor::new();
    let payload = encoded(&mut predictor, &text);
    for len in 0..payload.len().saturating_sub(8) {
        let (cut, _) = payload.split_at(len);
        match decode(&mut predictor, cut, text.len(), &Stop::new()) {
            Err(_) => {}
            Ok(bytes) => assert_ne!(bytes, text),
        }
    }
    assert!(
        decode(&mut predictor, &[9, 9, 9], 3, &Stop::new()).is_err(),
        "no such shape"
    );
}
