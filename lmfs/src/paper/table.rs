//! The table for people, in the form of the paper's.

use std::fmt;

use serde::Serialize;

use super::data::{CHUNK, DataSet, Summary};
use super::rates::Rate;
use super::tokenization::{Tokenization, cells};
use crate::eval::table::of_numbers;

/// All rates, with what they are of. Its serde form is what `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// The columns.
    pub sets: Vec<Summary>,
    /// Every number.
    pub rates: Vec<Rate>,
    /// The same models with smaller vocabularies.
    pub tokenization: Vec<Tokenization>,
}

impl Table {
    /// The table of what [`measure`](super::measure) gave.
    #[must_use]
    pub fn new(sets: &[DataSet], rates: Vec<Rate>) -> Table {
        Table {
            sets: sets.iter().map(DataSet::summary).collect(),
            rates,
            tokenization: Vec::new(),
        }
    }

    /// Compressors, in the order in which they were measured.
    #[must_use]
    pub fn compressors(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for rate in &self.rates {
            if !names.contains(&rate.key.compressor.as_str()) {
                names.push(&rate.key.compressor);
            }
        }
        names
    }

    /// One number.
    #[must_use]
    pub fn rate(&self, set: &str, compressor: &str, chunk: Option<u64>) -> Option<&Rate> {
        self.rates
            .iter()
            .find(|rate| rate.key.set == set && rate.key.compressor == compressor && rate.key.chunk == chunk)
    }

    /// Every number as comma-separated values.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut csv =
            "data,sha256,compressor,chunk,raw_bytes,bytes,model_bytes,raw_rate,adjusted_rate,seconds\n".to_owned();
        for rate in &self.rates {
            let key = &rate.key;
            let chunk = key
                .chunk
                .map_or_else(|| "unchunked".to_owned(), |chunk| chunk.to_string());
            let name = key.compressor.replace('"', "\"\"");
            csv.push_str(&format!(
                "{},{},\"{name}\",{chunk},{},{},{},{:.6},{:.6},{:.3}\n",
                key.set,
                key.digest,
                rate.raw_bytes,
                rate.bytes,
                key.model_bytes,
                rate.raw(),
                rate.adjusted(),
                rate.seconds
            ));
        }
        csv
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for set in &self.sets {
            writeln!(f, "{set}")?;
        }
        for (chunk, title) in [(None, "unchunked"), (Some(CHUNK as u64), "in chunks of 2,048 bytes")] {
            let sets: Vec<&Summary> = self.sets.iter().filter(|set| self.has(set.name(), chunk)).collect();
            if sets.is_empty() {
                continue;
            }
            for adjusted in [false, true] {
                let what = if adjusted {
                    "adjusted rate in percent, models counted"
                } else {
                    "raw rate in percent"
                };
                writeln!(f, "\n{what}, {title}")?;
                let mut head = vec![String::new()];
                head.extend(sets.iter().map(|set| set.name().to_owned()));
                let mut table = of_numbers(head);
                let measured = |compressor: &&str| {
                    sets.iter()
                        .any(|set| self.rate(set.name(), compressor, chunk).is_some())
                };
                for compressor in self.compressors().into_iter().filter(measured) {
                    let mut cells = vec![compressor.to_owned()];
                    cells.extend(sets.iter().map(|set| {
                        let rate = self.rate(set.name(), compressor, chunk);
                        rate.map_or_else(
                            || "-".to_owned(),
                            |rate| format!("{:.1}", 100.0 * if adjusted { rate.adjusted() } else { rate.raw() }),
                        )
                    }));
                    table.add_row(cells);
                }
                writeln!(f, "{}", table.trim_fmt())?;
            }
        }
        if !self.tokenization.is_empty() {
            let (head, rows) = cells(&self.tokenization);
            let mut table = of_numbers(head);
            table.add_rows(rows);
            writeln!(
                f,
                "\nraw rate in percent, in chunks of 2,048 bytes, with smaller vocabularies\n{}",
                table.trim_fmt()
            )?;
        }
        Ok(())
    }
}

impl Table {
    /// Whether anything was measured of a data set in this way.
    pub(super) fn has(&self, set: &str, chunk: Option<u64>) -> bool {
        self.rates
            .iter()
            .any(|rate| rate.key.set == set && rate.key.chunk == chunk)
    }
}
