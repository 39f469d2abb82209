//! The result: bytes by kind and compressor.

use std::collections::BTreeMap;
use std::time::Duration;

use lmfs_codec::Method;
use serde::Serialize;

use super::{Compressed, Compressor, Input};

/// What one compressor made of one kind.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Size {
    /// Bytes after compression, headers counted.
    pub bytes: u64,
    /// Bytes after / bytes before; 0 where nothing was compressed yet.
    pub ratio: f64,
    /// Seconds of processor time that it took (for lmfs with the verification).
    pub seconds: f64,
    /// Blocks by the method that was the smallest; empty for compressors that have only one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub methods: BTreeMap<&'static str, u64>,
}

impl Size {
    fn add(&mut self, other: &Size) {
        self.bytes += other.bytes;
        self.seconds += other.seconds;
        for (method, blocks) in &other.methods {
            *self.methods.entry(method).or_default() += blocks;
        }
    }
}

/// One kind of data.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// The folder's or file's name; `total` for the sum.
    pub kind: String,
    /// Files of this kind.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What each compressor made of them block by block.
    pub blocks: BTreeMap<String, Size>,
    /// What each compressor that can made of them file by file.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub whole: BTreeMap<String, Size>,
}

impl Row {
    fn add(&mut self, other: &Row) {
        for (mine, theirs) in [(&mut self.blocks, &other.blocks), (&mut self.whole, &other.whole)] {
            for (name, size) in theirs {
                mine.entry(name.clone()).or_default().add(size);
            }
        }
    }

    fn finish(&mut self) {
        for size in self.blocks.values_mut().chain(self.whole.values_mut()) {
            size.ratio = size.bytes as f64 / self.bytes.max(1) as f64;
        }
    }
}

/// A whole evaluation. Its `Display` is a table of ratios, its serde form what `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Bytes a block.
    pub block_size: usize,
    /// The compressors, in the order in which they were given.
    pub compressors: Vec<String>,
    /// The kinds, in the order of the files.
    pub kinds: Vec<Row>,
    /// All of them together.
    pub total: Row,
}

impl Report {
    pub(super) fn new(block_size: usize, files: &[Input], compressors: &[&dyn Compressor], whole: bool) -> Report {
        let row = |kind: &str| {
            let sizes = |keep: &dyn Fn(&dyn Compressor) -> bool| {
                compressors
                    .iter()
                    .filter(|compressor| keep(**compressor))
                    .map(|compressor| (compressor.name().to_owned(), Size::default()))
                    .collect()
            };
            Row {
                kind: kind.to_owned(),
                blocks: sizes(&|_| true),
                whole: sizes(&|compressor| whole && compressor.takes_whole_files()),
                ..Row::default()
            }
        };
        let mut kinds: Vec<Row> = Vec::new();
        let mut total = row("total");
        for file in files {
            let index = kinds.iter().position(|kind| kind.kind == file.kind);
            if index.is_none() {
                kinds.push(row(&file.kind));
            }
            let index = index.unwrap_or(kinds.len() - 1);
            for row in kinds.get_mut(index).into_iter().chain([&mut total]) {
                row.files += 1;
                row.bytes += file.bytes;
            }
        }
        let compressors = compressors
            .iter()
            .map(|compressor| compressor.name().to_owned())
            .collect();
        Report {
            block_size,
            compressors,
            kinds,
            total,
        }
    }

    /// Counts one compressed block or whole file.
    pub(super) fn count(
        &mut self,
        file: &Input,
        compressor: &str,
        whole: bool,
        compressed: &Compressed,
        took: Duration,
    ) {
        let size = Size {
            bytes: compressed.bytes as u64,
            ratio: 0.0,
            seconds: took.as_secs_f64(),
            methods: compressed
                .method
                .map(Method::name)
                .into_iter()
                .map(|name| (name, 1))
                .collect(),
        };
        let kind = self.kinds.iter_mut().find(|kind| kind.kind == file.kind);
        for row in kind.into_iter().chain([&mut self.total]) {
            let sizes = if whole { &mut row.whole } else { &mut row.blocks };
            sizes.entry(compressor.to_owned()).or_default().add(&size);
        }
    }

    /// The sum of two parts of one evaluation.
    pub(super) fn merge(mut self, other: Report) -> Report {
        for (mine, theirs) in self.kinds.iter_mut().zip(&other.kinds) {
            mine.add(theirs);
        }
        self.total.add(&other.total);
        self.kinds.iter_mut().for_each(Row::finish);
        self.total.finish();
        self
    }
}
