//! One run: a queue, and threads that work it off.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::SystemTime;

use lmfs_codec::{Codec, Error as CodecError, Fronts, Growth, Header, Method, SolidHead, Stop};
use lmfs_indexer::{BlockRef, Error as StoreError, Extent, MAX_USERS, StoredBlock};
use parking_lot::Mutex;
use tracing::warn;

use super::Packer;
use super::batch::{Batch, New};
use super::encode::{self, Depth, EncodeJob, Helpers};
use super::error::Error;
use super::head::{self, Head};
use super::job::{Again, COURTESY, JobSpec};
use super::learn::{self, Lesson};
use super::queue::{Next, Queue, Scope, Selection, Waiting};
use super::references;
use super::similar::Sketch;
use super::solid::{self, Behind};
use super::status::{Outcome, Progress, Summary};
use crate::maintenance::{self, Effort};
use crate::store::Tag;
use crate::store::contents::Unreadable;
use crate::store::reserve::{self, Purpose};
use crate::task::low_priority_pool;

/// How often a block is looked up again that garbage collection moved before it was read.
const TRIES: usize = 16;

/// What a run came to.
pub(super) struct RunReport {
    pub summary: Summary,
    /// When the next file will have been left alone for long enough.
    pub next_idle: Option<SystemTime>,
}

impl Packer {
    /// Packs everything in `scope` that waits, however recently it was written, and collects the garbage that this
    /// makes; with `again` also what is packed already, where it becomes smaller or needs the language model no more.
    /// `jobs` as in [`Options::jobs`](super::Options::jobs); 0 for those. `helpers` encode blocks, too. `progress` is
    /// called a few times a second.
    ///
    /// A file system in front of the store has to write its buffers out before, if they are to be packed, too.
    ///
    /// # Errors
    /// See [`Error`]. A block that cannot be read or encoded is no error of the run: it stays as it is, is counted in
    /// [`Summary::blocks_failed`] and logged.
    pub fn run(
        &self,
        helpers: Option<&dyn Helpers>,
        scope: &Scope,
        again: bool,
        jobs: usize,
        progress: &(dyn Fn(&Progress) + Sync),
        stop: &Stop,
    ) -> Result<Summary, Error> {
        if self.store.is_read_only() {
            return Err(Error::ReadOnly);
        }
        let _turn = self.run_lock.for_user(stop).ok_or(Error::Interrupted)?;
        let spec = JobSpec {
            scope,
            idle: None,
            threads: self.options.threads(jobs),
            again: if again { Again::All } else { Again::Never },
            helpers,
        };
        Ok(run(self, &spec, progress, stop)?.summary)
    }
}

pub(super) fn run(
    packer: &Packer,
    spec: &JobSpec<'_>,
    progress: &(dyn Fn(&Progress) + Sync),
    stop: &Stop,
) -> Result<RunReport, Error> {
    // A user who asks again may have repaired something; the background does not insist.
    let skip = match spec.idle {
        Some(_) => packer.statistics.lock().failed.clone(),
        None => HashSet::new(),
    };
    let selection = Selection {
        scope: spec.scope,
        idle: spec.idle,
        skip: &skip,
        again: spec.again != Again::Never,
    };
    let mut queue = Queue::make(&packer.store, selection, &packer.future_times, stop)?;
    let next_idle = queue.next_idle;
    queue.helped = spec.helpers.is_some();
    packer.statistics.lock().begin(queue.bytes);
    let computing = low_priority_pool("lmfs-encode", spec.threads).map_err(Error::Threads)?;
    let recalled = match packer.recall(queue.bytes, spec, &computing, stop) {
        Err(error) if !matches!(error, Error::Interrupted) => {
            warn!(%error, "packed blocks cannot be looked at: fewer blocks are coded behind others");
            Ok(())
        }
        recalled => recalled,
    };
    let (lesson, learned) = match recalled.and_then(|()| learn::learn(packer, &queue, &computing, stop)) {
        Ok(lesson) => (lesson, Ok(())),
        // Packing makes room, and the next run may learn what this one could not.
        Err(error @ (Error::DiskFull(_) | Error::Learning(_))) => {
            warn!(%error, "no dictionaries are made");
            (Lesson::default(), Ok(()))
        }
        Err(error) => (Lesson::default(), Err(error)),
    };
    if spec.again == Again::Learned {
        queue.keep(&lesson.files);
    }
    packer.statistics.lock().learned(lesson.made, queue.bytes);
    // What is made ready for others must not wait for a thread that encodes.
    let encoding = spec.helpers.map(|_| low_priority_pool("lmfs-encode", spec.threads));
    let workers = Workers {
        packer,
        computing,
        encoding: encoding.transpose().map_err(Error::Threads)?,
        helpers: spec.helpers,
        skip,
        queue: Mutex::new(queue),
        batch: Mutex::default(),
        committing: Mutex::default(),
        taken: Mutex::default(),
        claimed: Mutex::default(),
        is_closed: AtomicBool::new(false),
        again: spec.again != Again::Never,
        stop: Stop::new(),
        polite: spec.idle.is_some(),
        coded: AtomicU64::new(0),
    };
    let result = learned.and_then(|()| workers.work(spec.threads, progress, stop));
    // What a full disk needs most is the space of what was staged and is packed already.
    let effort = match spec.idle {
        Some(_) => Effort::Background,
        None => Effort::Thorough,
    };
    let collected = collect_garbage(packer, effort, stop);
    let result = result.and(collected);
    let summary = packer.statistics.lock().end(&result);
    progress(&summary.progress);
    result.map(|()| RunReport { summary, next_idle })
}

fn collect_garbage(packer: &Packer, effort: Effort, stop: &Stop) -> Result<(), Error> {
    let done = maintenance::collect_garbage(&packer.store, effort, stop, &mut |_| ())?;
    packer.statistics.lock().freed(done.freed_bytes);
    Ok(())
}

/// A stored block coded anew, its new tag, and the number of the one that it refers to, or 0.
struct Encoded {
    tag: Tag,
    block: Vec<u8>,
    reference: u64,
}

/// What packing a stored block came to.
enum Attempt {
    New(New),
    Ended(Outcome),
    /// It was packed or merged for another place that shares it: nothing happened here.
    Elsewhere,
}

/// What a stored block is coded as.
enum Recoded {
    New(Encoded),
    /// Nothing, because the stored block with this number has the same bytes.
    Same(u64),
}

/// Tells the number of a thread when it ends, also by a panic.
struct End(usize, Sender<usize>);

impl Drop for End {
    fn drop(&mut self) {
        // Nobody listens any more once one has panicked.
        let _ = self.1.send(self.0);
    }
}

/// The threads of one run and what they share.
struct Workers<'a> {
    packer: &'a Packer,
    /// Decodes and encodes. The threads of the run touch the store and compute nothing.
    computing: rayon::ThreadPool,
    /// Encodes, if others do so, too.
    encoding: Option<rayon::ThreadPool>,
    helpers: Option<&'a dyn Helpers>,
    skip: HashSet<BlockRef>,
    queue: Mutex<Queue>,
    batch: Mutex<Batch>,
    /// Held while a batch is taken and committed.
    committing: Mutex<()>,
    /// Stored blocks that are being packed or wait in the batch, because files may share them. With `again`, all that
    /// this run had to do with: how a block is stored does not say then whether it is done.
    taken: Mutex<HashSet<u64>>,
    /// Stored blocks of the heads that are being packed: they are taken soon.
    claimed: Mutex<HashSet<u64>>,
    /// No more threads are started: nothing is queued any more, or one of them panicked.
    is_closed: AtomicBool,
    again: bool,
    /// Stops the threads of this run: the caller's stop, or the failure of one of them.
    stop: Stop,
    polite: bool,
    /// What the model has coded for blocks that are done ([`Stop::coded`]).
    coded: AtomicU64,
}

impl Workers<'_> {
    /// Works the queue off. Blocks that are done are committed however it ends.
    fn work(&self, threads: usize, progress: &(dyn Fn(&Progress) + Sync), stop: &Stop) -> Result<(), Error> {
        let worked = std::thread::scope(|scope| {
            let (tell, told) = channel();
            let start = |number| {
                let end = End(number, tell.clone());
                let thread = std::thread::Builder::new().name("lmfs-pack".to_owned());
                thread.spawn_scoped(scope, move || self.worker(&end, threads))
            };
            let mut running: Vec<Option<_>> = Vec::new();
            let mut ends = Vec::new();
            loop {
                if !self.is_closed.load(Ordering::Relaxed) && !self.stop.is_set() {
                    let wanted = self.wanted(threads);
                    running.resize_with(wanted.max(running.len()), || None);
                    let places = running.iter_mut().take(wanted).enumerate();
                    for (number, place) in places.filter(|(_, place)| place.is_none()) {
                        match start(number) {
                            Ok(thread) => *place = Some(thread),
                            // Those that there are do the work.
                            Err(error) if number > 0 => {
                                warn!(%error, "the system gives no more threads");
                                self.is_closed.store(true, Ordering::Relaxed);
                                break;
                            }
                            Err(error) => return Err(Error::Threads(error)),
                        }
                    }
                }
                if running.iter().all(Option::is_none) {
                    break;
                }
                if let Ok(number) = told.recv_timeout(Stop::TICK) {
                    let ended = running.get_mut(number).and_then(Option::take);
                    let ended = ended.map(std::thread::ScopedJoinHandle::join);
                    // What made it panic would do so again.
                    if matches!(ended, Some(Err(_))) {
                        self.is_closed.store(true, Ordering::Relaxed);
                    }
                    ends.extend(ended);
                    continue;
                }
                if stop.is_set() {
                    self.stop.set();
                    self.packer.environment.wake();
                }
                let mut statistics = self.packer.statistics.lock();
                statistics.under_way(self.under_way());
                statistics.helpers(self.helpers.map_or(0, Helpers::count));
                let step = statistics.progress();
                drop(statistics);
                progress(&step);
            }
            // The first failure is the cause: the others were stopped because of it.
            let ends = ends.into_iter();
            let mut ends: Vec<_> = ends
                .map(|end| end.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect();
            ends.sort_by_key(|end| match end {
                Err(Error::Interrupted) => 1,
                Err(_) => 0,
                Ok(()) => 2,
            });
            ends.into_iter().next().unwrap_or(Ok(()))
        });
        let rest = std::mem::take(&mut *self.batch.lock());
        let committed = self.commit(rest);
        worked.and(committed)
    }

    /// Threads that can be busy: `threads` of this process, and one for each block that others take. Whoever finds
    /// others busy encodes here, so a block is never lost with who had it.
    fn wanted(&self, threads: usize) -> usize {
        threads.max(1) + self.helpers.map_or(0, Helpers::places)
    }

    /// One thread: block after block, until there is none, or fewer threads are wanted.
    fn worker(&self, End(number, _): &End, threads: usize) -> Result<(), Error> {
        let end = self.blocks(&|| *number < self.wanted(threads));
        if end.is_err() {
            self.stop.set();
            self.packer.environment.wake();
        }
        end
    }

    fn blocks(&self, is_wanted: &dyn Fn() -> bool) -> Result<(), Error> {
        while is_wanted() {
            self.give_way();
            if self.stop.is_set() {
                return Err(Error::Interrupted);
            }
            let next = self.queue.lock().next(&self.packer.store, &self.skip)?;
            match next {
                Next::Block(waiting, head) => {
                    let mut behind = Behind {
                        head: head.as_deref(),
                        ..Behind::default()
                    };
                    self.block(waiting, &mut behind)?;
                    self.commit_in_order()?;
                }
                Next::Head(group, blocks) => {
                    let ids: Vec<u64> = blocks.iter().map(|waiting| waiting.extent.id).collect();
                    self.claimed.lock().extend(&ids);
                    let head = self.head(blocks)?;
                    self.claimed.lock().retain(|id| !ids.contains(id));
                    self.queue.lock().head_is_done(group, head);
                }
                // It takes less than what the other thread is doing.
                Next::Later if !self.is_closed.load(Ordering::Relaxed) => std::thread::sleep(Stop::TICK / 10),
                Next::Later | Next::End => {
                    self.is_closed.store(true, Ordering::Relaxed);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Packs the first blocks of a group, each behind those before it.
    fn head(&self, blocks: Vec<Waiting>) -> Result<Option<Head>, Error> {
        let mut head: Option<Head> = None;
        let growth = head::growth(blocks.len());
        for waiting in blocks {
            self.give_way();
            if self.stop.is_set() {
                return Err(Error::Interrupted);
            }
            let mut behind = Behind {
                head: head.as_ref(),
                growth,
                next: None,
            };
            self.block(waiting, &mut behind)?;
            if let Some(solid) = behind.next {
                let id = waiting.extent.id;
                head = Some(Head { id, solid });
            }
            self.commit_in_order()?;
        }
        Ok(head)
    }

    fn commit_in_order(&self) -> Result<(), Error> {
        if self.commit_if_due()? {
            collect_garbage(self.packer, Effort::Background, &self.stop)?;
        }
        Ok(())
    }

    /// Commits the batch if it is big or old enough, and no other is being committed: one behind which a block of this
    /// batch was coded comes first.
    fn commit_if_due(&self) -> Result<bool, Error> {
        let Some(_in_order) = self.committing.try_lock() else {
            return Ok(false);
        };
        let Some(batch) = self.batch.lock().take_if_due() else {
            return Ok(false);
        };
        self.commit(batch).map(|()| true)
    }

    /// Lets readers decode first, but not for ever.
    fn give_way(&self) {
        if self.polite {
            self.packer
                .environment
                .wait_for_readers(COURTESY, &|| self.stop.is_set());
        }
    }

    fn block(&self, mut waiting: Waiting, behind: &mut Behind<'_>) -> Result<(), Error> {
        let id = waiting.extent.id;
        if !self.taken.lock().insert(id) {
            return Ok(());
        }
        let mut sketch = None;
        let outcome = self.pack(&mut waiting, &mut sketch, behind)?;
        let stays = match outcome {
            Attempt::New(New::Packed(..)) => true,
            // A head may begin with what it was before.
            Attempt::New(New::Kept(_)) | Attempt::Ended(Outcome::Kept) => behind.head.is_none(),
            _ => false,
        };
        behind.next.take_if(|_| !stays);
        let mut statistics = self.packer.statistics.lock();
        match outcome {
            Attempt::New(new) => {
                statistics.worked(waiting.extent.raw_len.into());
                drop(statistics);
                let is_there = !matches!(new, New::Same(_));
                let waits = match new {
                    New::Packed(tag, _, reference) => Some((tag, reference)),
                    // What was staged refers to nothing.
                    New::Kept(tag) => Some((tag, 0)),
                    New::Same(_) => None,
                };
                if let Some(waits) = waits {
                    self.packer.to_refer.lock().insert(id, waits);
                }
                self.batch.lock().add(&waiting, new);
                // Found from here on: what refers to it comes later in a batch than its own new form.
                if let Some(sketch) = sketch.filter(|_| is_there) {
                    self.packer.remember(&sketch, id);
                }
                return Ok(());
            }
            Attempt::Ended(outcome) => {
                statistics.worked(waiting.extent.raw_len.into());
                statistics.count(&waiting.extent, outcome);
            }
            Attempt::Elsewhere => {}
        }
        drop(statistics);
        self.done(&[id]);
        Ok(())
    }

    fn done(&self, ids: &[u64]) {
        if !self.again {
            self.taken.lock().retain(|id| !ids.contains(id));
        }
    }

    /// What a stored block becomes, or else what became of it.
    fn pack(
        &self,
        waiting: &mut Waiting,
        sketch: &mut Option<Sketch>,
        behind: &mut Behind<'_>,
    ) -> Result<Attempt, Error> {
        let store = &self.packer.store;
        let id = waiting.extent.id;
        match store.extent(waiting.ino, waiting.block)? {
            Some(now) if now.id == id && waiting.is_still(now.tag) => {}
            Some(now) if !Tag(now.tag).needs_packing() => return Ok(Attempt::Elsewhere),
            _ => return Ok(Attempt::Ended(Outcome::Changed)),
        }
        for _ in 0..TRIES {
            let Some(now) = store.stored_block(id)?.filter(|now| waiting.is_still(now.tag)) else {
                return Ok(Attempt::Ended(Outcome::Changed));
            };
            // What it became would not be swapped in, now or in any later run. Nothing but its tag can change.
            if now.users > MAX_USERS {
                return Ok(match Tag(now.tag).method() {
                    Some(method) if Tag(now.tag).needs_packing() => Attempt::New(New::Kept(Tag::packed(method))),
                    _ => Attempt::Ended(Outcome::Kept),
                });
            }
            // All of it, also what a truncate cut off here: another place may have it.
            waiting.extent = now.extent(id);
            match store.read_block_of(waiting.ino, waiting.block, &waiting.extent) {
                Ok(first) => return self.encode(waiting, &first, sketch, behind),
                // The garbage collector was quicker: the block lies elsewhere now.
                Err(StoreError::Moved { .. }) => {}
                Err(error @ (StoreError::Damaged { .. } | StoreError::Io { .. })) => {
                    return Ok(Attempt::Ended(self.failed(waiting, &error)));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Attempt::Ended(Outcome::Changed))
    }

    /// Bytes that are done of the blocks under way: each is coded, and decoded to be compared.
    fn under_way(&self) -> u64 {
        self.stop.coded().saturating_sub(self.coded.load(Ordering::Relaxed)) / 2
    }

    /// What a stored block becomes, or what else became of it.
    fn encode(
        &self,
        waiting: &Waiting,
        first: &[u8],
        sketch: &mut Option<Sketch>,
        behind: &mut Behind<'_>,
    ) -> Result<Attempt, Error> {
        let stop = self.stop.child();
        let coded = self.coded(&waiting.extent, first, sketch, behind, &stop);
        self.coded.fetch_add(stop.coded(), Ordering::Relaxed);
        let Encoded { tag, block, reference } = match coded {
            Ok(Recoded::New(encoded)) => encoded,
            Ok(Recoded::Same(same)) => return Ok(Attempt::New(New::Same(same))),
            Err(Unreadable::Codec(CodecError::Interrupted)) => return Err(Error::Interrupted),
            // It was coded anew, or deleted, since it was read.
            Err(Unreadable::Store(StoreError::Moved { .. })) => return Ok(Attempt::Ended(Outcome::Changed)),
            Err(error) => {
                if error.casts_doubt() {
                    self.packer.store.distrust(waiting.extent.id);
                }
                return Ok(Attempt::Ended(self.failed(waiting, &error)));
            }
        };
        let old = Tag(waiting.extent.tag);
        // What the model coded and would not code now is wanted for its speed, not for its size.
        let is_quicker = old.method() == Some(Method::Model) && tag.method() != Some(Method::Model);
        if block.len() >= first.len() && !is_quicker {
            if !old.needs_packing() {
                return Ok(Attempt::Ended(Outcome::Kept));
            }
            // Nothing is smaller: the stored block says from now on that it was tried.
            return Ok(match Header::parse(first) {
                Ok(header) => Attempt::New(New::Kept(Tag::packed(header.method))),
                Err(error) => Attempt::Ended(self.failed(waiting, &error)),
            });
        }
        reserve::ensure(&self.packer.store, Purpose::Data)?;
        let pending = self.packer.store.append_again_pending(waiting.extent.id, &block)?;
        Ok(Attempt::New(New::Packed(tag, pending, reference)))
    }

    /// A stored block coded anew, or else another one with the same bytes.
    fn coded(
        &self,
        extent: &Extent,
        first: &[u8],
        sketch: &mut Option<Sketch>,
        behind: &mut Behind<'_>,
        stop: &Stop,
    ) -> Result<Recoded, Unreadable> {
        let raw = self
            .packer
            .contents
            .decode(extent, first, Some(&self.computing), stop)?;
        if let Some(same) = self.same(extent, &raw, stop)? {
            return Ok(Recoded::Same(same));
        }
        let found = sketch.insert(self.computing.install(|| Sketch::of(&raw)));
        let candidates = self.packer.dictionaries.lock().candidates(&raw);
        let head = self.packer.usable(behind.head, extent.id);
        // A dictionary or a head of the same data saves more than a block that is somewhat alike, and is quicker to
        // read. But the language model, which is tried for any byte where only size counts, has no head. Nothing but a
        // copy makes what looks random smaller.
        let has_head = head.is_some() && self.packer.codec.options().model_worth > 0;
        let only_close = !candidates.is_empty() || has_head || looks_random(extent);
        let references = self
            .packer
            .references(extent.id, found, only_close, &self.computing, stop)?;
        let raws: Vec<&[u8]> = references.iter().map(|reference| reference.raw.as_slice()).collect();
        let job = EncodeJob {
            raw: &raw,
            dictionaries: &candidates,
            references: &raws,
        };
        let (block, next) = self.made(&job, head, behind.growth, stop)?;
        let tag = self.packer.dictionaries.lock().tag(&block)?;
        let needs = Codec::needs(&block)?;
        let reference = match (needs.reference, head.filter(|_| needs.solid.is_some())) {
            (_, Some(head)) => head.id,
            (Some(needed), None) => references::number(&references, needed)?,
            (None, None) => 0,
        };
        behind.next = next;
        if behind.growth != Growth::Never && behind.head.is_none() {
            behind.next = self.compute(|| solid::begin(&self.packer.codec, &raw, &block, stop))?;
        }
        Ok(Recoded::New(Encoded { tag, block, reference }))
    }

    /// What one who helps made of a block, or else this process; and the head with it, if it became a part of that.
    fn made(
        &self,
        job: &EncodeJob<'_>,
        head: Option<&Head>,
        growth: Growth,
        stop: &Stop,
    ) -> Result<(Vec<u8>, Option<SolidHead>), CodecError> {
        let codec = &self.packer.codec;
        let solid = head.map(|head| &head.solid);
        let fronts = Fronts {
            dictionaries: job.dictionaries,
            references: job.references,
            solid,
            growth,
        };
        if let Some(helpers) = self.helpers {
            // What becomes a part of a head is coded by who has the head.
            if growth == Growth::Preferred
                && let Some(part) = self.compute(|| codec.encode_preferred(job.raw, &fronts, stop))?
            {
                return Ok(part);
            }
            // What is made ready for others must not wait for a block that takes as long to decode as to encode.
            let slow = self.encoding.as_ref().unwrap_or(&self.computing);
            let check = |block: &[u8], depth| {
                let pool = if depth == Depth::Full { slow } else { &self.computing };
                pool.install(|| encode::check(codec, job, block, depth, stop))
            };
            if let Some(block) = helpers.encode(job, &check, stop)? {
                self.packer.statistics.lock().helped(job.raw.len() as u64);
                // Nobody else has the head, and trying it takes this process a fiftieth of what the model takes.
                let Some(solid) = solid else { return Ok((block, None)) };
                let below = block.len() - block.len() / 32;
                let behind = self.compute(|| codec.encode_solid(job.raw, solid, growth, below, stop))?;
                return Ok(behind.unwrap_or((block, None)));
            }
        }
        self.compute(|| codec.encode_among(job.raw, &fronts, stop))
    }

    /// Does what encodes.
    fn compute<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.encoding.as_ref().unwrap_or(&self.computing).install(work)
    }

    /// Another stored block with the same bytes. The store is asked on this thread: one of the computing ones could be
    /// kept from running while it holds a lock that others need.
    fn same(&self, extent: &Extent, raw: &[u8], stop: &Stop) -> Result<Option<u64>, CodecError> {
        let store = &self.packer.store;
        // One that others refer to cannot go.
        let stays = |now: StoredBlock| now.referrers > 0;
        if store.stored_block(extent.id).ok().flatten().is_none_or(stays) {
            return Ok(None);
        }
        // Whatever is wrong with another one is no reason not to pack this one.
        let found = self
            .packer
            .equals
            .found(store.find_equal(extent.digest, extent.raw_len));
        for other in found.into_iter().filter(|other| other.id != extent.id) {
            // One that waits may have to wait for long, and its file be none that is to be packed. Of two that are
            // taken, the older one stays.
            let is_sure = |id| self.taken.lock().contains(id) || self.claimed.lock().contains(id);
            let taken = || other.id < extent.id && is_sure(&other.id);
            if Tag(other.tag).needs_packing() && !taken() {
                continue;
            }
            let bytes = match store.read_block(&other) {
                Ok(bytes) => bytes,
                // Garbage collection was quicker. The next run looks again.
                Err(StoreError::Moved { .. }) => continue,
                Err(error) => {
                    warn!(id = other.id, %error, "a block with perhaps the same bytes cannot be read");
                    continue;
                }
            };
            match self.packer.contents.decode(&other, &bytes, Some(&self.computing), stop) {
                Ok(decoded) if decoded == raw => return Ok(Some(other.id)),
                Ok(_) => {}
                Err(Unreadable::Codec(CodecError::Interrupted)) => return Err(CodecError::Interrupted),
                Err(error) => {
                    if error.casts_doubt() {
                        store.distrust(other.id);
                    }
                    warn!(id = other.id, %error, "a block with perhaps the same bytes cannot be decoded");
                }
            }
        }
        Ok(None)
    }

    fn failed(&self, waiting: &Waiting, error: &dyn std::error::Error) -> Outcome {
        let (ino, block) = (waiting.ino, waiting.block);
        warn!(ino, block, %error, "a block cannot be packed and stays as it is");
        self.packer.statistics.lock().failed.insert(waiting.extent.location);
        Outcome::Failed
    }

    fn commit(&self, batch: Batch) -> Result<(), Error> {
        let ids = batch.ids();
        let committed = batch.commit(&self.packer.store);
        self.packer.to_refer.lock().retain(|id, _| !ids.contains(id));
        let outcomes = committed?;
        self.done(&ids);
        let mut statistics = self.packer.statistics.lock();
        for (extent, outcome) in outcomes {
            statistics.count(&extent, outcome);
        }
        Ok(())
    }
}

/// Whether a block was not made smaller when it was written. Short ones say nothing of their contents by that.
fn looks_random(extent: &Extent) -> bool {
    const SHORT: u32 = 4096;
    extent.raw_len >= SHORT && Tag(extent.tag).method() == Some(Method::Raw)
}
