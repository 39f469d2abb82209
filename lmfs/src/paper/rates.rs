//! Measuring: every row on every column.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lmfs_codec::Stop;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::data::{CHUNK, DataSet};
use super::methods::Contender;
use crate::eval::{Compressor, Error, Form};
use crate::proc_status::processor_time;

/// What was measured, by which one run finds what another measured.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The data set.
    pub set: String,
    /// Its SHA-256.
    pub digest: String,
    /// The compressor.
    pub compressor: String,
    /// SHA-256 of its language model; empty without one.
    pub model: String,
    /// Bytes of what was learned beforehand.
    pub model_bytes: u64,
    /// Bytes of a chunk; `None` for unchunked.
    pub chunk: Option<u64>,
}

/// One number of the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rate {
    /// What was measured.
    #[serde(flatten)]
    pub key: Key,
    /// Bytes before.
    pub raw_bytes: u64,
    /// Bytes after, all headers counted.
    pub bytes: u64,
    /// Seconds of processor time, with decoding; not those of other programs.
    pub seconds: f64,
}

impl Rate {
    /// Bytes after by bytes before.
    #[must_use]
    pub fn raw(&self) -> f64 {
        self.bytes as f64 / self.raw_bytes.max(1) as f64
    }

    /// The same with the model counted.
    #[must_use]
    pub fn adjusted(&self) -> f64 {
        (self.bytes + self.key.model_bytes) as f64 / self.raw_bytes.max(1) as f64
    }
}

/// One row on one column.
struct Cell<'a> {
    key: Key,
    set: &'a DataSet,
    compressor: &'a dyn Compressor,
    cost: u64,
}

impl Cell<'_> {
    fn weight(&self) -> u64 {
        self.cost * self.set.bytes()
    }

    /// What is compressed on its own.
    fn pieces(&self) -> Vec<(&[u8], Form)> {
        let all = self.set.pieces.iter();
        match self.key.chunk {
            None => all.map(|piece| (piece.raw.as_slice(), piece.form)).collect(),
            Some(_) => all
                .flat_map(|piece| piece.raw.chunks(CHUNK).map(|raw| (raw, piece.form)))
                .collect(),
        }
    }

    fn measure(&self, step: &(dyn Fn(u64) + Sync), stop: &Stop) -> Result<Rate, Error> {
        let sizes: Result<Vec<(u64, Duration)>, Error> = self
            .pieces()
            .par_iter()
            .map(|(raw, form)| {
                let begun = processor_time();
                let compressed = self.compressor.compress_as(raw, *form, stop).map_err(|error| {
                    if stop.is_set() {
                        return Error::Interrupted;
                    }
                    Error::Compressor {
                        compressor: self.compressor.name().to_owned(),
                        path: self.set.name.into(),
                        reason: error.to_string(),
                    }
                })?;
                step(raw.len() as u64 * self.cost);
                Ok((compressed.bytes as u64, processor_time().saturating_sub(begun)))
            })
            .collect();
        let sizes = sizes?;
        Ok(Rate {
            key: self.key.clone(),
            raw_bytes: self.set.bytes(),
            bytes: sizes.iter().map(|(bytes, _)| bytes).sum(),
            seconds: sizes.iter().map(|(_, took)| took.as_secs_f64()).sum(),
        })
    }
}

/// Measures every contender on every data set, except for what `known` has. `found` hears of every new number at once,
/// `progress` of the share that is done and the time that is left.
///
/// # Errors
/// [`Error::Interrupted`] soon after `stop` is set; a compressor that fails or whose bytes do not come back.
pub fn measure(
    sets: &[DataSet],
    contenders: &[Contender],
    known: &HashMap<Key, Rate>,
    found: &(dyn Fn(&Rate) -> Result<(), Error> + Sync),
    progress: &(dyn Fn(f64, Option<Duration>) + Sync),
    stop: &Stop,
) -> Result<Vec<Rate>, Error> {
    let cells = cells(sets, contenders);
    let total: u64 = cells
        .iter()
        .filter(|cell| !known.contains_key(&cell.key))
        .map(Cell::weight)
        .sum();
    let (done, begun) = (AtomicU64::new(0), Instant::now());
    let step = |more| {
        let done = done.fetch_add(more, Ordering::Relaxed) + more;
        let share = done as f64 / total.max(1) as f64;
        let took = begun.elapsed();
        // The first moments say little.
        let left = (took.as_secs() >= 2).then(|| took.mul_f64(((1.0 - share) / share.max(1e-9)).clamp(0.0, 1e6)));
        progress(share, left);
    };
    cells
        .par_iter()
        .map(|cell| {
            if let Some(rate) = known.get(&cell.key) {
                return Ok(rate.clone());
            }
            if stop.is_set() {
                return Err(Error::Interrupted);
            }
            let rate = cell.measure(&step, stop)?;
            found(&rate)?;
            Ok(rate)
        })
        .collect()
}

fn cells<'a>(sets: &'a [DataSet], contenders: &'a [Contender]) -> Vec<Cell<'a>> {
    let mut cells = Vec::new();
    for set in sets {
        for contender in contenders {
            let chunked = contender.chunked.as_deref().filter(|_| set.chunked);
            let ways = [(None, contender.unchunked.as_deref()), (Some(CHUNK as u64), chunked)];
            for (chunk, compressor) in ways {
                let Some(compressor) = compressor else { continue };
                cells.push(Cell {
                    key: Key {
                        set: set.name.to_owned(),
                        digest: set.digest.clone(),
                        compressor: contender.name.clone(),
                        model: contender.model.clone(),
                        model_bytes: compressor.model_bytes(),
                        chunk,
                    },
                    set,
                    compressor,
                    cost: contender.cost.0,
                });
            }
        }
    }
    cells
}
