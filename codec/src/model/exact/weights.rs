//! From a GGUF's tensors to the engine's matrices.

use super::error::{Error, Result};
use super::file::File;
use super::matrix::{BLOCK, Matrix};
use super::shape::{HEAD, Shape};

/// A layer. The gains of the two norms are folded into the columns of the matrices that follow them.
#[derive(Debug)]
pub struct Layer {
    /// Query heads, key heads, value heads. Rows of query and key heads are reordered: evens, then odds.
    pub qkv: Matrix,
    /// Attention's output.
    pub out: Matrix,
    /// Gate and up rows, in turns of 16.
    pub gate_up: Matrix,
    /// The feed-forward part's output.
    pub down: Matrix,
}

/// A model's weights.
#[derive(Debug)]
pub struct Weights {
    /// `vocabulary` rows of `width`, as in the file.
    pub embedding: Vec<f32>,
    /// The layers in order.
    pub layers: Vec<Layer>,
    /// The output head, the final norm's gain folded in; its rows are tokens in the order of `order`.
    pub head: Matrix,
    /// The token of each row of the head: the expressible ones by rank, then the others.
    pub order: Vec<u32>,
    /// How many tokens are expressible.
    pub ranks: usize,
    /// Multiply-adds of a token in matrix products.
    pub work: u64,
    /// Weights in the file.
    pub parameters: u64,
}

/// The order in which a rotary head's rows are kept, so that the partners of a pair are 32 apart.
fn rotary_order(row: usize) -> usize {
    let (head, i) = (row / HEAD, row % HEAD);
    head * HEAD + if i < HEAD / 2 { 2 * i } else { 2 * (i - HEAD / 2) + 1 }
}

struct Loader<'a> {
    file: File<'a>,
    used: Vec<String>,
    parameters: u64,
}

impl Loader<'_> {
    fn take(&mut self, name: String, rows: usize, columns: usize) -> Result<Vec<f32>> {
        let values = self.file.tensor(&name, rows, columns)?;
        self.parameters += values.len() as u64;
        self.used.push(name);
        Ok(values)
    }

    /// A matrix whose columns are multiplied by `gain`.
    fn folded(&mut self, name: String, rows: usize, gain: &[f32]) -> Result<Vec<f32>> {
        let mut values = self.take(name, rows, gain.len())?;
        fold(&mut values, gain);
        Ok(values)
    }

    fn layer(&mut self, i: usize, s: &Shape) -> Result<Layer> {
        let name = |part: &str| format!("blk.{i}.{part}.weight");
        let norm = self.take(name("attn_norm"), 1, s.width)?;
        let q = self.folded(name("attn_q"), s.heads * HEAD, &norm)?;
        let k = self.folded(name("attn_k"), s.kv_heads * HEAD, &norm)?;
        let v = self.folded(name("attn_v"), s.kv_heads * HEAD, &norm)?;
        let qkv = (0..s.heads * HEAD)
            .map(|r| line(&q, rotary_order(r), s.width))
            .chain((0..s.kv_heads * HEAD).map(|r| line(&k, rotary_order(r), s.width)))
            .chain(v.chunks_exact(s.width));
        let qkv = Matrix::quantize(qkv, s.width);
        let out = self.take(name("attn_output"), s.width, s.heads * HEAD)?;
        let out = Matrix::quantize(out.chunks_exact(s.heads * HEAD), s.heads * HEAD);
        let norm = self.take(name("ffn_norm"), 1, s.width)?;
        let gate = self.folded(name("ffn_gate"), s.hidden, &norm)?;
        let up = self.folded(name("ffn_up"), s.hidden, &norm)?;
        let turns = gate.chunks_exact(BLOCK * s.width).zip(up.chunks_exact(BLOCK * s.width));
        let gate_up = turns.flat_map(|(g, u)| g.chunks_exact(s.width).chain(u.chunks_exact(s.width)));
        let gate_up = Matrix::quantize(gate_up, s.width);
        let down = self.take(name("ffn_down"), s.width, s.hidden)?;
        let down = Matrix::quantize(down.chunks_exact(s.hidden), s.hidden);
        Ok(Layer {
            qkv,
            out,
            gate_up,
            down,
        })
    }
}

/// `ranked`, and behind them what they lack of the tokens below `count`.
fn with_the_rest(ranked: &[u32], count: usize) -> Vec<u32> {
    let mut others = vec![true; count];
    for &token in ranked {
        others[token as usize] = false;
    }
    let others = (0..).zip(others).filter_map(|(token, other)| other.then_some(token));
    ranked.iter().copied().chain(others).collect()
}

fn line(m: &[f32], row: usize, width: usize) -> &[f32] {
    &m[row * width..][..width]
}

fn fold(values: &mut [f32], gain: &[f32]) {
    for row in values.chunks_exact_mut(gain.len()) {
        for (w, g) in row.iter_mut().zip(gain) {
            *w *= g;
        }
    }
}

impl Weights {
    /// Reads and quantizes all tensors.
    ///
    /// # Errors
    /// [`Error::Tensor`] for absent or misshapen tensors, [`Error::Unsupported`] for tensors this engine has no use
    /// for.
    pub fn load(file: File<'_>, s: &Shape, ranked: &[u32]) -> Result<Self> {
        let mut loader = Loader {
            file,
            used: Vec::new(),
            parameters: 0,
        };
        let embedding = loader.take("token_embd.weight".into(), s.vocabulary, s.width)?;
        let mut layers = (0..s.layers).map(|i| loader.layer(i, s)).collect::<Result<Vec<_>>>()?;
        let norm = loader.take("output_norm.weight".into(), 1, s.width)?;
        let head = if file.has_tensor("output.weight") {
            loader.folded("output.weight".into(), s.vocabulary, &norm)?
        } else {
            let mut head = embedding.clone();
            fold(&mut head, &norm);
            head
        };
        let order = with_the_rest(ranked, s.vocabulary);
        let mut head = Matrix::quantize(order.iter().map(|&t| line(&head, t as usize, s.width)), s.width);
        if head.scales.iter().any(|&scale| scale > 1e6) {
            return Err(Error::Unsupported("its output head has weights beyond 10^8".into()));
        }
        let mut unused = file.tensor_names().filter(|n| !loader.used.iter().any(|u| u == n));
        if let Some(name) = unused.next() {
            return Err(Error::Unsupported(format!(
                "it has a tensor `{name}` that is not of its kind"
            )));
        }
        let all = layers
            .iter_mut()
            .flat_map(|l| [&mut l.qkv, &mut l.out, &mut l.gate_up, &mut l.down]);
        Matrix::gather(&mut all.chain([&mut head]).collect::<Vec<_>>());
        let parts = |l: &Layer| [&l.qkv, &l.out, &l.gate_up, &l.down].map(Matrix::work);
        let work = layers.iter().flat_map(parts).sum::<u64>() + head.work();
        Ok(Self {
            embedding,
            layers,
            head,
            order,
            ranks: ranked.len(),
            work,
            parameters: loader.parameters,
        })
    }
}
