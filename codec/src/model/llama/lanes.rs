//! A llama.cpp context with one sequence per lane.

use std::num::NonZeroU32;
use std::sync::Arc;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::{KvCacheType, LlamaContextParams};
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;

use super::weights::{Weights, backend, native};
use crate::model::{Engine, Lanes, Token};
use crate::{Error, Result};

/// llama.cpp's constant for "no flash attention".
const FLASH_ATTENTION_OFF: i32 = 0;

/// What happens when a lane is longer than the context.
#[derive(Clone, Copy)]
enum Overflow {
    /// The oldest position is forgotten; positions go on counting, which rotary embeddings only see as distances.
    Slide,
    /// The lane starts again at position 0: models with learned positions have no others.
    Restart,
    /// Recurrent models have a state of fixed size.
    Never,
}

pub(super) struct LlamaLanes {
    // Dropped in this order: the context borrows the model that `weights` owns.
    context: LlamaContext<'static>,
    batch: LlamaBatch<'static>,
    /// Next position of each lane.
    positions: Vec<u32>,
    /// Index in the last batch of each lane's token.
    rows: Vec<Option<i32>>,
    window: u32,
    overflow: Overflow,
    _weights: Arc<Weights>,
}

fn failed(reason: impl std::fmt::Display) -> Error {
    Error::Engine {
        engine: Engine::Llama,
        reason: reason.to_string(),
    }
}

impl LlamaLanes {
    pub(super) fn open(weights: &Arc<Weights>, lanes: usize, window: usize, threads: i32) -> Result<LlamaLanes> {
        let too_many = || Error::InvalidOption(format!("{lanes} lanes: llama.cpp runs 1 to 255"));
        let count = u32::try_from(lanes)
            .ok()
            .filter(|n| (1..=255).contains(n))
            .ok_or_else(too_many)?;
        let window = u32::try_from(window).map_err(failed)?;
        // llama.cpp rounds a sequence's cells up to 256; asking for that keeps the window the only limit.
        let cells = window.next_multiple_of(256).checked_mul(count);
        let params = LlamaContextParams::default()
            .with_n_ctx(cells.and_then(NonZeroU32::new))
            .with_n_seq_max(count)
            .with_n_batch(count)
            .with_n_ubatch(count)
            .with_n_threads(threads)
            .with_n_threads_batch(threads)
            .with_kv_unified(false)
            .with_swa_full(false)
            .with_flash_attention_policy(FLASH_ATTENTION_OFF)
            .with_type_k(KvCacheType::F16)
            .with_type_v(KvCacheType::F16)
            .with_offload_kqv(false)
            .with_no_perf(true);
        let guard = weights.opening.lock();
        let context = borrow_forever(weights).new_context(backend(), params).map_err(failed)?;
        drop(guard);
        let overflow = match &weights.model {
            model if model.is_recurrent() => Overflow::Never,
            model if model.is_hybrid() || model.rope_type().is_none() => Overflow::Restart,
            _ => Overflow::Slide,
        };
        Ok(LlamaLanes {
            context,
            batch: LlamaBatch::new(lanes, 1),
            positions: vec![0; lanes],
            rows: vec![None; lanes],
            window,
            overflow,
            _weights: Arc::clone(weights),
        })
    }

    /// Frees a cell for the next token of `lane`, whose position it returns.
    fn advance(&mut self, lane: usize) -> Result<u32> {
        let Some(position) = self.positions.get_mut(lane) else {
            return Err(failed(format!("there is no lane {lane}")));
        };
        if *position >= self.window {
            let id = u32::try_from(lane).map_err(failed)?;
            let removed = match self.overflow {
                Overflow::Never => Ok(true),
                Overflow::Slide => {
                    let oldest = *position - self.window;
                    self.context.clear_kv_cache_seq(Some(id), None, Some(oldest + 1))
                }
                Overflow::Restart => {
                    *position = 0;
                    self.context.clear_kv_cache_seq(Some(id), None, None)
                }
            };
            if !removed.map_err(failed)? {
                return Err(failed("it cannot forget the oldest position of a sequence"));
            }
        }
        let now = *position;
        *position += 1;
        Ok(now)
    }
}

#[allow(unsafe_code, reason = "a context and the model it borrows live in one struct")]
fn borrow_forever(weights: &Arc<Weights>) -> &'static LlamaModel {
    let model: *const LlamaModel = &weights.model;
    // SAFETY: the only user of this reference is a LlamaContext in a LlamaLanes, which also holds an Arc of the same
    // Weights in a field that is dropped after the context; the Arc's content does not move.
    unsafe { &*model }
}

impl Lanes for LlamaLanes {
    fn lanes(&self) -> usize {
        self.positions.len()
    }

    fn reset(&mut self) -> Result<()> {
        // This also zeroes the cache's data: stale values are only ever multiplied by 0, but NaN times 0 is NaN.
        self.context.clear_kv_cache();
        self.positions.fill(0);
        self.rows.fill(None);
        Ok(())
    }

    fn step(&mut self, runs: &[&[Token]]) -> Result<()> {
        if runs.len() != self.lanes() {
            return Err(failed(format!("{} runs for {} lanes", runs.len(), self.lanes())));
        }
        self.batch.clear();
        self.rows.fill(None);
        for (lane, run) in runs.iter().enumerate() {
            let token = match run {
                [] => continue,
                [token] => native(*token),
                _ => return Err(failed("it takes one token per lane and step")),
            };
            let position = i32::try_from(self.advance(lane)?).map_err(failed)?;
            let sequence = i32::try_from(lane).map_err(failed)?;
            if let Some(row) = self.rows.get_mut(lane) {
                *row = Some(self.batch.n_tokens());
            }
            self.batch.add(token, position, &[sequence], true).map_err(failed)?;
        }
        if self.batch.n_tokens() > 0 {
            self.context.decode(&mut self.batch).map_err(failed)?;
        }
        Ok(())
    }

    fn logits(&self, lane: usize, i: usize) -> &[f32] {
        match self.rows.get(lane) {
            Some(Some(row)) if i == 0 => self.context.get_logits_ith(*row),
            _ => &[],
        }
    }
}
