//! Tiny recurrent models with random weights: a state of fixed size where others have a cache.

use super::{Random, Vocab, Weights, Writer, matrix, tokenizer};

/// Which architecture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Recurrent {
    Mamba,
    Rwkv6,
    Rwkv7,
}

const WIDTH: u64 = 64;
const LAYERS: u32 = 2;

/// Tensors of 32-bit floats, of one layer or of none.
struct Floats<'a> {
    writer: &'a mut Writer,
    random: Random,
    prefix: String,
}

impl Floats<'_> {
    fn put(&mut self, name: &str, shape: &[u64], value: impl Fn(u64) -> f32) {
        let data: Vec<u8> = (0..shape.iter().product())
            .flat_map(|i| value(i).to_le_bytes())
            .collect();
        self.writer.tensor(&format!("{}{name}", self.prefix), shape, 0, &data);
    }

    fn constant(&mut self, name: &str, shape: &[u64], value: f32) {
        self.put(name, shape, |_| value);
    }

    /// Weight 1, bias 0.
    fn norm(&mut self, name: &str) {
        self.constant(&format!("{name}.weight"), &[WIDTH], 1.0);
        self.constant(&format!("{name}.bias"), &[WIDTH], 0.0);
    }

    /// Random values around `middle`.
    fn around(&mut self, name: &str, shape: &[u64], middle: f32, spread: f32) {
        let count = shape.iter().product::<u64>() as usize;
        let values: Vec<f32> = (0..count).map(|_| middle + spread * self.random.unit()).collect();
        self.put(name, shape, |i| values[i as usize]);
    }

    fn matrices(&mut self, shapes: &[(&str, u64, u64)]) {
        for (name, columns, rows) in shapes {
            let name = format!("{}{name}.weight", self.prefix);
            matrix(self.writer, &name, *columns, *rows, Weights::F32, &mut self.random);
        }
    }
}

/// A model with two layers.
pub fn recurrent_model(kind: Recurrent) -> Vec<u8> {
    let mut writer = Writer::default();
    let (name, vocab) = match kind {
        Recurrent::Mamba => ("mamba", Vocab::Bpe),
        Recurrent::Rwkv6 => ("rwkv6", Vocab::Rwkv),
        Recurrent::Rwkv7 => ("rwkv7", Vocab::Rwkv),
    };
    writer.text("general.architecture", name);
    for (key, value) in [
        ("context_length", 64),
        ("embedding_length", WIDTH as u32),
        ("attention.head_count", 0),
        ("block_count", LAYERS),
    ] {
        writer.integer(&format!("{name}.{key}"), value);
    }
    let tokens = tokenizer(&mut writer, vocab);
    let mut floats = Floats {
        writer: &mut writer,
        random: Random(42),
        prefix: String::new(),
    };
    floats.matrices(&[("token_embd", WIDTH, tokens)]);
    match kind {
        Recurrent::Mamba => mamba(&mut floats),
        Recurrent::Rwkv6 | Recurrent::Rwkv7 => rwkv(&mut floats, name, tokens),
    }
    writer.finish()
}

fn mamba(floats: &mut Floats<'_>) {
    let (inner, state, rank, kernel) = (128, 16, 4, 4);
    for (key, value) in [
        ("feed_forward_length", 0),
        ("ssm.conv_kernel", kernel),
        ("ssm.inner_size", inner),
        ("ssm.state_size", state),
        ("ssm.time_step_rank", rank),
    ] {
        floats.writer.integer(&format!("mamba.{key}"), value as u32);
    }
    let epsilon = 1e-5_f32.to_le_bytes();
    floats
        .writer
        .entry("mamba.attention.layer_norm_rms_epsilon", 6, &epsilon);
    floats.constant("output_norm.weight", &[WIDTH], 1.0);
    for layer in 0..LAYERS {
        floats.prefix = format!("blk.{layer}.");
        floats.constant("attn_norm.weight", &[WIDTH], 1.0);
        floats.matrices(&[
            ("ssm_in", WIDTH, 2 * inner),
            ("ssm_conv1d", kernel, inner),
            ("ssm_x", inner, rank + 2 * state),
            ("ssm_dt", rank, inner),
            ("ssm_out", inner, WIDTH),
        ]);
        floats.constant("ssm_conv1d.bias", &[inner], 0.1);
        floats.constant("ssm_dt.bias", &[inner], -1.0);
        floats.put("ssm_a", &[state, inner], |i| -((i % state + 1) as f32));
        floats.constant("ssm_d", &[inner], 1.0);
    }
}

/// What versions 6 and 7 share, and then what they do not.
fn rwkv(floats: &mut Floats<'_>, name: &str, tokens: u64) {
    let (head, hidden, rank) = (32, 128, 16);
    let integers: &[(&str, u64)] = match name {
        "rwkv6" => &[("time_mix_extra_dim", rank), ("time_decay_extra_dim", rank)],
        _ => &[
            ("attention.decay_lora_rank", rank),
            ("attention.iclr_lora_rank", rank),
            ("attention.value_residual_mix_lora_rank", rank),
            ("attention.gate_lora_rank", rank),
        ],
    };
    for (key, value) in [("wkv.head_size", head), ("feed_forward_length", hidden)]
        .iter()
        .chain(integers)
    {
        floats.writer.integer(&format!("{name}.{key}"), *value as u32);
    }
    let epsilon = 1e-5_f32.to_le_bytes();
    floats
        .writer
        .entry(&format!("{name}.attention.layer_norm_epsilon"), 6, &epsilon);
    floats.norm("token_embd_norm");
    floats.norm("output_norm");
    floats.matrices(&[("output", WIDTH, tokens)]);
    for layer in 0..LAYERS {
        floats.prefix = format!("blk.{layer}.");
        for norm in ["attn_norm", "attn_norm_2", "time_mix_ln"] {
            floats.norm(norm);
        }
        floats.matrices(&[
            ("time_mix_key", WIDTH, WIDTH),
            ("time_mix_value", WIDTH, WIDTH),
            ("time_mix_receptance", WIDTH, WIDTH),
            ("time_mix_output", WIDTH, WIDTH),
            ("channel_mix_key", WIDTH, hidden),
            ("channel_mix_value", hidden, WIDTH),
        ]);
        floats.around("channel_mix_lerp_k.weight", &[WIDTH], 0.5, 0.5);
        match name {
            "rwkv6" => version_6(floats, head, rank),
            _ => version_7(floats, rank),
        }
    }
}

fn version_6(floats: &mut Floats<'_>, head: u64, rank: u64) {
    for part in ["x", "w", "k", "v", "r", "g"] {
        floats.around(&format!("time_mix_lerp_{part}.weight"), &[WIDTH], 0.5, 0.5);
    }
    floats.around("channel_mix_lerp_r.weight", &[WIDTH], 0.5, 0.5);
    floats.around("time_mix_first.weight", &[head, WIDTH / head], 0.0, 1.0);
    floats.around("time_mix_decay.weight", &[WIDTH], -2.0, 2.0);
    floats.around("time_mix_w2.weight", &[rank, WIDTH, 5], 0.0, 0.3);
    floats.matrices(&[
        ("time_mix_w1", WIDTH, 5 * rank),
        ("time_mix_decay_w1", WIDTH, rank),
        ("time_mix_decay_w2", rank, WIDTH),
        ("time_mix_gate", WIDTH, WIDTH),
        ("channel_mix_receptance", WIDTH, WIDTH),
    ]);
}

fn version_7(floats: &mut Floats<'_>, rank: u64) {
    floats.around("time_mix_lerp_fused.weight", &[WIDTH, 1, 1, 6], 0.5, 0.5);
    for part in ["w", "a", "v", "g"] {
        if part != "g" {
            floats.around(&format!("time_mix_{part}0.weight"), &[WIDTH], -1.0, 1.0);
        }
        let (down, up) = (format!("time_mix_{part}1"), format!("time_mix_{part}2"));
        floats.matrices(&[(&down, WIDTH, rank), (&up, rank, WIDTH)]);
    }
    for part in ["k_k", "k_a", "r_k"] {
        floats.around(&format!("time_mix_{part}.weight"), &[WIDTH], 0.5, 0.5);
    }
}
