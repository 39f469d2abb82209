//! Extents and, if asked, what they decode to: all blocks of the store in order, on all cores.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lmfs_indexer::Extent;
use rayon::prelude::*;

use super::fault::Fault;
use super::sums::Sums;
use super::{Damage, Error, Job, Position, Report};
use crate::progress::Progress;
use crate::store::contents::Contents;

/// Blocks looked at together, for each core: so many that the cores end at about the same time.
const PER_CORE: usize = 64;
/// Bytes of decoded blocks held at a time, about.
const HELD: usize = 64 << 20;
/// Work lost by an interruption, at most, when the rate is limited.
const LOST: Duration = Duration::from_secs(2);
/// How often it is noted how far it came.
const NOTE: Duration = Duration::from_secs(10);
/// A block that moves more often than this while it is looked at is another one by now.
const TRIES: usize = 16;

/// Goes over all blocks but those in `known`, whose damage was named already. `path` finds a name for what is damaged.
pub fn check(
    job: &Job<'_>,
    known: &dyn Fn(u64, u64) -> bool,
    mut sums: Option<Sums<'_, '_>>,
    path: &mut dyn FnMut(u64) -> Result<String, Error>,
    report: &mut Report,
) -> Result<(), Error> {
    report.data = job.data;
    let progress = Decoded::new(job);
    let contents = &Contents::new(Arc::clone(job.store), job.codec.clone());
    let mut at = Position::start(job.store, sums.is_some());
    if job.resume
        && job.data
        && let Some(earlier) = Position::load(job.folder, &at)
    {
        at = earlier;
        report.resumed = true;
        (report.blocks, report.decoded_bytes) = (at.blocks, at.decoded_bytes);
        progress.add(at.decoded_bytes);
        // What was damaged then may be gone, replaced or repaired.
        let damaged = std::mem::take(&mut at.damaged).into_iter();
        for (ino, block) in damaged.filter(|place| *place <= at.after) {
            if let Some(extent) = job.store.extent(ino, block)?
                && let BlockCheck::Damaged(fault) = look(job, contents, ino, block, extent)?
            {
                at.damaged.push((ino, block));
                report.damage.push(damage(job, ino, block, extent, &fault, path)?);
            }
        }
        if let Some(sums) = &mut sums {
            sums.skip_to(at.after.0);
        }
    }
    let outcome = all(job, contents, known, &progress, sums, path, report, &mut at);
    if job.data {
        let kept = match &outcome {
            Ok(()) => Position::drop(job.folder),
            Err(_) => at.save(job.folder),
        };
        if let Err(error) = kept {
            tracing::warn!("{error}; it cannot be resumed");
        }
    }
    outcome
}

/// How many of the bytes of all files are done.
struct Decoded<'a> {
    job: &'a Job<'a>,
    done: AtomicU64,
    total: u64,
}

impl<'a> Decoded<'a> {
    fn new(job: &'a Job<'a>) -> Decoded<'a> {
        let totals = job.store.totals();
        let stored: u64 = totals.by_tag.values().map(|sum| sum.raw_bytes).sum();
        Decoded {
            job,
            done: AtomicU64::new(0),
            // Shared blocks are looked at for each file that has them.
            // Blocks that no file has are decoded only for those that are coded behind them.
            total: stored
                .saturating_sub(totals.kept.raw_bytes)
                .saturating_add(totals.shared.raw_bytes),
        }
    }

    fn add(&self, more: u64) {
        let done = self.done.fetch_add(more, Ordering::Relaxed) + more;
        (self.job.progress)(Progress::new("checking", done, self.total));
    }
}

#[allow(clippy::too_many_arguments, reason = "one caller")]
fn all(
    job: &Job<'_>,
    contents: &Contents,
    known: &dyn Fn(u64, u64) -> bool,
    progress: &Decoded<'_>,
    mut sums: Option<Sums<'_, '_>>,
    path: &mut dyn FnMut(u64) -> Result<String, Error>,
    report: &mut Report,
    at: &mut Position,
) -> Result<(), Error> {
    let cores = rayon::current_num_threads();
    let fit = |bytes| bytes / (job.block_size as usize).max(1);
    let batch = fit(HELD).clamp(2 * cores, PER_CORE * cores);
    // What is under way when it is interrupted is done again.
    let slow = job.pace.within(LOST).and_then(|bytes| usize::try_from(bytes).ok());
    let batch = slow.map_or(batch, |bytes| fit(bytes).clamp(cores, batch));
    let (mut after, mut noted) = (at.after, Instant::now());
    // The file whose blocks come by, and what was counted before it.
    let mut begun = (0, report.blocks, report.decoded_bytes);
    loop {
        let mut blocks = job.store.blocks(Some(after), batch)?;
        let Some(last) = blocks.last().map(|(ino, block, _)| (*ino, *block)) else {
            break;
        };
        after = last;
        blocks.retain(|(ino, block, _)| !known(*ino, *block));
        let results: Vec<_> = blocks
            .par_iter()
            .map(|&(ino, block, extent)| {
                let result = look(job, contents, ino, block, extent);
                progress.add(u64::from(extent.raw_len));
                result
            })
            .collect();
        if job.stop.is_set() {
            return Err(Error::Interrupted);
        }
        for ((ino, block, extent), result) in blocks.into_iter().zip(results) {
            if begun.0 != ino {
                begun = (ino, report.blocks, report.decoded_bytes);
            }
            report.blocks += 1;
            match result? {
                BlockCheck::Whole(bytes) => {
                    report.decoded_bytes += bytes.len() as u64;
                    if let Some(sums) = &mut sums {
                        sums.block(ino, block, &bytes)?;
                    }
                }
                BlockCheck::Damaged(fault) => {
                    at.damaged.push((ino, block));
                    report.damage.push(damage(job, ino, block, extent, &fault, path)?);
                    if let Some(sums) = &mut sums {
                        sums.damaged(ino)?;
                    }
                }
            }
        }
        (at.after, at.blocks, at.decoded_bytes) = (after, report.blocks, report.decoded_bytes);
        // A file whose sum is not printed yet is begun, and counted, again.
        if let Some(sums) = &sums {
            at.after = (sums.done(), u64::MAX);
            if sums.done() < begun.0 {
                (at.blocks, at.decoded_bytes) = (begun.1, begun.2);
            }
        }
        if job.data && noted.elapsed() >= NOTE {
            if let Err(error) = at.save(job.folder) {
                tracing::debug!("{error}");
            }
            noted = Instant::now();
        }
    }
    sums.map_or(Ok(()), Sums::finish)
}

fn damage(
    job: &Job<'_>,
    ino: u64,
    block: u64,
    extent: Extent,
    fault: &Fault,
    path: &mut dyn FnMut(u64) -> Result<String, Error>,
) -> Result<Damage, Error> {
    Ok(Damage {
        path: path(ino)?,
        ino,
        offset: Some(block.saturating_mul(job.block_size.into())),
        length: Some(u64::from(extent.raw_len)),
        reason: fault.to_string(),
    })
}

/// What is found where a block should be.
enum BlockCheck {
    /// Its bytes, or none if nothing is to be decoded or the block is gone.
    Whole(Vec<u8>),
    /// What is wrong with it.
    Damaged(Fault),
}

/// Looks at a block, again if it changed meanwhile.
fn look(job: &Job<'_>, contents: &Contents, ino: u64, block: u64, mut extent: Extent) -> Result<BlockCheck, Error> {
    for _ in 0..TRIES {
        let fault = match look_once(job, contents, ino, block, extent)? {
            BlockCheck::Damaged(fault) => fault,
            whole @ BlockCheck::Whole(_) => return Ok(whole),
        };
        match job.store.extent(ino, block)? {
            None => return Ok(BlockCheck::Whole(Vec::new())),
            Some(now) if now == extent => return Ok(BlockCheck::Damaged(fault)),
            Some(now) => extent = now,
        }
    }
    look_once(job, contents, ino, block, extent)
}

fn look_once(job: &Job<'_>, contents: &Contents, ino: u64, block: u64, extent: Extent) -> Result<BlockCheck, Error> {
    if let Some(fault) = misplaced(job, ino, block, extent)? {
        return Ok(BlockCheck::Damaged(fault));
    }
    Ok(decode(job, contents, ino, block, extent).map_or_else(BlockCheck::Damaged, BlockCheck::Whole))
}

/// What is wrong with where a block stands.
fn misplaced(job: &Job<'_>, ino: u64, block: u64, extent: Extent) -> Result<Option<Fault>, Error> {
    let block_size = u64::from(job.block_size);
    if u64::from(extent.raw_len) > block_size {
        let len = extent.raw_len;
        return Ok(Some(Fault::TooLong { len, block_size }));
    }
    let Some(inode) = job.store.inode(ino)? else {
        return Ok(Some(Fault::NoInode));
    };
    let beyond = block.checked_mul(block_size).is_none_or(|start| start >= inode.size);
    Ok(beyond.then_some(Fault::BeyondEnd { size: inode.size }))
}

fn decode(job: &Job<'_>, contents: &Contents, ino: u64, block: u64, extent: Extent) -> Result<Vec<u8>, Fault> {
    if !job.data {
        return Ok(Vec::new());
    }
    job.pace.take(extent.location.len.into(), job.stop);
    let bytes = job.store.read_block_of(ino, block, &extent)?;
    let decoded = contents.decode(&extent, &bytes, job.computing, job.stop);
    let mut raw = decoded.inspect_err(|e| {
        if e.casts_doubt() {
            job.store.distrust(extent.id);
        }
    })?;
    let (found, expected) = (raw.len(), extent.raw_len as usize);
    if found < expected {
        job.store.distrust(extent.id);
        return Err(Fault::TooShort { found, expected });
    }
    // After a truncate, fewer bytes count than the block has.
    raw.truncate(expected);
    Ok(raw)
}
