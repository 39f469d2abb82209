//! What `lmfs status` shows, of a mounted store or of one that nobody uses.

use std::collections::BTreeMap;

use lmfs_codec::Method;
use lmfs_indexer::{Store, Totals};
use serde::{Deserialize, Serialize};

use crate::cache::CacheStats;
use crate::fs::Stats;
use crate::packer;
use crate::store::{Opened, Prefer, Tag, dictionaries};

/// Everything known about a store. Keys are described in docs/OPERATIONS.md.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Store folder.
    pub store: String,
    /// The store's id.
    pub store_id: String,
    /// Store format.
    pub format: u32,
    /// Bytes in a block.
    pub block_size: u32,
    /// Version of the program that answers.
    pub version: String,
    /// Where it is mounted and by whom.
    pub mount: Option<MountStatus>,
    /// What new blocks are to be: `speed`, `balanced` or `size`.
    pub prefer: Prefer,
    /// The language model.
    pub model: Option<ModelStatus>,
    /// Bytes of all files.
    pub logical_bytes: u64,
    /// Bytes of the blocks that hold them.
    pub stored_bytes: u64,
    /// Bytes that all files' blocks would take beside that, if no two of them were stored as one.
    pub shared_bytes: u64,
    /// Stored blocks that are coded behind another one, and their bytes as stored.
    pub referring_blocks: u64,
    /// See `referring_blocks`.
    pub referring_bytes: u64,
    /// Of `stored_bytes`, those of blocks that no file has any more and that others are coded behind.
    pub kept_bytes: u64,
    /// `stored_bytes / logical_bytes`; none for an empty store.
    pub ratio: Option<f64>,
    /// Bytes of all segments.
    pub log_bytes: u64,
    /// Bytes of segments that `lmfs gc` can give back.
    pub dead_bytes: u64,
    /// Parity of new segments, in percent of their bytes.
    pub parity: u8,
    /// Bytes of all parity.
    pub parity_bytes: u64,
    /// Bytes of the index.
    pub index_bytes: u64,
    /// Files, folders, links.
    pub inodes: u64,
    /// Number of blocks by method.
    pub blocks: BTreeMap<String, u64>,
    /// Stored bytes by method.
    pub block_bytes: BTreeMap<String, u64>,
    /// The dictionaries that the store learned.
    pub dictionaries: Vec<dictionaries::Shown>,
    /// Bytes of files that wait to be packed.
    pub queue_bytes: u64,
    /// Their blocks.
    pub queue_blocks: u64,
    /// The packer, while mounted.
    pub packer: Option<PackerStatus>,
    /// The cache of decoded blocks; all zero when not mounted.
    pub cache: CacheStats,
    /// Written bytes that are not in the log yet.
    pub dirty_bytes: u64,
    /// Open files.
    pub open_files: u64,
    /// Blocks found unreadable since the mount.
    pub bad_blocks: u64,
    /// Flushes that failed since the mount; they are repeated.
    pub flush_errors: u64,
    /// The last flush failed: what was written stays in memory.
    pub failing: bool,
    /// Failures to make the log durable since the mount. After one nothing more is stored until the next mount.
    pub sync_errors: u64,
    /// Why nothing more is stored until the next mount; none as long as all is well.
    pub stopped: Option<String>,
    /// Operations since the mount that met an internal error.
    pub panics: u64,
    /// What needs attention.
    pub warnings: Vec<String>,
}

/// A mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountStatus {
    /// Where.
    pub mountpoint: String,
    /// Device of the mounted filesystem, such as `0:52`.
    pub device: String,
    /// Number of the mount, where the daemon sees it.
    pub id: u64,
    /// The daemon's process.
    pub pid: u32,
    /// Nothing can be written.
    pub read_only: bool,
    /// Seconds since it was mounted.
    pub uptime_seconds: u64,
}

/// A language model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelStatus {
    /// `builtin:NAME` or the name of its file.
    pub name: String,
    /// SHA-256 of its file.
    pub digest: String,
    /// What runs it.
    pub engine: String,
}

/// The packer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PackerStatus {
    /// What it does now: `off`, `waiting`, `packing`, `disk-full`, `failed`.
    pub state: String,
    /// Bytes the run under way, or the last one, found waiting.
    pub total_bytes: u64,
    /// Bytes it is done with.
    pub done_bytes: u64,
    /// Bytes these took as they were staged.
    pub before_bytes: u64,
    /// Bytes they take now.
    pub after_bytes: u64,
    /// Speed of that run.
    pub bytes_per_second: f64,
    /// Blocks packed since the mount.
    pub blocks_packed: u64,
    /// Blocks that could not be packed since the mount.
    pub blocks_failed: u64,
    /// Why the last run ended early.
    pub last_error: Option<String>,
}

impl PackerStatus {
    /// Whether it cannot go on by itself.
    fn needs_attention(&self) -> bool {
        matches!(self.state.as_str(), "disk-full" | "failed")
    }
}

impl Status {
    /// The status of an open store, without a mount.
    #[must_use]
    pub fn of(store: &Opened) -> Status {
        let config = store.config();
        let mut status = Status {
            store: store.path().display().to_string(),
            store_id: config.store_id.to_string(),
            format: config.format,
            block_size: config.block_size,
            parity: config.parity,
            prefer: store.prefer,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            model: config.model.as_ref().map(|model| ModelStatus {
                name: model.name.clone(),
                digest: model.digest.to_string(),
                engine: model.engine.to_string(),
            }),
            warnings: store
                .report
                .warnings
                .iter()
                .chain(&store.model_fault)
                .cloned()
                .collect(),
            ..Status::default()
        };
        status.count(&store.indexer.totals());
        status.add_dictionaries(&store.indexer);
        status
    }

    /// What is wrong now, or was found since the mount and will not mend itself, in words.
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(why) = &self.stopped {
            found.push(why.clone());
        } else if self.sync_errors > 0 {
            found
                .push("the disk did not take what was written: nothing more is stored until the next mount".to_owned());
        } else if self.failing {
            found.push("what was written cannot be stored, it stays in memory and is tried again".to_owned());
        }
        if self.bad_blocks > 0 {
            found.push(format!(
                "{} blocks that cannot be read since the mount",
                self.bad_blocks
            ));
        }
        if self.panics > 0 {
            found.push(format!("{} internal errors since the mount", self.panics));
        }
        let packer = self.packer.as_ref().filter(|packer| packer.needs_attention());
        found.extend(packer.map(|packer| match &packer.last_error {
            Some(error) => format!("the packer: {error}"),
            None => format!("the packer: {}", packer.state),
        }));
        found
    }

    /// Whether a person is needed.
    #[must_use]
    pub fn needs_attention(&self) -> bool {
        !self.troubles().is_empty() || !self.warnings.is_empty()
    }

    /// Takes the sizes over.
    pub fn count(&mut self, totals: &Totals) {
        self.logical_bytes = totals.logical_bytes;
        self.stored_bytes = totals.stored_bytes;
        self.shared_bytes = totals.shared.bytes;
        (self.referring_blocks, self.referring_bytes) = (totals.referring.blocks, totals.referring.bytes);
        self.kept_bytes = totals.kept.bytes;
        self.log_bytes = totals.log_bytes;
        self.dead_bytes = totals.dead_bytes;
        self.parity_bytes = totals.parity_bytes;
        self.index_bytes = totals.index_bytes;
        self.inodes = totals.inodes;
        self.ratio = (totals.logical_bytes > 0).then(|| totals.stored_bytes as f64 / totals.logical_bytes as f64);
        let usual = [Method::Raw, Method::Zstd, Method::Mix, Method::Model];
        self.blocks = usual.iter().map(|method| (method.name().to_owned(), 0)).collect();
        self.block_bytes = self.blocks.clone();
        (self.queue_blocks, self.queue_bytes) = packer::queue(totals);
        for (&tag, sum) in &totals.by_tag {
            let method = Tag(tag).method();
            let method = method.map_or_else(|| format!("tag-{tag}"), |method| method.name().to_owned());
            *self.blocks.entry(method.clone()).or_default() += sum.blocks;
            *self.block_bytes.entry(method).or_default() += sum.bytes;
        }
    }

    /// Takes the dictionaries over.
    pub fn add_dictionaries(&mut self, store: &Store) {
        match dictionaries::shown(store) {
            Ok(shown) => self.dictionaries = shown.into_iter().map(|(_, shown)| shown).collect(),
            Err(error) => self.warnings.push(error.to_string()),
        }
    }

    /// Takes over what the mounted filesystem counts.
    pub fn add_stats(&mut self, stats: &Stats) {
        self.cache = stats.cache;
        self.dirty_bytes = stats.dirty_bytes;
        self.open_files = stats.open_files;
        self.bad_blocks = stats.bad_blocks;
        self.flush_errors = stats.flush_errors;
        self.failing = stats.failing;
        self.sync_errors = stats.sync_errors;
        self.panics = stats.panics;
    }

    /// Takes over what the packer tells.
    pub fn add_packer(&mut self, packer: packer::Status) {
        let run = packer.run.progress;
        let state = serde_json::to_value(packer.state).ok();
        self.packer = Some(PackerStatus {
            state: state
                .and_then(|state| state.as_str().map(str::to_owned))
                .unwrap_or_default(),
            total_bytes: run.total_bytes,
            done_bytes: run.done_bytes,
            before_bytes: run.before_bytes,
            after_bytes: run.after_bytes,
            bytes_per_second: run.bytes_per_second,
            blocks_packed: packer.blocks_packed,
            blocks_failed: packer.blocks_failed,
            last_error: packer.last_error,
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use lmfs_indexer::TagTotals;

    #[test]
    fn blocks_are_counted_by_method_and_first_copies_wait() {
        let sum = |blocks| TagTotals {
            blocks,
            bytes: blocks * 10,
            raw_bytes: blocks * 100,
        };
        let tags = [
            (Tag::written(Method::Raw), sum(1)),
            (Tag::packed(Method::Raw), sum(2)),
            (Tag::written(Method::Zstd), sum(4)),
            (Tag::packed(Method::Model), sum(8)),
        ];
        let totals = Totals {
            logical_bytes: 1500,
            stored_bytes: 150,
            by_tag: tags.into_iter().map(|(tag, sum)| (tag.0, sum)).collect(),
            ..Totals::default()
        };
        let mut status = Status::default();
        status.count(&totals);
        assert_eq!(status.blocks.get("raw"), Some(&3));
        assert_eq!(status.blocks.get("zstd"), Some(&4));
        assert_eq!(status.blocks.get("model"), Some(&8));
        assert_eq!(status.blocks.get("mix"), Some(&0));
        assert_eq!((status.queue_bytes, status.queue_blocks), (500, 5));
        assert_eq!(status.ratio, Some(0.1));
        let json = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
    }

    #[test]
    fn a_person_is_needed_for_what_does_not_mend_itself() {
        let healthy = Status {
            // Stored meanwhile.
            flush_errors: 3,
            packer: Some(PackerStatus {
                state: "waiting".into(),
                ..PackerStatus::default()
            }),
            ..Status::default()
        };
        assert!(!healthy.needs_attention(), "{:?}", healthy.troubles());
        let with = |change: fn(&mut Status)| {
            let mut status = healthy.clone();
            change(&mut status);
            status.needs_attention()
        };
        assert!(with(|s| s.failing = true));
        assert!(with(|s| s.sync_errors = 1));
        assert!(with(|s| s.stopped = Some("its folder was deleted".into())));
        assert!(with(|s| s.bad_blocks = 1));
        assert!(with(|s| s.panics = 1));
        assert!(with(|s| s.warnings.push("the model is missing".into())));
        assert!(with(|s| s.packer.iter_mut().for_each(|p| p.state = "failed".into())));
    }

    #[test]
    fn an_empty_store_has_no_ratio() {
        let mut status = Status::default();
        status.count(&Totals::default());
        assert_eq!(status.ratio, None);
    }
}
