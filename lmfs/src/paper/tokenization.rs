//! Tokenization (section 3.6 of the paper): the same model and data with smaller vocabularies.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use lmfs_codec::Stop;
use lmfs_codec::model::LanguageModel;
use serde::Serialize;

use super::cut::CutModel;
use super::data::{CHUNK, DataSet};
use super::methods::Contender;
use super::rates::{Key, Rate, measure};
use crate::eval::Error;

/// Vocabularies that are tried, where the model's own is larger: single bytes first.
const SIZES: [usize; 5] = [256, 1024, 4096, 16_384, 65_536];

/// Data that is text.
const TEXTS: [&str; 3] = ["text", "code", "records"];

/// A model on a data set with one vocabulary, alone and in chunks.
#[derive(Clone, Debug, Serialize)]
pub struct Tokenization {
    /// The model.
    pub model: String,
    /// Tokens that it can use.
    pub vocabulary: usize,
    /// Tokens of all chunks.
    pub tokens: u64,
    /// What it makes of the data, in bytes that were decoded and compared.
    pub rate: Rate,
}

impl Tokenization {
    /// Tokens of a byte.
    #[must_use]
    pub fn tokens_per_byte(&self) -> f64 {
        self.tokens as f64 / self.rate.raw_bytes.max(1) as f64
    }

    /// Microseconds of processor time for a byte, encoded and decoded.
    #[must_use]
    pub fn microseconds_per_byte(&self) -> f64 {
        1e6 * self.rate.seconds / self.rate.raw_bytes.max(1) as f64
    }
}

/// A model under a name, and the bytes of its file.
pub type Named<'a> = (&'a str, &'a Arc<dyn LanguageModel>, u64);

/// One vocabulary of a model.
struct Vocabulary {
    model: String,
    cut: Arc<dyn LanguageModel>,
    contender: Contender,
}

impl Vocabulary {
    fn all((name, model, bytes): Named<'_>) -> lmfs_codec::Result<Vec<Vocabulary>> {
        let mut all = Vec::new();
        for size in SIZES {
            if let Some(cut) = CutModel::new(model, size)? {
                all.push(Vocabulary::new(name, Arc::new(cut), bytes, Some(size))?);
            }
        }
        all.push(Vocabulary::new(name, Arc::clone(model), bytes, None)?);
        Ok(all)
    }

    fn new(name: &str, cut: Arc<dyn LanguageModel>, bytes: u64, size: Option<usize>) -> lmfs_codec::Result<Vocabulary> {
        let mut contender = Contender::model(name, &cut, bytes, true)?;
        // Smaller pieces take as many more steps, and the paper has no unchunked ones here.
        contender.unchunked = None;
        if let Some(size) = size {
            contender.name = format!("{}, {size} tokens", contender.name);
            contender.cost.0 *= 2;
        }
        Ok(Vocabulary {
            model: name.to_owned(),
            cut,
            contender,
        })
    }
}

/// Measures every model with every vocabulary, except for what `known` has. See [`measure`] for the other arguments.
///
/// # Errors
/// As [`measure`]; a model whose tokens cannot be cut.
pub fn tokenization(
    sets: &[DataSet],
    models: &[Named<'_>],
    known: &HashMap<Key, Rate>,
    found: &(dyn Fn(&Rate) -> Result<(), Error> + Sync),
    progress: &(dyn Fn(f64, Option<Duration>) + Sync),
    stop: &Stop,
) -> Result<Vec<Tokenization>, Error> {
    let sets: Vec<DataSet> = sets.iter().filter(|set| TEXTS.contains(&set.name)).cloned().collect();
    let failed = |error: lmfs_codec::Error| Error::Compressor {
        compressor: "tokenization".into(),
        path: "the vocabulary".into(),
        reason: error.to_string(),
    };
    let mut vocabularies = Vec::new();
    for model in models {
        vocabularies.extend(Vocabulary::all(*model).map_err(failed)?);
    }
    let (details, contenders): (Vec<_>, Vec<_>) = vocabularies
        .into_iter()
        .map(|vocabulary| ((vocabulary.model, vocabulary.cut), vocabulary.contender))
        .unzip();
    let rates = measure(&sets, &contenders, known, found, progress, stop)?;
    let mut rows = Vec::new();
    // Set by set, and in each the contenders in their order.
    for (set, rates) in sets.iter().zip(rates.chunks(contenders.len().max(1))) {
        for ((model, cut), rate) in details.iter().zip(rates) {
            let mut tokens = 0;
            for chunk in set.pieces.iter().flat_map(|piece| piece.raw.chunks(CHUNK)) {
                stop.check().map_err(|_| Error::Interrupted)?;
                tokens += cut.tokenize(chunk).map_err(failed)?.len() as u64;
            }
            rows.push(Tokenization {
                model: model.clone(),
                vocabulary: cut.vocabulary().sorted().len(),
                tokens,
                rate: rate.clone(),
            });
        }
    }
    Ok(rows)
}

/// Every number as comma-separated values.
pub(super) fn csv(rows: &[Tokenization]) -> String {
    let mut csv = "model,vocabulary,data,sha256,raw_bytes,bytes,tokens,seconds\n".to_owned();
    for row in rows {
        let rate = &row.rate;
        csv.push_str(&format!(
            "\"{}\",{},{},{},{},{},{},{:.3}\n",
            row.model.replace('"', "\"\""),
            row.vocabulary,
            rate.key.set,
            rate.key.digest,
            rate.raw_bytes,
            rate.bytes,
            row.tokens,
            rate.seconds
        ));
    }
    csv
}

/// Head and rows of a table: for each data set the rate in percent, tokens of a byte, and microseconds.
pub(super) fn cells(rows: &[Tokenization]) -> (Vec<String>, Vec<Vec<String>>) {
    let mut sets: Vec<&str> = Vec::new();
    let mut lines: Vec<(&str, usize)> = Vec::new();
    for row in rows {
        if !sets.contains(&row.rate.key.set.as_str()) {
            sets.push(&row.rate.key.set);
        }
        if !lines.contains(&(&row.model, row.vocabulary)) {
            lines.push((&row.model, row.vocabulary));
        }
    }
    let mut head = vec!["model alone".to_owned(), "tokens".to_owned()];
    head.extend(sets.iter().flat_map(|set| {
        [
            format!("{set}: rate"),
            "tokens a byte".to_owned(),
            "µs a byte".to_owned(),
        ]
    }));
    let lines = lines.into_iter().map(|(model, vocabulary)| {
        let mut cells = vec![model.to_owned(), vocabulary.to_string()];
        for set in &sets {
            let row = rows
                .iter()
                .find(|row| row.model == model && row.vocabulary == vocabulary && row.rate.key.set == *set);
            cells.extend(row.map_or_else(
                || ["-", "-", "-"].map(str::to_owned),
                |row| {
                    [
                        format!("{:.1}", 100.0 * row.rate.raw()),
                        format!("{:.3}", row.tokens_per_byte()),
                        format!("{:.0}", row.microseconds_per_byte()),
                    ]
                },
            ));
        }
        cells
    });
    (head, lines.collect())
}
