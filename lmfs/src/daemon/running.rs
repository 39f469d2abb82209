//! A mounted store at work: what requests from the control socket can ask of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use lmfs_codec::{Codec, Stop};
use lmfs_indexer::GcReport;
use serde_json::Value;

use super::guard;
use super::status::{MountStatus, Status};
use crate::byte_size;
use crate::check::{self, Pace};
use crate::fs::Filesystem;
use crate::maintenance::{Effort, collect_garbage};
use crate::mountinfo::{self, MountInfo};
use crate::packer::encode::Helpers;
use crate::packer::{self, Packer, Scope};
use crate::progress::Progress;
use crate::store::Folder;
use crate::task::low_priority_pool;
use crate::workers::{StoreSupplies, Workers};

/// Why a mount has no packer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NoPacker {
    /// The store's model cannot be used.
    #[error("nothing can be packed: {0}")]
    Model(String),
    /// Nothing in the store may change.
    #[error("nothing can be packed: the store is mounted read-only")]
    ReadOnly,
}

/// A mounted store.
pub struct Running {
    /// The filesystem.
    pub fs: Arc<Filesystem>,
    /// The packer, or why there is none.
    pub packer: Result<Arc<Packer>, NoPacker>,
    /// What decodes its blocks.
    pub codec: Codec,
    /// The store's folder.
    pub folder: Folder,
    /// The part of the status that never changes.
    pub base: Status,
    /// Its mount.
    pub mount: MountInfo,
    /// Since when.
    pub since: Instant,
}

impl Running {
    /// What it is and does.
    pub fn status(&self) -> Status {
        let mut status = self.base.clone();
        status.store = self.folder.place().display().to_string();
        status.stopped = self.fs.store().check_place().err().map(|why| why.to_string());
        status.count(&self.fs.store().totals());
        status.add_dictionaries(self.fs.store());
        status.add_stats(&self.fs.stats());
        status.panics = status.panics.max(guard::panics());
        if let Ok(packer) = &self.packer {
            status.add_packer(packer.status());
        }
        status.mount = Some(MountStatus {
            mountpoint: place(&self.mount).display().to_string(),
            device: self.mount.device.clone(),
            id: self.mount.id,
            pid: std::process::id(),
            read_only: self.fs.options().read_only,
            uptime_seconds: self.since.elapsed().as_secs(),
        });
        status
    }

    /// Packs what waits in `inodes` and below, or in all of the store if there are none. Listens for
    /// `workers` meanwhile.
    ///
    /// # Errors
    /// Why not, for the client's user.
    pub fn pack(
        &self,
        inodes: Vec<u64>,
        jobs: u16,
        again: bool,
        workers: Option<&Workers>,
        progress: &(dyn Fn(Progress) + Sync),
        stop: &Stop,
    ) -> anyhow::Result<Value> {
        let packer = self.packer.as_ref().map_err(Clone::clone)?;
        // What is still in memory is to be packed, too.
        self.fs.sync().context("cannot store what was written")?;
        let scope = if inodes.is_empty() {
            Scope::All
        } else {
            Scope::Inodes(inodes)
        };
        let tell = |step: &packer::Progress| progress(packing(step));
        let workers = workers.map(|workers| {
            let supplies = StoreSupplies::new(self.folder.clone(), self.fs.store().clone());
            workers.listen(&self.codec, Box::new(supplies))
        });
        let workers = workers.transpose()?;
        let helpers = workers.as_ref().map(|pool| pool as &dyn Helpers);
        let summary = packer.run(helpers, &scope, again, usize::from(jobs), &tell, stop)?;
        Ok(serde_json::to_value(summary)?)
    }

    /// Reads the log and decodes every block.
    ///
    /// # Errors
    /// Why not, for the client's user.
    pub fn check(
        &self,
        resume: bool,
        max_rate: u64,
        progress: &(dyn Fn(Progress) + Sync),
        stop: &Stop,
    ) -> anyhow::Result<Value> {
        self.fs.sync().context("cannot store what was written")?;
        let store = self.fs.store();
        let pace = Pace::new(Some(max_rate));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let computing = low_priority_pool("lmfs-check", cores)?;
        let job = check::Job {
            store,
            codec: &self.codec,
            computing: Some(&computing),
            folder: self.folder.dir(),
            block_size: self.folder.config().block_size,
            data: true,
            resume,
            pace: &pace,
            stop,
            progress,
        };
        // These threads touch the store, so they have normal priority, and compute nothing.
        let pool = rayon::ThreadPoolBuilder::new()
            .thread_name(|_| "lmfs-check".into())
            .build()?;
        let mut compared = |done, total| progress(Progress::new("comparing with parity", done, total));
        let parity = computing.install(|| check::parity::compare(&self.folder, false, &pace, &mut compared, stop));
        let parity = parity?;
        let mut report = pool.install(|| check::check_contents(&job))?;
        report.add_parity(parity);
        Ok(serde_json::to_value(report)?)
    }

    /// Collects all garbage.
    ///
    /// # Errors
    /// Why not, for the client's user.
    pub fn gc(&self, progress: &(dyn Fn(Progress) + Sync), stop: &Stop) -> anyhow::Result<Value> {
        // What is deleted or replaced only in memory so far is garbage, too.
        let stored = self.fs.sync();
        let tell = &mut |step: &GcReport| progress(collecting(step));
        let collected = collect_garbage(self.fs.store(), Effort::All, stop, tell);
        // A full disk may be why: then there is room now.
        let stored = stored.or_else(|_| self.fs.sync());
        match (collected, stored) {
            (Ok(done), Ok(())) => Ok(serde_json::to_value(done)?),
            (Ok(done), Err(error)) => Err(anyhow::Error::new(error).context(format!(
                "freed {} bytes, but still cannot store what was written",
                done.freed_bytes
            ))),
            (Err(error), Ok(())) => Err(error.into()),
            (Err(error), Err(unstored)) => {
                let both = format!("{error}; pending writes could not be stored either: {unstored}");
                Err(anyhow::Error::new(error).context(both))
            }
        }
    }
}

/// Where a mount is now: it may have been moved.
#[must_use]
pub fn place(mount: &MountInfo) -> PathBuf {
    let now = mountinfo::by_id(mount.id).ok().flatten();
    now.map_or_else(|| mount.mountpoint.clone(), |now| now.mountpoint)
}

/// What garbage collection tells, as everyone else tells it.
#[must_use]
pub fn collecting(step: &GcReport) -> Progress {
    Progress {
        stage: "collecting garbage".into(),
        done: step.moved_bytes,
        total: 0,
        note: format!("segment {} of {}", step.examined, step.candidates),
    }
}

/// What the packer tells, as everyone else tells it.
#[must_use]
pub fn packing(step: &packer::Progress) -> Progress {
    let mut note = match step.before_bytes {
        0 => String::new(),
        before => format!(
            "{:.1} % of their staged size",
            step.after_bytes as f64 * 100.0 / before as f64
        ),
    };
    if step.workers > 0 || step.worker_bytes > 0 {
        let others = if note.is_empty() { "" } else { ", " };
        let done = byte_size::show(step.worker_bytes);
        let workers = if step.workers == 1 { "worker" } else { "workers" };
        note += &format!("{others}{} {workers} did {done}", step.workers);
    }
    Progress {
        stage: "packing".into(),
        done: step.done_bytes,
        total: step.total_bytes,
        note,
    }
}
