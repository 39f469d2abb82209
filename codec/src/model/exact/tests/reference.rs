//! A second implementation of docs/NUMERICS.md, "Exact engine", written from that text alone: no vectors, no rings, no
//! packed weights, no code of the engine but the GGUF reader. The engine must give its bits.

use super::{TEXT, bits, model_with_kv_heads};
use crate::model::exact::ExactModel;
use crate::model::gguf::{Gguf, Value};
use crate::model::{LanguageModel, LoadOptions, builtin};

/// Integers and their scale.
type Quantized = (Vec<i32>, f32);

fn at_least(x: f32, a: f32) -> f32 {
    if x > a { x } else { a }
}

fn at_most(x: f32, a: f32) -> f32 {
    if x < a { x } else { a }
}

fn round(x: f32) -> i32 {
    x.round_ties_even() as i32
}

fn quantize(x: &[f32]) -> Quantized {
    let m = x.iter().fold(f32::from_bits(0x0da2_4260), |m, v| at_least(v.abs(), m));
    let m = at_most(m, 1e15);
    let q = x
        .iter()
        .map(|v| round(at_most(at_least(v * (127.0 / m), -127.0), 127.0)));
    (q.collect(), m / 127.0)
}

fn dot(a: &[i32], b: &[i32]) -> i32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A matrix, row by row.
struct Rows(Vec<Quantized>);

impl Rows {
    fn times(&self, (q, s): &Quantized) -> Vec<f32> {
        self.0.iter().map(|(w, t)| dot(q, w) as f32 * (s * t)).collect()
    }
}

fn norm(x: &[f32], epsilon: f32) -> Quantized {
    let mut p = [0.0_f32; 16];
    for (j, v) in x.iter().enumerate() {
        p[j % 16] += v * v;
    }
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            p[i] += p[i + half];
        }
    }
    let norm = 1.0 / (p[0] / x.len() as f32 + epsilon).sqrt();
    let (q, s) = quantize(x);
    let s = s * norm;
    let s = if s.is_nan() || s < 0.0 { 0.0 } else { at_most(s, 1e20) };
    (q, s)
}

fn power(t: f32, c: &[u32]) -> f32 {
    let n = (t + 12_582_912.0) - 12_582_912.0;
    let g = t - n;
    let mut p = f32::from_bits(c[0]);
    for &c in &c[1..] {
        p = p * g + f32::from_bits(c);
    }
    p = p * g + 1.0;
    p * f32::from_bits(((n as i32 + 127) as u32) << 23)
}

fn exp(x: f32) -> f32 {
    let t = at_most(at_least(x, -87.0), 87.0) * f32::from_bits(0x3fb8_aa3b);
    power(t, &[0x3aad_dd07, 0x3c1e_7544, 0x3d63_5ba9, 0x3e75_fcde, 0x3f31_7215])
}

fn coarse(t: f32) -> f32 {
    power(at_least(t, -126.0), &[0x3d61_5104, 0x3e78_0627, 0x3f31_7afe])
}

/// Cosines and sines at a position.
fn angles(base: f64, position: u64) -> Vec<(f32, f32)> {
    let mut r = 1.0 / base;
    for _ in 0..5 {
        r = r.sqrt();
    }
    let mut theta = 1.0_f64;
    let mut all = Vec::new();
    for _ in 0..32 {
        let f = (theta / std::f64::consts::TAU * 2.0_f64.powi(64)) as u64;
        theta *= r;
        let phase = f.wrapping_mul(position).wrapping_add(1 << 61);
        let u = ((phase << 2) >> 40) as i32 - (1 << 23);
        let a = (u as f32 * 2.0_f32.powi(-26)) * 6.283_185_5;
        let b = a * a;
        let mut s = 2.755_731_9e-6_f32;
        for c in [-1.984_127e-4, 8.333_334e-3, -0.166_666_67] {
            s = s * b + c;
        }
        s = (s * b) * a + a;
        let mut c = 2.480_158_7e-5_f32;
        for d in [-1.388_888_9e-3, 4.166_666_8e-2, -0.5, 1.0] {
            c = c * b + d;
        }
        all.push(match phase >> 62 {
            0 => (c, s),
            1 => (-s, c),
            2 => (-c, -s),
            _ => (s, -c),
        });
    }
    all
}

fn rotate(x: &[f32], angles: &[(f32, f32)]) -> Vec<f32> {
    let pairs = x.chunks(2).zip(angles);
    pairs
        .flat_map(|(x, &(cos, sin))| [x[0] * cos - x[1] * sin, x[0] * sin + x[1] * cos])
        .collect()
}

/// What a lane remembers of a token in a layer: quantized keys and values by head.
type Past = Vec<(Vec<Quantized>, Vec<Quantized>)>;

fn attend(q: &Quantized, past: &[(Vec<Quantized>, Vec<Quantized>)], head: usize) -> Vec<f32> {
    let a = q.1 * (0.125 * std::f32::consts::LOG2_E);
    let l = past.iter().map(|(k, _)| dot(&q.0, &k[head].0) as f32 * (a * k[head].1));
    let l: Vec<f32> = l.collect();
    let top = l.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let e: Vec<f32> = l.iter().map(|l| coarse(l - top)).collect();
    let total: i32 = e.iter().map(|e| round(e * 255.0)).sum();
    let v = past.iter().fold(1e-30, |most, (_, v)| at_least(v[head].1, most));
    let u = 255.0 / v;
    let w = past.iter().zip(&e).map(|((_, v), e)| round(e * (v[head].1 * u)));
    let w: Vec<i32> = w.collect();
    let factor = v / total as f32;
    let component = |c: usize| -> i32 { past.iter().zip(&w).map(|((_, v), w)| w * v[head].0[c]).sum() };
    (0..64).map(|c| component(c) as f32 * factor).collect()
}

struct Layer {
    q: Rows,
    k: Rows,
    v: Rows,
    out: Rows,
    gate: Rows,
    up: Rows,
    down: Rows,
}

struct Model {
    embedding: Vec<Vec<f32>>,
    layers: Vec<Layer>,
    head: Rows,
    heads: usize,
    kv_heads: usize,
    epsilon: f32,
    base: f64,
    window: usize,
}

fn widen(h: u16) -> f32 {
    let (sign, exponent, fraction) = (h >> 15, i32::from(h >> 10 & 31), f64::from(h & 1023));
    let magnitude = match exponent {
        0 => fraction * 2.0_f64.powi(-24),
        _ => (1024.0 + fraction) * 2.0_f64.powi(exponent - 25),
    };
    (if sign == 1 { -magnitude } else { magnitude }) as f32
}

struct File<'a>(Gguf, &'a [u8]);

impl File<'_> {
    fn number(&self, key: &str) -> Option<f64> {
        match self.0.metadata.get(key)? {
            Value::Integer(v) => Some(*v as f64),
            Value::Float(v) => Some(*v),
            _ => None,
        }
    }

    fn rows(&self, name: &str) -> Option<Vec<Vec<f32>>> {
        let tensor = self.0.tensors.iter().find(|t| t.name == format!("{name}.weight"))?;
        let data = &self.1[tensor.offset..][..tensor.len];
        let values: Vec<f32> = match tensor.kind {
            0 => data
                .chunks(4)
                .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
                .collect(),
            1 => data
                .chunks(2)
                .map(|b| widen(u16::from_le_bytes(b.try_into().unwrap())))
                .collect(),
            8 => {
                let block = |b: &[u8]| {
                    let scale = widen(u16::from_le_bytes([b[0], b[1]]));
                    b[2..].iter().map(|&q| scale * f32::from(q as i8)).collect::<Vec<_>>()
                };
                data.chunks(34).flat_map(block).collect()
            }
            kind => unreachable!("{name} has type {kind}"),
        };
        Some(values.chunks(tensor.shape[0] as usize).map(<[f32]>::to_vec).collect())
    }

    /// A matrix behind a norm of this name, if it is behind one.
    fn matrix(&self, name: &str, norm: Option<&str>) -> Option<Rows> {
        let mut rows = self.rows(name)?;
        if let Some(norm) = norm {
            let gains = &self.rows(norm)?[0];
            for row in &mut rows {
                for (w, g) in row.iter_mut().zip(gains) {
                    *w *= g;
                }
            }
        }
        Some(Rows(rows.iter().map(|row| quantize(row)).collect()))
    }
}

impl Model {
    fn load(gguf: &[u8], window: usize) -> Model {
        let file = File(Gguf::parse(gguf).unwrap(), gguf);
        let count = |key: &str| file.number(key).unwrap() as usize;
        let layer = |i: usize| {
            let m = |part: &str, norm: Option<&str>| {
                let norm = norm.map(|norm| format!("blk.{i}.{norm}"));
                file.matrix(&format!("blk.{i}.{part}"), norm.as_deref()).unwrap()
            };
            Layer {
                q: m("attn_q", Some("attn_norm")),
                k: m("attn_k", Some("attn_norm")),
                v: m("attn_v", Some("attn_norm")),
                out: m("attn_output", None),
                gate: m("ffn_gate", Some("ffn_norm")),
                up: m("ffn_up", Some("ffn_norm")),
                down: m("ffn_down", None),
            }
        };
        let head = file.matrix("output", Some("output_norm"));
        Model {
            embedding: file.rows("token_embd").unwrap(),
            layers: (0..count("llama.block_count")).map(layer).collect(),
            head: head.unwrap_or_else(|| file.matrix("token_embd", Some("output_norm")).unwrap()),
            heads: count("llama.attention.head_count"),
            kv_heads: count("llama.attention.head_count_kv"),
            epsilon: file.number("llama.attention.layer_norm_rms_epsilon").unwrap() as f32,
            base: file.number("llama.rope.freq_base").unwrap_or(10_000.0),
            window,
        }
    }

    /// The logits after each token of a lane.
    fn run(&self, tokens: &[u32]) -> Vec<Vec<f32>> {
        let mut pasts: Vec<Past> = self.layers.iter().map(|_| Past::new()).collect();
        let token = |(position, &token): (usize, &u32)| {
            let angles = angles(self.base, position as u64);
            let mut x = self.embedding[token as usize].clone();
            for (layer, past) in self.layers.iter().zip(&mut pasts) {
                let input = norm(&x, self.epsilon);
                let heads = |m: &Rows, turn: bool| -> Vec<Quantized> {
                    let turned = |head: &[f32]| if turn { rotate(head, &angles) } else { head.to_vec() };
                    m.times(&input).chunks(64).map(|head| quantize(&turned(head))).collect()
                };
                past.push((heads(&layer.k, true), heads(&layer.v, false)));
                let seen = &past[past.len().saturating_sub(self.window)..];
                let queries = heads(&layer.q, true);
                let share = self.heads / self.kv_heads;
                let attended = queries.iter().enumerate().flat_map(|(h, q)| attend(q, seen, h / share));
                let attended: Vec<f32> = attended.collect();
                for (x, y) in x.iter_mut().zip(layer.out.times(&quantize(&attended))) {
                    *x += y;
                }
                let input = norm(&x, self.epsilon);
                let gate = layer.gate.times(&input);
                let hidden = gate
                    .iter()
                    .zip(layer.up.times(&input))
                    .map(|(&g, u)| (g / (1.0 + exp(-g))) * u);
                let hidden: Vec<f32> = hidden.collect();
                for (x, y) in x.iter_mut().zip(layer.down.times(&quantize(&hidden))) {
                    *x += y;
                }
            }
            self.head.times(&norm(&x, self.epsilon))
        };
        tokens.iter().enumerate().map(token).collect()
    }
}

#[test]
fn the_engine_gives_the_bits_of_an_implementation_written_from_the_text() {
    let builtin = |name| builtin::find(name).unwrap().gguf.to_vec();
    for (name, gguf, window) in [
        ("4 KV heads", model_with_kv_heads(4), 30),
        ("2 KV heads", model_with_kv_heads(2), 40),
        ("small", builtin("small"), 100),
        ("small", builtin("small"), 512),
    ] {
        let options = LoadOptions {
            context: Some(window),
            ..LoadOptions::default()
        };
        let model = ExactModel::load(name, &gguf, &options).unwrap();
        let tokens = [&[0], model.tokenize(TEXT.as_bytes()).unwrap().as_slice()].concat();
        let expected = Model::load(&gguf, window).run(&tokens);
        let mut lanes = model.open(1).unwrap();
        for (i, (token, expected)) in tokens.iter().zip(&expected).enumerate() {
            lanes.step(&[&[*token]]).unwrap();
            assert_eq!(
                bits(lanes.logits(0, 0)),
                bits(expected),
                "{name}, window {window}, token {i}"
            );
        }
    }
}
