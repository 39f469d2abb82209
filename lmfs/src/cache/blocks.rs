//! Blocks by their place in the log: from the LRU, or decoded once for all who wait.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::ByteLru;
use crate::task::{Asker, Pool};

/// A decoded block.
pub type Block = Arc<Vec<u8>>;

/// Where blocks come from: reads one from the log and decodes it.
pub trait Source<K>: Send + Sync {
    /// The block whose contents are needed to decode the one at `key`, if any. That one may need another one in turn,
    /// but never in a circle.
    ///
    /// # Errors
    /// Why that is not known: then the block cannot be had.
    fn reference(&self, key: &K) -> Result<Option<K>, LoadError> {
        let _ = key;
        Ok(None)
    }

    /// The decoded bytes of the block at `key`. `reference`: what came of the block that it needs.
    ///
    /// # Errors
    /// A [`LoadError`] that says why there are none.
    fn load(&self, key: &K, reference: Option<Loaded>) -> Result<Vec<u8>, LoadError>;

    /// Bytes that the source holds itself, which count as the cache's.
    fn held(&self) -> usize {
        0
    }
}

/// How long a block takes to decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Microseconds: raw and zstd.
    Cheap,
    /// Up to seconds: whatever asks a model.
    Expensive,
}

/// Why a block could not be had.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct LoadError {
    /// What kind of failure it is.
    pub kind: LoadErrorKind,
    /// What was wrong, for the log.
    pub message: Arc<str>,
    /// What caused it.
    #[source]
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// What a reader should do about a [`LoadError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadErrorKind {
    /// The block was moved or replaced meanwhile: look up where it is now and ask again.
    Moved,
    /// The stored bytes are damaged: this block is lost until it is overwritten.
    Damaged,
    /// Reading or decoding failed, but the stored bytes may be fine (IO error, missing model, shutdown).
    Failed,
}

impl LoadError {
    /// A load error of a kind with its message.
    pub fn new(kind: LoadErrorKind, message: impl std::fmt::Display) -> LoadError {
        LoadError {
            kind,
            message: message.to_string().into(),
            source: None,
        }
    }

    /// A load error of a kind that another error caused.
    pub fn caused(kind: LoadErrorKind, source: impl std::error::Error + Send + Sync + 'static) -> LoadError {
        LoadError {
            kind,
            message: source.to_string().into(),
            source: Some(Arc::new(source)),
        }
    }
}

/// What a block's reader is told.
pub type Loaded = Result<Block, LoadError>;

/// Counters of the cache since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CacheStats {
    /// Blocks that were in the LRU when asked for.
    pub hits: u64,
    /// Blocks that were not.
    pub misses: u64,
    /// Blocks decoded, read-ahead included.
    pub decodes: u64,
    /// Decodes that failed.
    pub failures: u64,
    /// Bytes held.
    pub bytes: u64,
    /// Blocks held.
    pub blocks: u64,
    /// Bytes it may hold.
    pub capacity: u64,
}

/// The cache. Clones share it.
pub struct Blocks<K: Hash + Eq> {
    inner: Arc<Inner<K>>,
}

impl<K: Hash + Eq> Clone for Blocks<K> {
    fn clone(&self) -> Blocks<K> {
        Blocks {
            inner: self.inner.clone(),
        }
    }
}

struct Inner<K: Hash + Eq> {
    state: Mutex<State<K>>,
    /// A flight ended.
    landed: Condvar,
    source: Box<dyn Source<K>>,
    cheap: Pool,
    expensive: Pool,
    capacity: usize,
    hits: AtomicU64,
    misses: AtomicU64,
    decodes: AtomicU64,
    failures: AtomicU64,
    panics: AtomicU64,
}

struct State<K: Hash + Eq> {
    lru: ByteLru<K>,
    flights: HashMap<K, Flight<K>>,
}

impl<K: Hash + Eq> State<K> {
    fn is_awaited(&self) -> bool {
        self.flights.values().any(Flight::is_awaited)
    }

    /// Whether anybody wants a block: itself, or one that needs it.
    fn is_wanted(&self, key: &K) -> bool {
        self.flights.get(key).is_some_and(|flight| {
            let is_open = |waiter: &oneshot::Sender<Loaded>| !waiter.is_closed();
            let is_wanted = |needing: &Started<K>| self.is_wanted(&needing.key);
            flight.ahead || flight.waiters.iter().any(is_open) || flight.needed_by.iter().any(is_wanted)
        })
    }

    /// Ends the flights of a block that nobody wants and of those that need it.
    fn give_up(&mut self, key: K) {
        let mut ended = vec![key];
        while let Some(key) = ended.pop() {
            let flight = self.flights.remove(&key).unwrap_or_default();
            ended.extend(flight.needed_by.into_iter().map(|needing| needing.key));
        }
    }
}

/// A block that is being decoded or waits for a thread: one decode, however many wait for it (single-flight).
struct Flight<K> {
    waiters: Vec<oneshot::Sender<Loaded>>,
    /// Blocks that were started and are decoded when this one is there: no thread waits with them.
    needed_by: Vec<Started<K>>,
    /// Who asked for it. Until it is started, it waits for a thread in the queues of all of them: whichever comes first
    /// decodes, and the others find nothing to do.
    askers: Vec<Asker>,
    /// It is wanted ahead of need, whether somebody waits or not.
    ahead: bool,
    started: bool,
}

/// A block that is being decoded.
struct Started<K> {
    key: K,
    /// What came of the block that it needs.
    reference: Option<Loaded>,
    /// How often that one was not where it was looked for.
    tries: u32,
}

impl<K> Started<K> {
    fn new(key: K) -> Started<K> {
        Started {
            key,
            reference: None,
            tries: 0,
        }
    }
}

/// What is to be done next for a block that is being decoded.
enum Step<K> {
    Decode(Option<Loaded>),
    /// This one is decoded first, and then what needs it.
    First(K),
    /// Another thread decodes what it needs.
    Parked,
}

/// How often a block that another one needs is looked up again, because it was moved meanwhile.
const RETRIES: u32 = 16;

impl<K> Default for Flight<K> {
    fn default() -> Flight<K> {
        Flight {
            waiters: Vec::new(),
            needed_by: Vec::new(),
            askers: Vec::new(),
            ahead: false,
            started: false,
        }
    }
}

impl<K> Flight<K> {
    /// Whether anybody still waits for it: a reader that was interrupted does not.
    fn is_awaited(&self) -> bool {
        !self.needed_by.is_empty() || self.waiters.iter().any(|waiter| !waiter.is_closed())
    }
}

impl<K: Hash + Eq + Copy + Send + 'static> Blocks<K> {
    /// A cache of at most `capacity` bytes, filled from `source` by `threads` decoding threads.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn new(source: Box<dyn Source<K>>, capacity: usize, threads: usize) -> std::io::Result<Blocks<K>> {
        let state = State {
            lru: ByteLru::new(capacity),
            flights: HashMap::new(),
        };
        Ok(Blocks {
            inner: Arc::new(Inner {
                state: Mutex::new(state),
                landed: Condvar::new(),
                source,
                cheap: Pool::new("lmfs-read", 2)?,
                expensive: Pool::new("lmfs-decode", threads)?,
                capacity,
                hits: AtomicU64::new(0),
                misses: AtomicU64::new(0),
                decodes: AtomicU64::new(0),
                failures: AtomicU64::new(0),
                panics: AtomicU64::new(0),
            }),
        })
    }

    /// The block if it is in memory. Counts a hit, but not a miss: [`Blocks::fetch`] follows and counts that.
    pub fn cached(&self, key: &K) -> Option<Block> {
        let block = self.inner.state.lock().lru.get(key)?;
        self.inner.hits.fetch_add(1, Ordering::Relaxed);
        Some(block)
    }

    /// The block: from memory, or from the thread that decodes it. It is asked for when this is called, not when the
    /// future is polled first. Dropping the future takes the wish back: what nobody waits for is not decoded.
    pub fn fetch(&self, key: K, cost: Cost, asker: Asker) -> impl Future<Output = Loaded> + Send + use<K> {
        let answer = self.ask(key, cost, asker);
        async move {
            match answer {
                Ok(block) => Ok(block),
                Err(later) => later
                    .await
                    .unwrap_or_else(|_| Err(LoadError::new(LoadErrorKind::Failed, "shutting down"))),
            }
        }
    }

    /// The block, or where it will arrive.
    fn ask(&self, key: K, cost: Cost, asker: Asker) -> Result<Block, oneshot::Receiver<Loaded>> {
        let mut state = self.inner.state.lock();
        if let Some(block) = state.lru.get(&key) {
            drop(state);
            self.inner.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(block);
        }
        self.inner.misses.fetch_add(1, Ordering::Relaxed);
        let (waiter, later) = oneshot::channel();
        let flight = state.flights.entry(key).or_default();
        flight.waiters.push(waiter);
        // A flight that waits in another's queue must not keep this asker longer than its own queue does.
        let asks_first = !flight.askers.contains(&asker);
        if asks_first {
            flight.askers.push(asker);
        }
        let queue = asks_first && !flight.started;
        drop(state);
        if queue {
            let inner = self.inner.clone();
            self.inner.pool(cost).run(asker, move || inner.decode(key, cost));
        }
        Err(later)
    }

    /// Decodes the block ahead of need, when no reader waits for another.
    pub fn read_ahead(&self, key: K, cost: Cost) {
        let mut state = self.inner.state.lock();
        if state.lru.contains(&key) || state.flights.contains_key(&key) {
            return;
        }
        let flight = Flight {
            ahead: true,
            ..Flight::default()
        };
        state.flights.insert(key, flight);
        drop(state);
        let inner = self.inner.clone();
        self.inner.pool(cost).run_idle(move || inner.decode(key, cost));
    }

    /// Takes back read-ahead of `keys` that nothing started and nobody waits for.
    pub fn cancel_read_ahead(&self, keys: impl IntoIterator<Item = K>) {
        let mut state = self.inner.state.lock();
        for key in keys {
            if let Some(flight) = state.flights.get_mut(&key) {
                flight.ahead = false;
                if !flight.started && !flight.is_awaited() {
                    state.flights.remove(&key);
                }
            }
        }
    }

    /// The block at `old` now lies at `new` with the same contents: keeps it in memory.
    pub fn moved(&self, old: &K, new: K) {
        self.inner.state.lock().lru.rekey(old, new);
    }

    /// The counters.
    pub fn stats(&self) -> CacheStats {
        let (bytes, blocks) = {
            let state = self.inner.state.lock();
            (state.lru.bytes(), state.lru.len())
        };
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheStats {
            hits: get(&self.inner.hits),
            misses: get(&self.inner.misses),
            decodes: get(&self.inner.decodes),
            failures: get(&self.inner.failures),
            bytes: (bytes + self.inner.source.held()) as u64,
            blocks: blocks as u64,
            capacity: self.inner.capacity as u64,
        }
    }

    /// Whether a reader waits for a block now.
    pub fn is_awaited(&self) -> bool {
        self.inner.state.lock().is_awaited()
    }

    /// Waits while readers wait for blocks, for at most `at_most`, and until `is_over`: whoever makes that true calls
    /// [`Blocks::wake`].
    pub fn wait_for_readers(&self, at_most: Duration, is_over: &dyn Fn() -> bool) {
        let deadline = Instant::now() + at_most;
        let mut state = self.inner.state.lock();
        while state.is_awaited() && !is_over() {
            if self.inner.landed.wait_until(&mut state, deadline).timed_out() {
                return;
            }
        }
    }

    /// Has everybody in [`Blocks::wait_for_readers`] look whether it is over.
    pub fn wake(&self) {
        // With the lock, so that nobody is between looking and waiting.
        let _state = self.inner.state.lock();
        self.inner.landed.notify_all();
    }

    /// How many loads, and other jobs of the decoding threads, panicked.
    pub fn panics(&self) -> u64 {
        let loads = self.inner.panics.load(Ordering::Relaxed);
        loads + self.inner.cheap.panics() + self.inner.expensive.panics()
    }

    /// Finishes what readers wait for and ends the threads.
    pub fn shutdown(&self) {
        self.inner.cheap.shutdown();
        self.inner.expensive.shutdown();
    }
}

impl<K: Hash + Eq + Copy + Send + 'static> Inner<K> {
    fn pool(&self, cost: Cost) -> &Pool {
        match cost {
            Cost::Cheap => &self.cheap,
            Cost::Expensive => &self.expensive,
        }
    }

    fn decode(self: &Arc<Self>, key: K, cost: Cost) {
        if self.start(&key) {
            self.go_on(Started::new(key), cost);
        }
    }

    /// Decodes a block that was started, and before it what it needs, unless another thread does that: that one then
    /// goes on with this block. `cost` says which threads these are.
    fn go_on(self: &Arc<Self>, mut next: Started<K>, cost: Cost) {
        loop {
            match self.prepare(&mut next) {
                Step::Parked => return,
                Step::First(key) => next = Started::new(key),
                Step::Decode(reference) => {
                    // The readers may have gone while what it needs was decoded.
                    if self.is_given_up(next.key) {
                        return;
                    }
                    let loaded = self.load(&next.key, reference);
                    let mut needing = self.land(next.key, &loaded);
                    // What is coded behind others is expensive, and must not keep cheap blocks waiting.
                    let first = match cost {
                        Cost::Cheap => None,
                        Cost::Expensive => needing.pop(),
                    };
                    needing.into_iter().for_each(|other| self.queue(other));
                    let Some(first) = first else { return };
                    next = first;
                }
            }
        }
    }

    /// Ends the flight of a block that was started, if nobody wants it any more.
    fn is_given_up(&self, key: K) -> bool {
        let mut state = self.state.lock();
        if state.is_wanted(&key) {
            return false;
        }
        state.give_up(key);
        self.landed.notify_all();
        true
    }

    fn load(&self, key: &K, reference: Option<Loaded>) -> Loaded {
        if !matches!(reference, Some(Err(_))) {
            self.decodes.fetch_add(1, Ordering::Relaxed);
        }
        self.caught(|| self.source.load(key, reference)).map(Arc::new)
    }

    /// Whoever waits is told of a panic, too.
    fn caught<T>(&self, work: impl FnOnce() -> Result<T, LoadError>) -> Result<T, LoadError> {
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            self.panics.fetch_add(1, Ordering::Relaxed);
            let message = "decoding panicked; this is a bug";
            tracing::error!("{message}");
            Err(LoadError::new(LoadErrorKind::Failed, message))
        })
    }

    /// Finds out what a block needs, and whether it is there.
    fn prepare(&self, next: &mut Started<K>) -> Step<K> {
        match next.reference.take() {
            Some(Err(error)) if error.kind == LoadErrorKind::Moved => {
                if next.tries >= RETRIES {
                    let error = LoadError::new(LoadErrorKind::Failed, "the block that it needs keeps moving");
                    return Step::Decode(Some(Err(error)));
                }
                next.tries += 1;
            }
            Some(there) => return Step::Decode(Some(there)),
            None => {}
        }
        let needed = match self.caught(|| self.source.reference(&next.key)) {
            Ok(Some(needed)) => needed,
            Ok(None) => return Step::Decode(None),
            Err(error) => return Step::Decode(Some(Err(error))),
        };
        let mut state = self.state.lock();
        if let Some(block) = state.lru.get(&needed) {
            return Step::Decode(Some(Ok(block)));
        }
        let flight = state.flights.entry(needed).or_default();
        flight.needed_by.push(Started {
            key: next.key,
            reference: None,
            tries: next.tries,
        });
        match std::mem::replace(&mut flight.started, true) {
            true => Step::Parked,
            false => Step::First(needed),
        }
    }

    /// Gives all who wait for a block what came of it; returns the blocks that need it.
    fn land(&self, key: K, loaded: &Loaded) -> Vec<Started<K>> {
        let held = self.source.held();
        let flight = {
            let mut state = self.state.lock();
            match loaded {
                Ok(block) => state.lru.insert_beside(held, key, block.clone()),
                // It is looked up again where it lies now.
                Err(error) if error.kind == LoadErrorKind::Moved => {}
                Err(_) => {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                }
            }
            state.flights.remove(&key).unwrap_or_default()
        };
        self.landed.notify_all();
        for waiter in flight.waiters {
            // A waiter that is gone was interrupted.
            let _ = waiter.send(loaded.clone());
        }
        let mut needing = flight.needed_by;
        needing
            .iter_mut()
            .for_each(|started| started.reference = Some(loaded.clone()));
        needing
    }

    /// Has another thread go on with a block that was started.
    fn queue(self: &Arc<Self>, started: Started<K>) {
        let asker = {
            let state = self.state.lock();
            let flight = state.flights.get(&started.key);
            flight.and_then(|flight| {
                let first = flight.askers.first().copied();
                // Nobody asked for it, but somebody waits for what needs it.
                first.or_else(|| flight.is_awaited().then_some(Asker::DAEMON))
            })
        };
        let job = Parked {
            inner: self.clone(),
            started: Some(started),
        };
        match asker {
            Some(asker) => self.expensive.run(asker, move || job.run()),
            None => self.expensive.run_idle(move || job.run()),
        }
    }

    /// Whether a flight is to be decoded now, by this thread. One that nobody wants any more ends.
    fn start(&self, key: &K) -> bool {
        let mut state = self.state.lock();
        let Some(flight) = state.flights.get_mut(key).filter(|flight| !flight.started) else {
            return false;
        };
        if !flight.ahead && !flight.is_awaited() {
            state.flights.remove(key);
            return false;
        }
        flight.started = true;
        true
    }
}

/// A block that was started and waits for a thread. If that never comes, because the threads end, its readers are told.
struct Parked<K: Hash + Eq + Copy + Send + 'static> {
    inner: Arc<Inner<K>>,
    started: Option<Started<K>>,
}

impl<K: Hash + Eq + Copy + Send + 'static> Parked<K> {
    fn run(mut self) {
        if let Some(started) = self.started.take() {
            self.inner.go_on(started, Cost::Expensive);
        }
    }
}

impl<K: Hash + Eq + Copy + Send + 'static> Drop for Parked<K> {
    fn drop(&mut self) {
        let mut ended: Vec<_> = self.started.take().into_iter().collect();
        while let Some(Started { key, .. }) = ended.pop() {
            let error = LoadError::new(LoadErrorKind::Failed, "shutting down");
            ended.extend(self.inner.land(key, &Err(error)));
        }
    }
}

#[cfg(test)]
#[path = "blocks_tests.rs"]
mod tests;
