//! The states after dictionaries: learned once, shared by all threads, bounded in memory.

use std::sync::{Arc, LazyLock};

use lru::LruCache;
use parking_lot::Mutex;

use crate::dictionary::{self, DictionaryId, DictionarySource, builtin};
use crate::mix::{Predictor, WarmState};
use crate::{Error, Result};

/// A state that is being learned, or was. Its lock is held while it is learned: single-flight.
type Slot = Arc<Mutex<Option<Arc<WarmState>>>>;

struct Kept {
    slot: Slot,
    /// Bytes of the state; 0 while it is being learned.
    bytes: usize,
}

/// Warm states by dictionary. The one unused for longest is evicted first.
struct WarmStates {
    kept: Mutex<LruCache<DictionaryId, Kept>>,
    /// The most bytes that all states together may take, not counting those in use by a thread after they were evicted.
    most_bytes: usize,
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
    pub(super) fn state(&self, id: DictionaryId, predictor: &mut Predictor) -> Result<Arc<WarmState>> {
        if let Some(entry) = builtin::find(id) {
            return BUILTIN_STATES.get(id, || entry.learn(predictor));
        }
        self.states.get(id, || {
            let text = self.source.text(id)?.ok_or(Error::MissingDictionary { id })?;
            dictionary::check(id, &text)?;
            Ok(WarmState::learn(predictor, &text))
        })
    }
}

impl WarmStates {
    fn new(most_bytes: usize) -> WarmStates {
        WarmStates {
            kept: Mutex::new(LruCache::unbounded()),
            most_bytes,
        }
    }

    /// The state of this id, learned if it is not there.
    fn get(&self, id: DictionaryId, learn: impl FnOnce() -> Result<WarmState>) -> Result<Arc<WarmState>> {
        let new = || Kept {
            slot: Slot::default(),
            bytes: 0,
        };
        // The list is unlocked before learning, which may take as long as decoding a megabyte. Others wait for this
        // slot only.
        let slot = Arc::clone(&self.kept.lock().get_or_insert(id, new).slot);
        let mut state = slot.lock();
        if let Some(state) = &*state {
            return Ok(Arc::clone(state));
        }
        match learn() {
            Ok(learned) => {
                let learned = Arc::new(learned);
                *state = Some(Arc::clone(&learned));
                drop(state);
                self.keep(id, learned.bytes());
                Ok(learned)
            }
            Err(error) => {
                // Nothing is kept for ids that nobody has, however many a damaged or hostile store names.
                drop(state);
                self.kept.lock().pop(&id);
                Err(error)
            }
        }
    }

    /// Counts a state that was learned, and evicts those unused for longest until the others fit.
    fn keep(&self, id: DictionaryId, bytes: usize) {
        let mut kept = self.kept.lock();
        if let Some(entry) = kept.peek_mut(&id) {
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
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
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
        let dictionaries = Dictionaries::new(source.clone(), usize::MAX);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| dictionaries.state(ids[0], &mut Predictor::new()).unwrap());
            }
        });
        assert_eq!(source.1.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn memory_stays_within_the_bound() {
        let (source, ids) = source(12);
        let mut predictor = Predictor::new();
        let one = Dictionaries::new(source.clone(), usize::MAX)
            .state(ids[0], &mut predictor)
            .unwrap()
            .bytes();
        let dictionaries = Dictionaries::new(source.clone(), 3 * one + one / 2);
        for id in ids.iter().chain(&ids) {
            dictionaries.state(*id, &mut predictor).unwrap();
            assert!(dictionaries.states.bytes() <= 3 * one + one / 2);
        }
        let before = source.1.load(Ordering::Relaxed);
        dictionaries.state(ids[11], &mut predictor).unwrap();
        assert_eq!(source.1.load(Ordering::Relaxed), before, "the newest is kept");
        dictionaries.state(ids[0], &mut predictor).unwrap();
        assert_eq!(source.1.load(Ordering::Relaxed), before + 1, "the oldest was evicted");
    }

    #[test]
    fn a_missing_dictionary_leaves_nothing_behind() {
        let (source, _) = source(1);
        let dictionaries = Dictionaries::new(source, usize::MAX);
        for i in 0..100 {
            let error = dictionaries
                .state(DictionaryId([i, 0, 0, 0]), &mut Predictor::new())
                .unwrap_err();
            assert!(matches!(error, Error::MissingDictionary { .. }), "{error}");
        }
        assert_eq!(dictionaries.states.kept.lock().len(), 0);
    }
}
