//! Tiny models with random weights, written as GGUF files by the tests themselves.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "shared by several tests"
)]

pub mod random;
pub mod recurrent;

pub use random::Random;

/// How weights are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Weights {
    F32,
    F16,
    Bf16,
    Q8_0,
    Q4K,
}

/// Which tokenizer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Vocab {
    /// Byte-level BPE with a few merges and a start token.
    Bpe,
    /// The same with the pre-tokenizer that the exact engine has.
    Qwen2,
    /// SentencePiece with byte fallback, which puts a space before every text.
    Spm,
    /// SentencePiece without the tokens of single bytes.
    SpmWithoutBytes,
    /// RWKV's: the longest token that fits, texts with escapes, no tokens for control but one.
    Rwkv,
}

#[derive(Default)]
struct Writer {
    metadata: Vec<u8>,
    entries: u64,
    directory: Vec<u8>,
    tensors: u64,
    data: Vec<u8>,
}

impl Writer {
    fn string(out: &mut Vec<u8>, text: &[u8]) {
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text);
    }

    fn entry(&mut self, key: &str, kind: u32, value: &[u8]) {
        Self::string(&mut self.metadata, key.as_bytes());
        self.metadata.extend(kind.to_le_bytes());
        self.metadata.extend(value);
        self.entries += 1;
    }

    fn text(&mut self, key: &str, text: &str) {
        let mut value = Vec::new();
        Self::string(&mut value, text.as_bytes());
        self.entry(key, 8, &value);
    }

    fn integer(&mut self, key: &str, value: u32) {
        self.entry(key, 4, &value.to_le_bytes());
    }

    fn array(&mut self, key: &str, kind: u32, count: usize, values: &[u8]) {
        let mut value = kind.to_le_bytes().to_vec();
        value.extend((count as u64).to_le_bytes());
        value.extend(values);
        self.entry(key, 9, &value);
    }

    fn texts(&mut self, key: &str, texts: &[String]) {
        let mut values = Vec::new();
        texts.iter().for_each(|text| Self::string(&mut values, text.as_bytes()));
        self.array(key, 8, texts.len(), &values);
    }

    fn tensor(&mut self, name: &str, shape: &[u64], kind: u32, data: &[u8]) {
        Self::string(&mut self.directory, name.as_bytes());
        self.directory.extend((shape.len() as u32).to_le_bytes());
        shape
            .iter()
            .for_each(|extent| self.directory.extend(extent.to_le_bytes()));
        self.directory.extend(kind.to_le_bytes());
        self.directory.extend((self.data.len() as u64).to_le_bytes());
        self.data.extend(data);
        self.data.resize(self.data.len().next_multiple_of(32), 0);
        self.tensors += 1;
    }

    fn finish(self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(3_u32.to_le_bytes());
        file.extend(self.tensors.to_le_bytes());
        file.extend(self.entries.to_le_bytes());
        file.extend(self.metadata);
        file.extend(self.directory);
        file.resize(file.len().next_multiple_of(32), 0);
        file.extend(self.data);
        file
    }
}

/// An f16 that is exact for the small numbers used here.
fn half(x: f32) -> [u8; 2] {
    let bits = x.to_bits();
    let exponent = ((bits >> 23) & 255) as i32 - 112;
    let sign = (bits >> 16 & 0x8000) as u16;
    let value = if exponent <= 0 {
        0
    } else {
        (exponent as u16) << 10 | (bits >> 13 & 0x3ff) as u16
    };
    (sign | value).to_le_bytes()
}

fn matrix(writer: &mut Writer, name: &str, columns: u64, rows: u64, weights: Weights, random: &mut Random) {
    let scale = 1.5 / (columns as f32).sqrt();
    let count = (columns * rows) as usize;
    let mut data = Vec::new();
    let kind = match weights {
        Weights::F32 => {
            (0..count).for_each(|_| data.extend((random.unit() * scale).to_le_bytes()));
            0
        }
        Weights::F16 => {
            (0..count).for_each(|_| data.extend(half(random.unit() * scale)));
            1
        }
        Weights::Bf16 => {
            (0..count)
                .for_each(|_| data.extend(((random.unit() * scale).to_bits() >> 16).to_le_bytes().iter().take(2)));
            30
        }
        Weights::Q8_0 => {
            for _ in 0..count / 32 {
                data.extend(half(scale / 127.0));
                data.extend((0..32).map(|_| random.next() as u8));
            }
            8
        }
        Weights::Q4K => {
            for _ in 0..count / 256 {
                data.extend(half(scale / 500.0));
                data.extend(half(scale / 70.0));
                data.extend((0..140).map(|_| random.next() as u8));
            }
            12
        }
    };
    writer.tensor(name, &[columns, rows], kind, &data);
}

/// GPT-2's printable stand-ins for bytes.
fn bpe_byte(byte: u8) -> char {
    let printable = |b: u8| matches!(b, 33..=126 | 161..=172 | 174..=255);
    match printable(byte) {
        true => char::from(byte),
        false => char::from_u32(256 + (0..byte).filter(|&b| !printable(b)).count() as u32).unwrap(),
    }
}

fn tokenizer(writer: &mut Writer, vocab: Vocab) -> u64 {
    let mut tokens: Vec<String> = Vec::new();
    let mut kinds: Vec<i32> = Vec::new();
    let mut add = |text: String, kind: i32| {
        tokens.push(text);
        kinds.push(kind);
    };
    if matches!(vocab, Vocab::Bpe | Vocab::Qwen2) {
        add("<s>".into(), 3);
        (0..=255).for_each(|byte| add(bpe_byte(byte).to_string(), 1));
        let merges = ["t h", "th e", "i n", "e r", "Ġ t", "Ġ a", "o u", "Ġt he", "1 2", "Ã ¤"];
        merges.iter().for_each(|merge| add(merge.replace(' ', ""), 1));
        writer.text("tokenizer.ggml.model", "gpt2");
        let pre = if vocab == Vocab::Qwen2 { "qwen2" } else { "gpt-2" };
        writer.text("tokenizer.ggml.pre", pre);
        writer.texts("tokenizer.ggml.merges", &merges.map(String::from));
        writer.integer("tokenizer.ggml.bos_token_id", 0);
        writer.integer("tokenizer.ggml.eos_token_id", 0);
    } else if vocab == Vocab::Rwkv {
        add("<s>".into(), 3);
        (0..=255).for_each(|byte: u8| match byte {
            b'\t' => add("\\t".into(), 1),
            b'\n' => add("\\n".into(), 1),
            b'\r' => add("\\r".into(), 1),
            b'\\' => add("\\\\".into(), 1),
            b' '..=b'~' => add(char::from(byte).into(), 1),
            _ => add(format!("\\x{byte:02x}"), 1),
        });
        let words = ["the", " the", "an", " a", "12", "ä", "\\xe6\\xbc", "\\r\\n"];
        words.iter().for_each(|word| add((*word).into(), 1));
        writer.text("tokenizer.ggml.model", "rwkv");
    } else {
        add("<unk>".into(), 2);
        add("<s>".into(), 3);
        add("</s>".into(), 3);
        if vocab == Vocab::Spm {
            (0..=255).for_each(|byte: u8| add(format!("<0x{byte:02X}>"), 6));
        } else {
            (0..260).for_each(|i| add(format!("word{i}"), 1));
        }
        let words = [
            "▁", "t", "h", "e", "a", "n", "th", "the", "▁the", "▁a", "an", "▁an", "ä", "12", "1", "2", "▁▁",
        ];
        words.iter().for_each(|word| add((*word).into(), 1));
        writer.text("tokenizer.ggml.model", "llama");
        let scores: Vec<u8> = (0..tokens.len()).flat_map(|i| (-(i as f32)).to_le_bytes()).collect();
        writer.array("tokenizer.ggml.scores", 6, tokens.len(), &scores);
        writer.integer("tokenizer.ggml.bos_token_id", 1);
        writer.integer("tokenizer.ggml.eos_token_id", 2);
        writer.integer("tokenizer.ggml.unknown_token_id", 0);
        writer.entry("tokenizer.ggml.add_space_prefix", 7, &[1]);
    }
    let kinds: Vec<u8> = kinds.iter().flat_map(|kind| kind.to_le_bytes()).collect();
    writer.array("tokenizer.ggml.token_type", 5, tokens.len(), &kinds);
    writer.texts("tokenizer.ggml.tokens", &tokens);
    tokens.len() as u64
}

/// Dimensions of a model.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub width: u64,
    pub hidden: u64,
    pub layers: u32,
    pub heads: u64,
    pub kv_heads: u64,
    pub context: u32,
    /// Scale of the last norm: the smaller, the more equal are all tokens.
    pub confidence: f32,
}

/// A llama-architecture model with two layers.
pub fn model(vocab: Vocab, weights: Weights) -> Vec<u8> {
    let width = if weights == Weights::Q4K { 256 } else { 64 };
    let size = Size {
        width,
        hidden: width,
        layers: 2,
        heads: 2,
        kv_heads: 1,
        context: 64,
        confidence: 1.0,
    };
    model_of(size, vocab, weights)
}

/// A llama-architecture model of any size.
pub fn model_of(size: Size, vocab: Vocab, weights: Weights) -> Vec<u8> {
    let Size { width, hidden, .. } = size;
    let head = width / size.heads;
    let mut writer = Writer::default();
    let random = &mut Random(42);
    writer.text("general.architecture", "llama");
    for (key, value) in [
        ("context_length", size.context),
        ("embedding_length", width as u32),
        ("block_count", size.layers),
        ("feed_forward_length", hidden as u32),
        ("attention.head_count", size.heads as u32),
        ("attention.head_count_kv", size.kv_heads as u32),
        ("rope.dimension_count", head as u32),
    ] {
        writer.integer(&format!("llama.{key}"), value);
    }
    writer.entry("llama.attention.layer_norm_rms_epsilon", 6, &1e-5_f32.to_le_bytes());
    let tokens = tokenizer(&mut writer, vocab);
    matrix(&mut writer, "token_embd.weight", width, tokens, weights, random);
    let constant = |value: f32| -> Vec<u8> { (0..width).flat_map(|_| value.to_le_bytes()).collect() };
    let ones = constant(1.0);
    writer.tensor("output_norm.weight", &[width], 0, &constant(size.confidence));
    for layer in 0..size.layers {
        for (name, columns, rows) in [
            ("attn_q", width, width),
            ("attn_k", width, head * size.kv_heads),
            ("attn_v", width, head * size.kv_heads),
            ("attn_output", width, width),
            ("ffn_gate", width, hidden),
            ("ffn_up", width, hidden),
            ("ffn_down", hidden, width),
        ] {
            let name = format!("blk.{layer}.{name}.weight");
            matrix(&mut writer, &name, columns, rows, weights, random);
        }
        writer.tensor(&format!("blk.{layer}.attn_norm.weight"), &[width], 0, &ones);
        writer.tensor(&format!("blk.{layer}.ffn_norm.weight"), &[width], 0, &ones);
    }
    writer.finish()
}
