//! All kernels, lanes, runs and threads on real text, and attention on rings of chance.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::{bits, model, model_with_kv_heads, noise};
use crate::model::exact::ExactModel;
use crate::model::exact::kernel::{Context, ContextMut, GROUP, Kernel, Scratch, Span};
use crate::model::exact::math::{Rotation, frequencies};
use crate::model::exact::matrix::Line;
use crate::model::{LanguageModel, LoadOptions, builtin};

/// Tokens of a piece of each sample file in tests/data, one text each, and of bytes that are no text.
fn samples(model: &ExactModel, bytes: usize) -> Vec<Vec<u32>> {
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data")];
    let mut files = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            files.push(path);
        }
    }
    files.sort();
    assert!(files.len() > 10);
    let binary = (0..=255).cycle().step_by(7).take(bytes).collect();
    let texts = files.iter().map(|file| std::fs::read(file).unwrap()).chain([binary]);
    let cut = |text: Vec<u8>| {
        let from = text.len() / 3;
        model.tokenize(&text[from..(from + bytes).min(text.len())]).unwrap()
    };
    texts.map(cut).filter(|tokens| tokens.len() > 40).collect()
}

/// Digest of all logits of one lane: FNV-1a over their bits.
fn digest(hash: &mut u64, logits: &[f32]) {
    for bits in bits(logits) {
        *hash = (*hash ^ u64::from(bits)).wrapping_mul(0x0100_0000_01b3);
    }
}

/// Feeds the texts, a lane each, in runs of `run`, and digests the logits of each lane.
fn digests(model: &ExactModel, kernel: &'static Kernel, texts: &[&[u32]], run: usize) -> Vec<u64> {
    let mut lanes = model.open_with(kernel, texts.len(), Some(run)).unwrap();
    let mut found = vec![0xcbf2_9ce4_8422_2325; texts.len()];
    let longest = texts.iter().map(|t| t.len()).max().unwrap();
    for at in (0..longest).step_by(run) {
        let runs: Vec<&[u32]> = texts
            .iter()
            .map(|t| &t[at.min(t.len())..(at + run).min(t.len())])
            .collect();
        lanes.step(&runs).unwrap();
        for (lane, (run, hash)) in runs.iter().zip(&mut found).enumerate() {
            for i in 0..run.len() {
                digest(hash, lanes.logits(lane, i));
            }
        }
    }
    found
}

#[test]
fn kernels_lanes_runs_and_threads_agree_on_every_kind_of_data() {
    for (name, gguf) in [
        ("small", builtin::find("small").unwrap().gguf.to_vec()),
        ("4 KV heads", model_with_kv_heads(4)),
    ] {
        let options = LoadOptions {
            context: Some(70),
            ..LoadOptions::default()
        };
        let model = Arc::new(ExactModel::load(name, &gguf, &options).unwrap());
        let texts: Arc<Vec<Vec<u32>>> = Arc::new(samples(&model, 300));
        let all: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        let fastest = Kernel::all().next().unwrap();
        let wanted = digests(&model, fastest, &all, 1);
        for kernel in Kernel::all() {
            // The plain kernel takes its time, so it sees all kinds of data once.
            let runs: &[usize] = if kernel.name == "scalar" { &[11] } else { &[2, 37] };
            for &run in runs {
                assert_eq!(
                    wanted,
                    digests(&model, kernel, &all, run),
                    "{name}, {}, {run}",
                    kernel.name
                );
            }
        }
        for lanes in [1, 2, 3, 5, 8, 13, 64] {
            let cut: Vec<&[u32]> = (0..lanes).map(|i| all[i % all.len()]).collect();
            let found = digests(&model, fastest, &cut, 4096 / lanes);
            for (i, found) in found.iter().enumerate() {
                assert_eq!(wanted[i % all.len()], *found, "{name}, lane {i} of {lanes}");
            }
        }
        let threads: Vec<_> = (0..8)
            .map(|i| {
                let (model, texts) = (Arc::clone(&model), Arc::clone(&texts));
                std::thread::spawn(move || {
                    let i = i % texts.len();
                    (i, digests(&model, fastest, &[&texts[i]], 1 + i)[0])
                })
            })
            .collect();
        for thread in threads {
            let (i, found) = thread.join().unwrap();
            assert_eq!(wanted[i], found, "{name}, text {i} on a thread of its own");
        }
    }
}

#[test]
fn runs_of_any_length_up_to_thousands_agree() {
    let model = model(48);
    let text: Vec<u32> = samples(&model, 1500).concat().into_iter().take(4096).collect();
    assert_eq!(text.len(), 4096);
    let fastest = Kernel::all().next().unwrap();
    for (length, runs) in [(1000, &[2, 3, 63, 64, 65, 100, 1000][..]), (4096, &[4096])] {
        let text = &text[..length];
        let wanted = digests(&model, fastest, &[text], 1);
        for &run in runs {
            assert_eq!(wanted, digests(&model, fastest, &[text], run), "runs of {run}");
        }
    }
}

/// A ring whose slots have been written in order, some more than once, and the scales of chance that it ended up with.
struct Ring {
    keys: Vec<Line>,
    values: Vec<Line>,
    key_scales: Vec<f32>,
    value_scales: Vec<f32>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 48 }))]

    #[test]
    fn kernels_agree_on_attention(
        groups in 1_usize..if cfg!(miri) { 2 } else { 10 },
        heads in 1_usize..5,
        place in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        // What keys and values are multiplied by, as powers of two: tiny, usual, huge.
        sizes in (-100_i32..60, -100_i32..60),
        position in any::<u64>(),
        seed: u64,
    ) {
        let slots = groups * GROUP;
        let span = Span { start: place.0.index(slots), count: 1 + place.1.index(slots) };
        let (mut ring, mut outcome) = (None, None);
        for kernel in Kernel::all() {
            let mut rotation = Rotation { cos: [0.0; 32], sin: [0.0; 32] };
            (kernel.rotation)(&frequencies(10_000.0), position, &mut rotation);
            let mut here = Ring {
                keys: vec![Line([7; 64]); slots],
                values: vec![Line([9; 64]); slots],
                key_scales: vec![0.0; slots],
                value_scales: vec![0.0; slots],
            };
            for slot in 0..slots {
                let x = noise(129, seed ^ slot as u64);
                // Sizes differ within a ring by up to 2^16.
                let scale = |power: i32| x[128].abs().powi(4) * 2.0_f32.powi(power);
                let mut key: [f32; 64] = std::array::from_fn(|i| x[i] * scale(sizes.0));
                let value: [f32; 64] = std::array::from_fn(|i| x[64 + i] * scale(sizes.1));
                let mut to = ContextMut {
                    keys: &mut here.keys,
                    values: &mut here.values,
                    key_scales: &mut here.key_scales,
                    value_scales: &mut here.value_scales,
                };
                (kernel.remember)(&mut to, slot, &mut key, &value, &rotation);
            }
            let written: Vec<[u8; 64]> = here.keys.iter().chain(&here.values).map(|line| line.0).collect();
            let written = (written, bits(&here.key_scales), bits(&here.value_scales));
            prop_assert_eq!(ring.get_or_insert_with(|| written.clone()), &written, "{}", kernel.name);
            let context = Context {
                keys: &here.keys,
                values: &here.values,
                key_scales: &here.key_scales,
                value_scales: &here.value_scales,
            };
            let mut q = noise(heads * 64, seed ^ 5);
            let (mut scratch, mut out) = (Scratch::new(slots), vec![0.0; heads * 64]);
            (kernel.attend)(&mut q, &rotation, &context, span, &mut scratch, &mut out);
            let found = (bits(&out), bits(&q));
            prop_assert_eq!(outcome.get_or_insert_with(|| found.clone()), &found, "{}", kernel.name);
        }
    }

    #[test]
    fn kernels_agree_on_rows(width in 1_usize..20, size in -140_i32..120, odd in any::<u32>(), seed: u64) {
        let width = width * 64;
        let mut x: Vec<f32> = noise(width, seed).iter().map(|v| v * 2.0_f32.powi(size)).collect();
        // Any bits at all, NaN and infinity among them.
        x[(seed % width as u64) as usize] = f32::from_bits(odd);
        let mut wanted = None;
        for kernel in Kernel::all() {
            let mut q = [vec![0; width], vec![0; width], vec![0; width / 2]];
            let mut between = vec![0.0; width / 2];
            let rows = [
                (kernel.quantize)(&x, &mut q[0]),
                (kernel.norm_quantize)(&x, 1e-5, &mut q[1]),
                (kernel.swiglu_quantize)(&x, &mut between, &mut q[2]),
            ];
            // Which NaN an operation gives is the CPU's choice, and the engine makes it 0 at once.
            let rows = rows.map(|row| (row.scale.to_bits(), row.scale.is_nan(), row.sum));
            let rows = rows.map(|(bits, nan, sum)| (if nan { 0 } else { bits }, sum));
            let between: Vec<u32> = between.iter().map(|v| if v.is_nan() { 0 } else { v.to_bits() }).collect();
            let found = (q, rows, between);
            prop_assert_eq!(wanted.get_or_insert_with(|| found.clone()), &found, "{}", kernel.name);
        }
    }
}
