//! A decoding state: the contexts of some lanes, and the step that feeds them tokens.

use std::cell::OnceCell;
use std::sync::Arc;

use super::error::{Error, Result};
use super::kernel::{Context, ContextMut, GROUP, HEADS, Kernel, Room, Row, Scratch, Span, Then};
use super::math::Rotation;
use super::matrix::{Line, Matrix};
use super::pages::zeros;
use super::profile::{Profile, Stage};
use super::shape::{HEAD, Shape};
use super::weights::Weights;

/// Rows of a batch that a state makes room for, if there are not more lanes: with more, what they make leaves the
/// second level's cache.
const BATCH: usize = 16;
/// Scales of normed rows are held below this (NaN becomes 0), so that logits are finite whatever the weights are.
const SCALE_LIMIT: f32 = 1e20;

/// One token of a step.
#[derive(Clone, Copy, Debug)]
struct Place {
    token: usize,
    lane: usize,
    position: u64,
}

/// Int8 rings of keys and values by layer, lane and key/value head, in this order.
#[derive(Debug)]
struct Memory {
    slots: usize,
    keys: Vec<Line>,
    values: Vec<Line>,
    key_scales: Vec<f32>,
    value_scales: Vec<f32>,
}

impl Memory {
    fn new(rings: usize, slots: usize) -> Self {
        Self {
            slots,
            keys: zeros(rings * slots, Line([0; 64])),
            values: zeros(rings * slots, Line([0; 64])),
            key_scales: zeros(rings * slots, 0.0),
            value_scales: zeros(rings * slots, 0.0),
        }
    }

    fn ring(&self, i: usize) -> Context<'_> {
        let range = i * self.slots..(i + 1) * self.slots;
        Context {
            keys: &self.keys[range.clone()],
            values: &self.values[range.clone()],
            key_scales: &self.key_scales[range.clone()],
            value_scales: &self.value_scales[range],
        }
    }

    fn ring_mut(&mut self, i: usize) -> ContextMut<'_> {
        let range = i * self.slots..(i + 1) * self.slots;
        ContextMut {
            keys: &mut self.keys[range.clone()],
            values: &mut self.values[range.clone()],
            key_scales: &mut self.key_scales[range.clone()],
            value_scales: &mut self.value_scales[range],
        }
    }
}

/// Buffers of a step, sized once.
#[derive(Debug)]
struct Buffers {
    residual: Vec<f32>,
    ints: Vec<u8>,
    rows: Vec<Row>,
    wide: Vec<f32>,
    attended: Vec<f32>,
    between: Vec<f32>,
    rotations: Vec<Rotation>,
    logits: Vec<f32>,
    scratch: Scratch,
    room: Room,
}

/// Lanes of an exact model.
#[derive(Debug)]
pub struct ExactLanes {
    shape: Arc<Shape>,
    weights: Arc<Weights>,
    kernel: &'static Kernel,
    frequencies: [u64; 32],
    max_run: usize,
    /// Tokens fed to each lane so far.
    positions: Vec<u64>,
    /// The rows of the last step: first row and number of rows of each lane.
    fed: Vec<(usize, usize)>,
    places: Vec<Place>,
    memory: Memory,
    buffers: Buffers,
    /// The logits of each row by token, made when somebody asks.
    by_token: Vec<OnceCell<Vec<f32>>>,
    profile: Option<Box<Profile>>,
}

impl ExactLanes {
    /// Opens `lanes` empty lanes, which can be fed up to `max_run` tokens a step; `None`: as many as are fast.
    ///
    /// # Errors
    /// `Error::Call` for no or too many lanes.
    pub fn new(
        shape: Arc<Shape>,
        weights: Arc<Weights>,
        kernel: &'static Kernel,
        lanes: usize,
        max_run: Option<usize>,
    ) -> Result<Self> {
        if lanes == 0 || lanes > 4096 {
            return Err(Error::Call(format!("{lanes} lanes; 1 to 4096 are possible")));
        }
        let s = &*shape;
        let max_run = max_run.unwrap_or((BATCH / lanes).max(1));
        // All tokens of a run are remembered before the first attends, so the ring has room for window and run.
        let slots = (s.window + max_run - 1).next_multiple_of(GROUP);
        let batch = lanes * max_run;
        let wide = s.qkv_rows().next_multiple_of(32).max(2 * s.hidden);
        let narrow = s.width.max(s.hidden).max(s.heads * HEAD);
        let rotation = Rotation {
            cos: [1.0; 32],
            sin: [0.0; 32],
        };
        let buffers = Buffers {
            residual: vec![0.0; batch * s.width],
            ints: vec![0; batch * narrow],
            rows: vec![Row::default(); batch],
            wide: vec![0.0; batch * wide],
            attended: vec![0.0; batch * s.heads * HEAD],
            between: vec![0.0; s.hidden],
            rotations: vec![rotation; batch],
            logits: vec![0.0; batch * weights.head.rows],
            scratch: Scratch::new(slots),
            room: Room::new(),
        };
        Ok(Self {
            frequencies: super::math::frequencies(s.rope_base),
            max_run,
            positions: vec![0; lanes],
            fed: vec![(0, 0); lanes],
            places: Vec::with_capacity(batch),
            memory: Memory::new(s.layers * lanes * s.kv_heads, slots),
            buffers,
            by_token: vec![OnceCell::new(); batch],
            profile: None,
            shape,
            weights,
            kernel,
        })
    }

    /// Number of lanes.
    pub fn lanes(&self) -> usize {
        self.positions.len()
    }

    /// The longest run of a step.
    pub fn max_run(&self) -> usize {
        self.max_run
    }

    /// Empties all lanes. What a ring holds beyond a lane's position is never read.
    pub fn reset(&mut self) {
        self.positions.fill(0);
        self.fed.fill((0, 0));
    }

    /// Feeds a run of tokens to each lane.
    ///
    /// # Errors
    /// `Error::Call` when the runs do not fit the lanes, are too long, or have tokens that do not exist. Nothing is
    /// fed then.
    pub fn step(&mut self, runs: &[&[u32]]) -> Result<()> {
        if runs.len() != self.lanes() {
            return Err(Error::Call(format!("{} runs for {} lanes", runs.len(), self.lanes())));
        }
        self.places.clear();
        for (lane, (run, &position)) in runs.iter().zip(&self.positions).enumerate() {
            if run.len() > self.max_run {
                return Err(Error::Call(format!(
                    "a run of {} tokens, at most {}",
                    run.len(),
                    self.max_run
                )));
            }
            for (position, &token) in (position..).zip(*run) {
                let token = token as usize;
                if token >= self.shape.vocabulary {
                    return Err(Error::Call(format!("token {token} of {}", self.shape.vocabulary)));
                }
                self.places.push(Place { token, lane, position });
            }
        }
        let mut first = 0;
        for ((run, position), fed) in runs.iter().zip(&mut self.positions).zip(&mut self.fed) {
            *fed = (first, run.len());
            *position += run.len() as u64;
            first += run.len();
        }
        for row in &mut self.by_token[..first] {
            row.take();
        }
        self.forward();
        Ok(())
    }

    /// The logits after token `i` of the last run of `lane`, in the order of `Weights::order`.
    pub fn rows(&self, lane: usize, i: usize) -> Option<&[f32]> {
        let row = self.row(lane, i)?;
        Some(&self.buffers.logits[row * self.weights.head.rows..][..self.shape.vocabulary])
    }

    /// The logits after token `i` of the last run of `lane`, by token; empty if there was none.
    pub fn logits(&self, lane: usize, i: usize) -> &[f32] {
        let (Some(row), Some(ordered)) = (self.row(lane, i), self.rows(lane, i)) else {
            return &[];
        };
        self.by_token[row].get_or_init(|| {
            let mut by_token = vec![0.0; ordered.len()];
            for (&token, &logit) in self.weights.order.iter().zip(ordered) {
                by_token[token as usize] = logit;
            }
            by_token
        })
    }

    /// The row of the last step that holds token `i` of the run of `lane`.
    fn row(&self, lane: usize, i: usize) -> Option<usize> {
        let &(first, count) = self.fed.get(lane)?;
        (i < count).then_some(first + i)
    }

    /// The weights.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Measures the time of stages from now on; it costs a little.
    pub fn start_profile(&mut self) {
        self.profile = Some(Box::default());
    }

    /// What was measured since [`start_profile`](Self::start_profile).
    pub fn profile(&self) -> Option<&Profile> {
        self.profile.as_deref()
    }

    fn mark(&mut self, stage: Stage) {
        if let Some(profile) = &mut self.profile {
            profile.mark(stage);
        }
    }

    fn forward(&mut self) {
        if let Some(profile) = &mut self.profile {
            profile.start(self.places.len());
        }
        let (weights, shape, kernel) = (Arc::clone(&self.weights), Arc::clone(&self.shape), self.kernel);
        let width = shape.width;
        let b = &mut self.buffers;
        for (i, place) in self.places.iter().enumerate() {
            let row = &weights.embedding[place.token * width..][..width];
            b.residual[i * width..][..width].copy_from_slice(row);
            (kernel.rotation)(&self.frequencies, place.position, &mut b.rotations[i]);
        }
        self.mark(Stage::Embed);
        for (i, layer) in weights.layers.iter().enumerate() {
            self.normed(&layer.qkv, false);
            self.remember(i, layer.qkv.rows);
            self.attend(i, layer.qkv.rows);
            self.added(&layer.out, false);
            self.normed(&layer.gate_up, false);
            self.added(&layer.down, true);
        }
        self.normed(&weights.head, true);
    }

    /// Norm, quantization and a product into the wide buffer or the logits.
    fn normed(&mut self, w: &Matrix, head: bool) {
        let (b, width) = (&mut self.buffers, self.shape.width);
        let count = self.places.len();
        let rows = b.residual.chunks_exact(width).zip(b.ints.chunks_exact_mut(width));
        for ((x, q), row) in rows.zip(&mut b.rows).take(count) {
            *row = (self.kernel.norm_quantize)(x, self.shape.epsilon, q);
            if !(0.0..SCALE_LIMIT).contains(&row.scale) {
                row.scale = if row.scale > 0.0 { SCALE_LIMIT } else { 0.0 };
            }
        }
        self.mark(Stage::Elementwise);
        let b = &mut self.buffers;
        let (out, stage) = if head {
            (&mut b.logits, Stage::Head)
        } else {
            (&mut b.wide, Stage::Product)
        };
        let (ints, rows) = (&b.ints[..count * width], &b.rows[..count]);
        (self.kernel.product)(ints, rows, w, out, w.rows, Then::Write, &mut b.room);
        self.mark(stage);
    }

    /// Quantization of what attention or the feed-forward part made, and a product added to the residual stream.
    fn added(&mut self, w: &Matrix, swiglu: bool) {
        let (b, columns) = (&mut self.buffers, w.columns);
        let count = self.places.len();
        for (i, row) in b.rows.iter_mut().enumerate().take(count) {
            let q = &mut b.ints[i * columns..][..columns];
            *row = if swiglu {
                let x = &b.wide[i * 2 * columns..][..2 * columns];
                (self.kernel.swiglu_quantize)(x, &mut b.between, q)
            } else {
                (self.kernel.quantize)(&b.attended[i * columns..][..columns], q)
            };
        }
        self.mark(Stage::Elementwise);
        let b = &mut self.buffers;
        let (ints, rows) = (&b.ints[..count * columns], &b.rows[..count]);
        (self.kernel.product)(ints, rows, w, &mut b.residual, self.shape.width, Then::Add, &mut b.room);
        self.mark(Stage::Product);
    }

    fn ring(&self, layer: usize, lane: usize, head: usize) -> usize {
        (layer * self.lanes() + lane) * self.shape.kv_heads + head
    }

    fn slot(&self, position: u64) -> usize {
        (position % self.memory.slots as u64) as usize
    }

    /// Keys and values of all tokens go into their lanes' rings.
    fn remember(&mut self, layer: usize, stride: usize) {
        for (i, place) in self.places.iter().enumerate() {
            let slot = self.slot(place.position);
            for head in 0..self.shape.kv_heads {
                let ring = self.ring(layer, place.lane, head);
                let b = &mut self.buffers;
                let row = &mut b.wide[i * stride..][self.shape.heads * HEAD..];
                let (keys, values) = row.split_at_mut(self.shape.kv_heads * HEAD);
                let keys = keys.as_chunks_mut::<HEAD>().0;
                let values = values.as_chunks::<HEAD>().0;
                let mut to = self.memory.ring_mut(ring);
                (self.kernel.remember)(&mut to, slot, &mut keys[head], &values[head], &b.rotations[i]);
            }
        }
        self.mark(Stage::Remember);
    }

    fn attend(&mut self, layer: usize, stride: usize) {
        let window = self.shape.window as u64;
        let group = self.shape.group() * HEAD;
        for (i, place) in self.places.iter().enumerate() {
            let count = (place.position + 1).min(window);
            let start = self.slot(place.position + 1 - count);
            let span = Span {
                start,
                count: count as usize,
            };
            for head in 0..self.shape.kv_heads {
                let context = self.memory.ring(self.ring(layer, place.lane, head));
                let b = &mut self.buffers;
                let q = &mut b.wide[i * stride + head * group..][..group];
                let out = &mut b.attended[(i * self.shape.kv_heads + head) * group..][..group];
                for (q, out) in q.chunks_mut(HEADS * HEAD).zip(out.chunks_mut(HEADS * HEAD)) {
                    (self.kernel.attend)(q, &b.rotations[i], &context, span, &mut b.scratch, out);
                }
            }
        }
        self.mark(Stage::Attend);
    }
}
