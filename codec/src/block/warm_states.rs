//! The states after dictionaries: learned once, shared by all threads, bounded in memory.

use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use lru::LruCache;
use parking_lot::Mutex;

use crate::dictionary::{self, DictionaryId, DictionarySource, builtin};
use crate::mix::{Predictor, WarmState};
use crate::solid_digest::SolidDigest;
use crate::{Error, Result, Stop};

/// Which state it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum StateKey {
    /// That after a dictionary of the source, or a built-in one.
    Bytes(DictionaryId),
    /// The same, learned token by token.
    Tokens(DictionaryId),
    /// That after a text with this SHA-256, likewise.
    TokensOf([u8; 32]),
    /// That after a solid head.
    Solid(SolidDigest),
}

/// A state that is being learned, or was.
#[derive(Default)]
struct Slot {
    state: OnceLock<Arc<WarmState>>,
    /// Held while it is learned: single-flight.
    learning: Mutex<()>,
}

/// How long a thread waits for another one that learns what it needs, at most. The other one may have a priority so low
/// that it does not run, and nobody must have to wait for such a thread (priority inversion). Then it is learned twice.
const PATIENCE: Duration = Duration::from_millis(200);

struct Kept {
    slot: Arc<Slot>,
    /// Bytes of the state; 0 while it is being learned.
    bytes: usize,
}

/// Warm states by dictionary. The one unused for longest is evicted first.
struct WarmStates {
    kept: Mutex<LruCache<StateKey, Kept>>,
    /// The most bytes that all states together may take, not counting those in use by a thread after they were evicted.
    most_bytes: usize,
    patience: Duration,
}

/// The dictionaries that a codec knows.
pub(super) struct Dictionaries {
    source: Arc<dyn DictionarySource>,
    states: WarmStates,
}

/// The states after built-in dictionaries are the same for all codecs.
static BUILTIN_STATES: LazyLock<WarmStates> = LazyLock::new(|| WarmStates::new(MOST_BUILTIN_BYTES));
/// The most bytes that they take: about twelve of them.
const MOST_BUILTIN_BYTES: usize = 64 << 20;

impl Dictionaries {
    pub(super) fn new(source: Arc<dyn DictionarySource>, most_bytes: usize) -> Dictionaries {
        Dictionaries {
            source,
            states: WarmStates::new(most_bytes),
        }
    }

    /// Bytes of the states after dictionaries of the source that are kept.
    pub(super) fn warm_bytes(&self) -> usize {
        self.states.bytes()
    }

    /// The state after a dictionary. `predictor` learns it if no thread has yet.
    pub(super) fn state(&self, id: DictionaryId, predictor: &mut Predictor, stop: &Stop) -> Result<Arc<WarmState>> {
        if let Some(entry) = builtin::find(id) {
            return BUILTIN_STATES.get(StateKey::Bytes(id), || entry.learn(predictor, stop));
        }
        self.states.get(StateKey::Bytes(id), || {
            WarmState::learn(predictor, &self.text(id)?, stop)
        })
    }

    /// The state after a dictionary of the source that `learn` makes of its text token by token, if no thread has yet.
    pub(super) fn of_tokens(
        &self,
        id: DictionaryId,
        learn: impl FnOnce(&[u8]) -> Result<WarmState>,
    ) -> Result<Arc<WarmState>> {
        self.states.get(StateKey::Tokens(id), || learn(&self.text(id)?))
    }

    /// The same after a text that is not the source's. Many containers may have keys with one id, so it is known by all
    /// of its SHA-256.
    pub(super) fn of_tokens_of(
        &self,
        digest: [u8; 32],
        learn: impl FnOnce() -> Result<WarmState>,
    ) -> Result<Arc<WarmState>> {
        self.states.get(StateKey::TokensOf(digest), learn)
    }

    /// The state after a solid head, if it is kept.
    pub(super) fn of_solid(&self, digest: SolidDigest) -> Option<Arc<WarmState>> {
        self.states.peek(StateKey::Solid(digest))
    }

    /// Keeps the state after a solid head.
    pub(super) fn keep_solid(&self, digest: SolidDigest, state: &Arc<WarmState>) {
        self.states.put(StateKey::Solid(digest), state);
    }

    /// Drops the state after a solid head.
    pub(super) fn drop_solid(&self, digest: SolidDigest) {
        let dropped = self.states.kept.lock().pop(&StateKey::Solid(digest));
        // Freeing it takes time, and others wait for the lock.
        drop(dropped);
    }

    fn text(&self, id: DictionaryId) -> Result<Vec<u8>> {
        let text = self.source.text(id)?.ok_or(Error::MissingDictionary { id })?;
        dictionary::check(id, &text)?;
        Ok(text)
    }
}

impl WarmStates {
    fn new(most_bytes: usize) -> WarmStates {
        WarmStates {
            kept: Mutex::new(LruCache::unbounded()),
            most_bytes,
            patience: PATIENCE,
        }
    }

    /// The state of this id, learned if it is not there.
    fn get(&self, id: StateKey, learn: impl FnOnce() -> Result<WarmState>) -> Result<Arc<WarmState>> {
        let new = || Kept {
            slot: Arc::default(),
            bytes: 0,
        };
        // The list is unlocked before learning, which may take as long as decoding a megabyte. Others wait for this
        // slot only.
        let slot = Arc::clone(&self.kept.lock().get_or_insert(id, new).slot);
        if let Some(state) = slot.state.get() {
            return Ok(Arc::clone(state));
        }
        let _alone = slot.learning.try_lock_for(self.patience);
        if let Some(state) = slot.state.get() {
            return Ok(Arc::clone(state));
        }
        match learn() {
            Ok(learned) => {
                let learned = Arc::clone(slot.state.get_or_init(|| Arc::new(learned)));
                self.keep(id, &slot, learned.bytes());
                Ok(learned)
            }
            Err(error) => {
                // Nothing is kept for ids that nobody has, however many a damaged or hostile store names.
                let mut kept = self.kept.lock();
                if slot.state.get().is_none() && kept.peek(&id).is_some_and(|entry| Arc::ptr_eq(&entry.slot, &slot)) {
                    kept.pop(&id);
                }
                Err(error)
            }
        }
    }

    /// The state of this id, if it is there.
    fn peek(&self, id: StateKey) -> Option<Arc<WarmState>> {
        let mut kept = self.kept.lock();
        kept.get(&id)?.slot.state.get().map(Arc::clone)
    }

    /// Keeps a state, instead of what has its id.
    fn put(&self, id: StateKey, state: &Arc<WarmState>) {
        let slot = Arc::new(Slot {
            state: OnceLock::from(Arc::clone(state)),
            learning: Mutex::default(),
        });
        let new = Kept {
            slot: Arc::clone(&slot),
            bytes: 0,
        };
        let replaced = self.kept.lock().put(id, new);
        drop(replaced);
        self.keep(id, &slot, state.bytes());
    }

    /// Counts a state that was learned, and evicts those unused for longest until the others fit.
    fn keep(&self, id: StateKey, slot: &Arc<Slot>, bytes: usize) {
        let mut kept = self.kept.lock();
        if let Some(entry) = kept.peek_mut(&id).filter(|entry| Arc::ptr_eq(&entry.slot, slot)) {
            entry.bytes = bytes;
        }
        // The state that was just learned stays even if it alone is above the bound: somebody is about to use it.
        while kept.iter().map(|(_, entry)| entry.bytes).sum::<usize>() > self.most_bytes {
            let evicted = kept
                .iter()
                .rev()
                .find(|(other, entry)| **other != id && entry.bytes > 0);
            let Some(evicted) = evicted.map(|(other, _)| *other) else {
                return;
            };
            kept.pop(&evicted);
        }
    }

    /// Bytes of all states that are kept.
    fn bytes(&self) -> usize {
        self.kept.lock().iter().map(|(_, entry)| entry.bytes).sum()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Dictionaries `0`, `1`, ... of 40 KiB each, counting how often one was read.
    struct Counting(Vec<Vec<u8>>, AtomicUsize);

    impl DictionarySource for Counting {
        fn text(&self, id: DictionaryId) -> Result<Option<Vec<u8>>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.text(id)
        }
    }

    fn source(count: usize) -> (Arc<Counting>, Vec<DictionaryId>) {
        let texts: Vec<Vec<u8>> = (0..count)
            .map(|i| format!("dictionary {i}, ").repeat(3000).into_bytes())
            .collect();
        let ids = texts.iter().map(|text| DictionaryId::of(text)).collect();
        (Arc::new(Counting(texts, AtomicUsize::new(0))), ids)
    }

    #[test]
    fn many_threads_learn_a_dictionary_once() {
        let (source, ids) = source(1);
        let mut dictionaries = Dictionaries::new(source.clone(), usize::MAX);
        dictionaries.states.patience = Duration::from_secs(3600);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| dictionaries.state(ids[0], &mut Predictor::new(), &Stop::new()).unwrap());
            }
        });
        assert_eq!(source.1.load(Ordering::Relaxed), 1);
    }

    /// Gives a dictionary at once, but to the first who asks only when it is told to.
    struct Hanging(Vec<u8>, Mutex<std::sync::mpsc::Receiver<()>>, AtomicUsize);

    impl DictionarySource for Hanging {
        fn text(&self, _: DictionaryId) -> Result<Option<Vec<u8>>> {
            if self.2.fetch_add(1, Ordering::SeqCst) == 0 {
                self.1.lock().recv().unwrap();
            }
            Ok(Some(self.0.clone()))
        }
    }

    /// Regression: a reader waited for a thread of low priority that had begun to learn the same dictionary, and got no
    /// core.
    #[test]
    fn nobody_waits_for_a_thread_that_does_not_run() {
        let text = b"a dictionary, ".repeat(100);
        let (id, (go_on, told)) = (DictionaryId::of(&text), std::sync::mpsc::channel());
        let source = Arc::new(Hanging(text, Mutex::new(told), AtomicUsize::new(0)));
        let dictionaries = Dictionaries::new(source.clone(), usize::MAX);
        let state = || dictionaries.state(id, &mut Predictor::new(), &Stop::new()).unwrap();
        std::thread::scope(|scope| {
            let slow = scope.spawn(state);
            while source.2.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            let quick = state();
            assert!(!slow.is_finished());
            go_on.send(()).unwrap();
            assert!(Arc::ptr_eq(&quick, &slow.join().unwrap()), "one of them is kept");
        });
        assert_eq!(dictionaries.warm_bytes(), state().bytes());
        assert_eq!(source.2.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn memory_stays_within_the_bound() {
        let (source, ids) = source(12);
        let mut predictor = Predictor::new();
        let one = Dictionaries::new(source.clone(), usize::MAX)
            .state(ids[0], &mut predictor, &Stop::new())
            .unwrap()
            .bytes();
        let dictionaries = Dictionaries::new(source.clone(), 3 * one + one / 2);
        for id in ids.iter().chain(&ids) {
            dictionaries.state(*id, &mut predictor, &Stop::new()).unwrap();
            assert!(dictionaries.states.bytes() <= 3 * one + one / 2);
        }
        let before = source.1.load(Ordering::Relaxed);
        dictionaries.state(ids[11], &mut predictor, &Stop::new()).unwrap();
        assert_eq!(source.1.load(Ordering::Relaxed), before, "the newest is kept");
        dictionaries.state(ids[0], &mut predictor, &Stop::new()).unwrap();
        assert_eq!(source.1.load(Ordering::Relaxed), before + 1, "the oldest was evicted");
    }

    /// Regression: two containers had keys with one id, and blocks of one were decoded behind the key of the other.
    #[test]
    fn states_of_tokens_are_told_apart_from_those_of_bytes_and_of_other_texts() {
        let (source, ids) = source(1);
        let dictionaries = Dictionaries::new(source, usize::MAX);
        let mut predictor = Predictor::new();
        let mut learn = |text: &[u8]| WarmState::learn(&mut predictor, text, &Stop::new());
        let tokens = dictionaries.of_tokens(ids[0], &mut learn).unwrap();
        let one = dictionaries.of_tokens_of([1; 32], || learn(b"one key")).unwrap();
        let other = dictionaries.of_tokens_of([2; 32], || learn(b"another key")).unwrap();
        let bytes = dictionaries.state(ids[0], &mut Predictor::new(), &Stop::new()).unwrap();
        assert!(!Arc::ptr_eq(&tokens, &bytes));
        assert_eq!((one.text(), other.text()), (&b"one key"[..], &b"another key"[..]));
        // All of them share one bound.
        let sum = [&tokens, &one, &other, &bytes]
            .map(|state| state.bytes())
            .iter()
            .sum::<usize>();
        assert_eq!(dictionaries.warm_bytes(), sum);
        let again = dictionaries.of_tokens_of([1; 32], || panic!("it is kept")).unwrap();
        assert!(Arc::ptr_eq(&one, &again));
    }

    #[test]
    fn a_missing_dictionary_leaves_nothing_behind() {
        let (source, _) = source(1);
        let dictionaries = Dictionaries::new(source, usize::MAX);
        for i in 0..100 {
            let error = dictionaries
                .state(DictionaryId([i, 0, 0, 0]), &mut Predictor::new(), &Stop::new())
                .unwrap_err();
            assert!(matches!(error, Error::MissingDictionary { .. }), "{error}");
        }
        assert_eq!(dictionaries.states.kept.lock().len(), 0);
    }
}
