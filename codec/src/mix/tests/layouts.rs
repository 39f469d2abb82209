//! Data in layouts: pictures, sound and records.

use proptest::prelude::*;

use super::*;

fn wide(bytes: u8, channels: u8, big_endian: bool, before: u8) -> DataLayout {
    DataLayout::WideSound(WideSound {
        bytes,
        channels,
        big_endian,
        before,
    })
}

fn quantized(bytes: u8, channels: u8, float: bool, before: u16, samples: usize) -> DataLayout {
    DataLayout::Quantized(Quantized {
        kind: SampleKind {
            float,
            big_endian: false,
        },
        channels,
        bytes,
        step: 1_f64.to_bits(),
        before,
        samples: samples as u32,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_bytes_return_in_any_layout(raw: Vec<u8>, repeat in 1_usize..40, garbage: Vec<u8>) {
        let raw = raw.repeat(repeat);
        let mut predictor = Predictor::new();
        let len = garbage.len() as u16;
        for layout in [
            DataLayout::Sound(1),
            DataLayout::Sound(2),
            DataLayout::ByteSound(1),
            DataLayout::ByteSound(2),
            DataLayout::BigEndianSound(1),
            DataLayout::BigEndianSound(2),
            wide(3, 1, true, 2),
            wide(3, 2, false, 5),
            wide(4, 1, false, 1),
            wide(4, 2, true, 7),
            // These bytes have it only without samples.
            quantized(2, 1, true, 0, raw.len() / 4),
            quantized(1, 2, false, len.min(raw.len() as u16), 0),
            DataLayout::Picture(1, 2 + len),
            DataLayout::Picture(1 + len as u8 % 4, 5 + len),
            DataLayout::Records(1 + len),
        ] {
            let payload = encoded_as(&mut predictor, &raw, layout);
            let back = decode(&mut predictor, &payload, raw.len(), &Stop::new()).unwrap();
            prop_assert_eq!(back, &raw[..], "{:?}", layout);
        }
        for (bytes, channels, float) in [(1, 1, false), (2, 2, true), (3, 1, true)] {
            let samples = raw.iter().map(|byte| f32::from(*byte) - 128.0);
            let words: Vec<u8> = if float {
                samples.flat_map(f32::to_le_bytes).collect()
            } else {
                samples.flat_map(|sample| (sample as i32).to_le_bytes()).collect()
            };
            let all = [&garbage[..], &words, &garbage].concat();
            let layout = quantized(bytes, channels, float, len, raw.len());
            let payload = encoded_as(&mut predictor, &all, layout);
            prop_assert_eq!(payload[0], 14);
            let back = decode(&mut predictor, &payload, all.len(), &Stop::new()).unwrap();
            prop_assert_eq!(back, all, "{:?}", layout);
            let short = (2 * garbage.len() + 4 * raw.len()).saturating_sub(garbage.len() + 1);
            if !raw.is_empty() {
                prop_assert!(decode(&mut predictor, &payload, short, &Stop::new()).is_err());
            }
        }
    }
}

/// A wave and noise, as a picture of `channels` bytes a pixel and `width` pixels a row.
fn wave(len: usize, width: usize, channels: usize) -> Vec<u8> {
    let mut noise = 1_u32;
    let triangle = |i: usize, period: usize| (i % period).abs_diff(period / 2) as u32;
    (0..len)
        .map(|i| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (x, y) = (i / channels % width, i / channels / width);
            let smooth = 3 * triangle(x, 50) + triangle(y + x / 3, 90) + 20 * (i % channels) as u32;
            (smooth + (noise >> 29)) as u8
        })
        .collect()
}

#[test]
fn pictures_and_sounds_are_found_and_return() {
    let mut predictor = Predictor::new();
    for (raw, layout) in [
        (wave(40_000, 321, 1), DataLayout::Picture(1, 321)),
        (wave(60_000, 211, 3), DataLayout::Picture(3, 633)),
        (wave(60_000, 150, 4), DataLayout::Picture(4, 600)),
    ] {
        assert!(DataLayout::candidates(&raw).contains(&layout), "{layout:?}");
        let len = check(&mut predictor, &raw);
        assert!(
            len < encoded_as(&mut predictor, &raw, DataLayout::Plain).len(),
            "{layout:?}"
        );
    }
    // A resonance that noise keeps going: 16 bits, and the upper eight of them.
    let (mut noise, mut past) = (1_u32, [0_i32; 2]);
    let samples: Vec<i16> = (0..20_000)
        .map(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let next = (past[0] * 245 - past[1] * 126) / 128 + ((noise >> 22) as i32 - 512);
            past = [next.clamp(-32_000, 32_000), past[0]];
            past[0] as i16
        })
        .collect();
    // The same with eight more bits of noise, which nothing takes away.
    let wide_words: Vec<u8> = samples
        .iter()
        .zip(1_u32..)
        .flat_map(|(sample, i)| {
            let [low, high] = sample.to_le_bytes();
            [(i.wrapping_mul(2_654_435_761) >> 24) as u8, low, high]
        })
        .collect();
    let (part, layout) = (&wide_words[1..40_000], wide(3, 1, false, 2));
    assert!(DataLayout::candidates(part).contains(&layout));
    let noise = part.len() / 3;
    let len = check(&mut predictor, part) - noise;
    let plain = encoded_as(&mut predictor, part, DataLayout::Plain).len() - noise;
    assert!(len * 10 < plain * 9, "{layout:?}: {len} {plain}");
    let words: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    // The same in floats takes as much.
    let floats: Vec<u8> = samples
        .iter()
        .flat_map(|sample| (f32::from(*sample) / 32_768.0).to_le_bytes())
        .collect();
    let (len, alone) = (check(&mut predictor, &floats), check(&mut predictor, &words));
    assert!(len < alone + 16, "{len} {alone}");
    let swapped: Vec<u8> = samples.iter().flat_map(|sample| sample.to_be_bytes()).collect();
    let bytes: Vec<u8> = samples
        .iter()
        .map(|sample| ((i32::from(*sample) + 32_768) >> 8) as u8)
        .collect();
    for (raw, layout) in [
        (words, DataLayout::Sound(1)),
        (swapped, DataLayout::BigEndianSound(1)),
        (bytes, DataLayout::ByteSound(1)),
    ] {
        assert!(DataLayout::candidates(&raw).contains(&layout), "{layout:?}");
        let len = check(&mut predictor, &raw);
        let plain = encoded_as(&mut predictor, &raw, DataLayout::Plain).len();
        assert!(len * 10 < plain * 9, "{layout:?}: {len} {plain}");
    }
}

/// Regression: a picture of few colours whose channels are all equal was taken for records of two bytes. Pixels and
/// rows were looked for where nothing changes, and the trial was too short.
#[test]
fn flat_grey_pictures_in_colour_take_as_much_as_in_grey() {
    let (width, height) = (200, 240);
    // Discs on black, each of one grey.
    let grey = |i: usize| {
        let (x, y) = ((i % width) as i64, (i / width) as i64);
        let inside = |cx: i64, cy: i64, r: i64| (x - cx).pow(2) + (y - cy).pow(2) < r * r;
        match () {
            () if inside(70, 90, 20) => 90,
            () if inside(120, 150, 27) => 200,
            () if inside(100, 120, 85) => 40,
            () => 0,
        }
    };
    let mut predictor = Predictor::new();
    let raw: Vec<u8> = (0..width * height).map(grey).collect();
    let alone = check(&mut predictor, &raw);
    for channels in 3..=4 {
        let all: Vec<u8> = raw.iter().flat_map(|&byte| vec![byte; channels]).collect();
        let layout = DataLayout::Picture(channels as u8, (channels * width) as u16);
        assert!(DataLayout::candidates(&all).contains(&layout), "{layout:?}");
        let len = check(&mut predictor, &all);
        assert!(len * 2 < alone * 3, "{channels} channels: {len}, and {alone} as grey");
    }
}

#[test]
fn a_layout_that_does_not_exist_is_coded_as_plain() {
    let mut predictor = Predictor::new();
    for layout in [
        DataLayout::Records(0),
        DataLayout::Sound(0),
        DataLayout::Sound(3),
        DataLayout::ByteSound(9),
        DataLayout::BigEndianSound(3),
        wide(2, 1, false, 0),
        wide(3, 1, false, 3),
        wide(4, 3, false, 0),
        wide(4, 2, true, 8),
        quantized(0, 1, true, 0, 1),
        quantized(4, 1, true, 0, 1),
        quantized(2, 3, true, 0, 1),
        quantized(2, 1, true, 0, 1 << 24),
        // Samples that are longer than the block, and some that are no multiples.
        quantized(2, 1, true, 0, 2),
        quantized(2, 1, true, 0, 1),
        DataLayout::Picture(0, 9),
        DataLayout::Picture(3, 3),
    ] {
        let payload = encoded_as(&mut predictor, b"samples", layout);
        assert_eq!(
            payload,
            encoded_as(&mut predictor, b"samples", DataLayout::Plain),
            "{layout:?}"
        );
    }
}
