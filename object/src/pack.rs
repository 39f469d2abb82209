//! Packing: objects are compressed harder than a PUT does it, and swapped if they still are what was read.
//!
//! Any number of machines may pack a bucket. Each object is replaced by one PUT on the condition that it has not
//! changed. What comes too late, or twice, costs time only.

mod judge;
mod one;
mod pushed;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::stream::StreamExt;
use lmfs_codec::model::{EngineChoice, LanguageModel, LoadOptions, ModelSource, load};
use lmfs_codec::{Codec, Level, Stop};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, Result};
use tokio::sync::Semaphore;

use crate::error::generic;
pub use crate::probe::probe;
use crate::store::LmfsStore;
pub use judge::{Judge, Packed};
use pushed::Pushed;

/// What is packed, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PackOptions {
    /// How hard to compress.
    pub level: Level,
    /// Bytes of a block; `None` for the level's. A read decodes whole blocks.
    pub block_size: Option<usize>,
    /// Only objects below this path.
    pub prefix: Option<Path>,
    /// Only objects that were not modified for so long.
    pub older_than: Duration,
    /// This part of how many: objects are dealt out by their names.
    pub shard: (u32, u32),
    /// Only objects that are containers already. Those who read others may not know containers.
    pub containers_only: bool,
    /// The most bytes of an object as it is stored, and of all that are packed at the same time. They are held in
    /// memory, and S3 takes 5 GB at once.
    pub largest: u64,
    /// Nobody else writes: stores without conditional PUTs will do.
    pub exclusive: bool,
    /// Say what would be packed, and change nothing.
    pub dry_run: bool,
}

impl PackOptions {
    /// Options for a level: all objects.
    pub fn new(level: Level) -> PackOptions {
        PackOptions {
            level,
            block_size: None,
            prefix: None,
            older_than: Duration::ZERO,
            shard: (0, 1),
            containers_only: false,
            largest: 4 << 30,
            exclusive: false,
            dry_run: false,
        }
    }
}

/// What came of an object.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// It takes less now, or would.
    Packed {
        /// Bytes that were stored.
        before: u64,
        /// Bytes that are; with `dry_run` the same as before.
        after: u64,
    },
    /// It was packed before.
    Already,
    /// It would not be smaller.
    Kept,
    /// It is not a container, and only those were to be packed.
    NoContainer,
    /// It is too large to be packed.
    TooLarge,
    /// It belongs to a store that `lmfs push` keeps there, which would be destroyed.
    OfStore,
    /// It was replaced or deleted meanwhile.
    Changed,
    /// It cannot be read or written.
    Failed(object_store::Error),
}

/// What came of all objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Objects that were looked at.
    pub objects: u64,
    /// Objects that take less now, or would.
    pub packed: u64,
    /// Objects that were packed before.
    pub already: u64,
    /// Objects that stay as they are: not smaller, too large, no containers, of a store.
    pub kept: u64,
    /// Objects that were replaced or deleted meanwhile.
    pub changed: u64,
    /// Objects that could not be read or written.
    pub failed: u64,
    /// Stored bytes of the packed objects before.
    pub before: u64,
    /// Stored bytes of the packed objects now.
    pub after: u64,
}

impl Summary {
    fn count(&mut self, outcome: &Outcome) {
        self.objects += 1;
        match outcome {
            Outcome::Packed { before, after } => {
                self.packed += 1;
                self.before += before;
                self.after += after;
            }
            Outcome::Already => self.already += 1,
            Outcome::Kept | Outcome::NoContainer | Outcome::TooLarge | Outcome::OfStore => self.kept += 1,
            Outcome::Changed => self.changed += 1,
            Outcome::Failed(_) => self.failed += 1,
        }
    }
}

/// Packs the objects of a store.
pub struct Packer {
    store: LmfsStore,
    codec: Codec,
    judge: Judge,
    block_size: usize,
    options: PackOptions,
    pushed: Pushed,
    /// One permit for each [`WEIGHT`] of the objects that are packed at the same time.
    room: Semaphore,
}

/// Bytes of a permit.
const WEIGHT: u64 = 1 << 20;

impl Packer {
    /// With the level's built-in model, if it has one.
    ///
    /// # Errors
    /// Options out of range.
    pub fn new(store: LmfsStore, options: PackOptions) -> Result<Packer> {
        let name = options.level.model;
        let model = name.map(|name| load(&ModelSource::Builtin(name), EngineChoice::Auto, &LoadOptions::default()));
        Packer::with_model(store, model.transpose().map_err(generic)?, options)
    }

    /// With this model or none. The store has to [know](crate::Codecs::add) one that is not built in.
    ///
    /// # Errors
    /// Options out of range.
    pub fn with_model(store: LmfsStore, model: Option<Arc<dyn LanguageModel>>, options: PackOptions) -> Result<Packer> {
        let (part, parts) = options.shard;
        if part >= parts {
            return Err(generic(format!(
                "there is no part {part} of {parts}: they count from 0"
            )));
        }
        let block_size = options.block_size.unwrap_or(options.level.block_size);
        if !(lmfs_codec::MIN_BLOCK..=lmfs_codec::MAX_BLOCK).contains(&block_size) {
            return Err(generic(format!("blocks of {block_size} bytes are not possible")));
        }
        let mut of_level = options.level.options();
        of_level.model = model.is_some();
        let codec = store.shared().options.codecs.codec(model, of_level).map_err(generic)?;
        // The largest object fits, alone.
        let room = usize::try_from(options.largest.div_ceil(WEIGHT)).unwrap_or(usize::MAX);
        Ok(Packer {
            room: Semaphore::new(room.clamp(1, u32::MAX as usize).min(Semaphore::MAX_PERMITS)),
            store,
            judge: Judge::new(codec.clone(), options.level.number, block_size),
            codec,
            block_size,
            options,
            pushed: Pushed::default(),
        })
    }

    /// Packs all objects. `each` is told what came of each of them, and ends the work early by breaking. So does
    /// `stop`.
    ///
    /// # Errors
    /// Objects that cannot be listed. What is wrong with single objects is told, and the others are packed.
    pub async fn run(
        &self,
        stop: &Stop,
        mut each: impl FnMut(&Path, &Outcome) -> ControlFlow<()> + Send,
    ) -> Result<Summary> {
        let shared = self.store.shared();
        let listed = shared.inner.list(self.options.prefix.as_ref());
        let now = SystemTime::now();
        let mine = listed.filter(|meta| {
            let mine = meta.as_ref().map_or(true, |meta| self.is_mine(meta, now));
            futures_util::future::ready(mine)
        });
        let attempts = mine.map(|meta| self.of(meta, stop).boxed());
        let mut outcomes = attempts.buffer_unordered(shared.options.threads);
        let mut summary = Summary::default();
        while let Some(outcome) = outcomes.next().await {
            let (location, outcome) = outcome?;
            if stop.is_set() && matches!(outcome, Outcome::Failed(_)) {
                break;
            }
            summary.count(&outcome);
            if each(&location, &outcome).is_break() || stop.is_set() {
                break;
            }
        }
        Ok(summary)
    }

    fn is_mine(&self, meta: &ObjectMeta, now: SystemTime) -> bool {
        let (part, parts) = self.options.shard;
        let age = now.duration_since(meta.last_modified.into());
        let old = age.map_or(self.options.older_than.is_zero(), |age| age >= self.options.older_than);
        old && crc32fast::hash(meta.location.as_ref().as_bytes()) % parts == part
    }

    async fn of(&self, meta: Result<ObjectMeta>, stop: &Stop) -> Result<(Path, Outcome)> {
        let meta = meta?;
        let location = meta.location.clone();
        let outcome = self.pack(&meta, stop).await;
        Ok((location, outcome.unwrap_or_else(Outcome::Failed)))
    }
}
