#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::sync::{Barrier, mpsc};
use std::time::Duration;

use super::*;
use crate::task::wait;

const ME: Asker = Asker { uid: 1, pid: 1 };

impl Blocks<u64> {
    fn fetch_wait(&self, key: u64, cost: Cost) -> Loaded {
        wait(self.fetch(key, cost, ME))
    }

    /// Has `done` told of the key when the block is there.
    fn tell(&self, key: u64, cost: Cost, asker: Asker, done: &mpsc::Sender<u64>) {
        let (fetch, done) = (self.fetch(key, cost, asker), done.clone());
        std::thread::spawn(move || {
            let _ = wait(fetch);
            done.send(key).unwrap();
        });
    }
}

/// Loads are counted, take a while, fail for key 13 and panic for key 14.
struct Slow(Arc<AtomicU64>);

impl Source<u64> for Slow {
    fn load(&self, key: &u64, _: Option<Loaded>) -> Result<Vec<u8>, LoadError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(20));
        match key {
            13 => Err(LoadError::new(LoadErrorKind::Damaged, "bad luck")),
            14 => panic!("expected by this test"),
            key => Ok(vec![u8::try_from(*key).unwrap(); 1000]),
        }
    }
}

fn blocks(capacity: usize) -> (Blocks<u64>, Arc<AtomicU64>) {
    let loads = Arc::new(AtomicU64::new(0));
    let blocks = Blocks::new(Box::new(Slow(loads.clone())), capacity, 2).unwrap();
    (blocks, loads)
}

#[test]
fn many_readers_of_one_block_cause_one_decode() {
    let (blocks, loads) = blocks(1 << 20);
    let barrier = Arc::new(Barrier::new(64));
    let readers: Vec<_> = (0..64)
        .map(|_| {
            let (blocks, barrier) = (blocks.clone(), barrier.clone());
            std::thread::spawn(move || {
                barrier.wait();
                blocks.fetch_wait(5, Cost::Expensive).unwrap()
            })
        })
        .collect();
    for reader in readers {
        assert_eq!(*reader.join().unwrap(), vec![5; 1000]);
    }
    assert_eq!(loads.load(Ordering::SeqCst), 1);
    assert_eq!(blocks.stats().decodes, 1);
    assert!(blocks.cached(&5).is_some());
}

#[test]
fn a_failure_reaches_all_who_wait_and_is_not_cached() {
    let (blocks, loads) = blocks(1 << 20);
    for _ in 0..2 {
        let error = blocks.fetch_wait(13, Cost::Cheap).unwrap_err();
        assert_eq!(error.kind, LoadErrorKind::Damaged);
    }
    assert_eq!(loads.load(Ordering::SeqCst), 2);
    let error = blocks.fetch_wait(14, Cost::Expensive).unwrap_err();
    assert_eq!(error.kind, LoadErrorKind::Failed);
    assert_eq!(*blocks.fetch_wait(1, Cost::Expensive).unwrap(), vec![1; 1000]);
    assert_eq!(blocks.stats().failures, 3);
    assert_eq!(blocks.panics(), 1);
}

#[test]
fn cheap_blocks_do_not_wait_behind_dear_ones() {
    let (blocks, _) = blocks(1 << 20);
    let (send, receive) = mpsc::channel();
    for key in 20..40 {
        blocks.tell(key, Cost::Expensive, ME, &send);
    }
    blocks.tell(1, Cost::Cheap, ME, &send);
    let order: Vec<u64> = receive.iter().take(21).collect();
    let place = order.iter().position(|key| *key == 1).unwrap();
    assert!(place < 10, "the cheap block was answered as number {place}");
}

#[test]
fn read_ahead_can_be_taken_back_and_a_reader_makes_it_urgent() {
    let (blocks, loads) = blocks(1 << 20);
    let (send, receive) = mpsc::channel();
    for key in 20..24 {
        blocks.tell(key, Cost::Expensive, ME, &send);
    }
    for key in 30..40 {
        blocks.read_ahead(key, Cost::Expensive);
    }
    blocks.tell(39, Cost::Expensive, ME, &send);
    blocks.cancel_read_ahead(30..40);
    let mut order: Vec<u64> = receive.iter().take(5).collect();
    order.sort_unstable();
    assert_eq!(order, [20, 21, 22, 23, 39]);
    blocks.shutdown();
    assert_eq!(loads.load(Ordering::SeqCst), 5, "what was taken back was not decoded");
}

#[test]
fn a_moved_block_stays_in_memory_under_its_new_place() {
    let (blocks, loads) = blocks(1 << 20);
    blocks.fetch_wait(3, Cost::Expensive).unwrap();
    blocks.moved(&3, 300);
    assert!(blocks.cached(&3).is_none());
    assert_eq!(*blocks.fetch_wait(300, Cost::Expensive).unwrap(), vec![3; 1000]);
    assert_eq!(loads.load(Ordering::SeqCst), 1);
}

/// Loads of odd keys hang until they are let go.
struct Hanging(Arc<(Mutex<bool>, parking_lot::Condvar)>);

impl Source<u64> for Hanging {
    fn load(&self, key: &u64, _: Option<Loaded>) -> Result<Vec<u8>, LoadError> {
        let mut free = self.0.0.lock();
        while key % 2 == 1 && !*free {
            self.0.1.wait(&mut free);
        }
        Ok(vec![u8::try_from(*key).unwrap()])
    }
}

#[test]
fn a_load_that_hangs_stops_nobody_else_and_is_known_to_be_awaited() {
    let gate = Arc::new((Mutex::new(false), parking_lot::Condvar::new()));
    let blocks = Blocks::new(Box::new(Hanging(gate.clone())), 1 << 20, 2).unwrap();
    assert!(!blocks.is_awaited());
    let (send, receive) = mpsc::channel();
    blocks.tell(1, Cost::Expensive, ME, &send);
    assert!(blocks.is_awaited());
    for key in [2, 4, 6] {
        let cost = if key == 4 { Cost::Cheap } else { Cost::Expensive };
        assert_eq!(*blocks.fetch_wait(key, cost).unwrap(), [u8::try_from(key).unwrap()]);
    }
    assert!(receive.try_recv().is_err(), "it still hangs");
    *gate.0.lock() = true;
    gate.1.notify_all();
    assert_eq!(receive.recv().unwrap(), 1);
    blocks.shutdown();
    assert!(!blocks.is_awaited());
}

/// Regression: one queue for all: a user's thousand reads made everybody else wait for a thousand decodes.
#[test]
fn a_user_with_many_reads_delays_another_by_one() {
    let (blocks, _) = blocks(1 << 20);
    let (send, receive) = mpsc::channel();
    for key in 20..60 {
        blocks.tell(key, Cost::Expensive, ME, &send);
    }
    // The same block as one of the others', and one of its own.
    let other = Asker { uid: 2, pid: 1 };
    blocks.tell(59, Cost::Expensive, other, &send);
    blocks.tell(100, Cost::Expensive, other, &send);
    let order: Vec<u64> = receive.iter().take(42).collect();
    for key in [59, 100] {
        let place = order.iter().position(|done| *done == key).unwrap();
        assert!(place < 12, "block {key} came as number {place}");
    }
}

/// Regression: what a killed program had asked for was decoded to the end, before what others asked for.
#[test]
fn what_nobody_waits_for_any_more_is_not_decoded() {
    let (blocks, loads) = blocks(1 << 20);
    let fetches: Vec<_> = (20..60).map(|key| blocks.fetch(key, Cost::Expensive, ME)).collect();
    drop(fetches);
    assert!(!blocks.is_awaited());
    blocks.fetch_wait(1, Cost::Expensive).unwrap();
    blocks.shutdown();
    let decoded = loads.load(Ordering::SeqCst);
    assert!(decoded <= 3, "{decoded} blocks were decoded, of which one was wanted");
    assert_eq!(blocks.stats().blocks, decoded);
}

/// The block n needs n - 1, but multiples of ten need nothing. Each is made of the one that it needs.
struct Chained(Arc<AtomicU64>);

impl Source<u64> for Chained {
    fn reference(&self, key: &u64) -> Result<Option<u64>, LoadError> {
        Ok((!key.is_multiple_of(10)).then(|| key - 1))
    }

    fn load(&self, key: &u64, reference: Option<Loaded>) -> Result<Vec<u8>, LoadError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(1));
        if *key == 40 {
            return Err(LoadError::new(LoadErrorKind::Damaged, "bad luck"));
        }
        let mut made = reference.transpose()?.map_or_else(Vec::new, |block| block.to_vec());
        made.push(u8::try_from(*key).unwrap());
        Ok(made)
    }
}

/// However small the cache, however many readers: each block of a chain is decoded for its readers, and nobody waits
/// for ever.
#[test]
fn a_block_that_needs_others_is_decoded_after_them() {
    for capacity in [0, 3, 1 << 20] {
        let loads = Arc::new(AtomicU64::new(0));
        let blocks = Blocks::new(Box::new(Chained(loads.clone())), capacity, 2).unwrap();
        assert_eq!(*blocks.fetch_wait(13, Cost::Expensive).unwrap(), [10, 11, 12, 13]);
        assert_eq!(loads.load(Ordering::SeqCst), 4, "its own block and its chain");
        let (send, receive) = mpsc::channel();
        for key in (20..40).rev() {
            blocks.tell(
                key,
                Cost::Expensive,
                Asker {
                    uid: 1,
                    pid: key as u32,
                },
                &send,
            );
        }
        for _ in 20..40 {
            receive.recv_timeout(Duration::from_secs(60)).unwrap();
        }
        if capacity > 1000 {
            assert_eq!(loads.load(Ordering::SeqCst), 24, "each once");
        }
        assert_eq!(*blocks.fetch_wait(32, Cost::Expensive).unwrap(), [30, 31, 32]);
        blocks.shutdown();
    }
}

/// [`Chained`], with each load allowed by the test.
struct Gated(Chained, Mutex<mpsc::Receiver<()>>);

impl Source<u64> for Gated {
    fn reference(&self, key: &u64) -> Result<Option<u64>, LoadError> {
        self.0.reference(key)
    }

    fn load(&self, key: &u64, reference: Option<Loaded>) -> Result<Vec<u8>, LoadError> {
        let loaded = self.0.load(key, reference);
        self.1.lock().recv_timeout(Duration::from_secs(60)).unwrap();
        loaded
    }
}

/// Regression: a chain was decoded to its end after its reader had gone.
#[test]
fn a_chain_whose_readers_are_gone_is_not_decoded_further() {
    let loads = Arc::new(AtomicU64::new(0));
    let (allow, allowed) = mpsc::channel();
    let gated = Gated(Chained(loads.clone()), Mutex::new(allowed));
    let blocks = Blocks::new(Box::new(gated), 1 << 20, 1).unwrap();
    let (gone, stays) = (
        blocks.fetch(19, Cost::Expensive, ME),
        blocks.fetch(12, Cost::Expensive, ME),
    );
    while loads.load(Ordering::SeqCst) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(gone);
    (0..10).for_each(|_| allow.send(()).unwrap());
    assert_eq!(*wait(stays).unwrap(), [10, 11, 12]);
    // The one thread looks at what is next before it takes this.
    assert_eq!(*blocks.fetch_wait(20, Cost::Expensive).unwrap(), [20]);
    assert_eq!(loads.load(Ordering::SeqCst), 4, "10, 11, 12 and 20");
    assert!(!blocks.is_awaited());
    // A later reader begins anew.
    assert_eq!(blocks.fetch_wait(14, Cost::Expensive).unwrap().len(), 5);
    blocks.shutdown();
}

#[test]
fn a_damaged_block_fails_those_that_need_it_and_no_other() {
    let blocks = Blocks::new(Box::new(Chained(Arc::default())), 1 << 20, 2).unwrap();
    for key in [43, 40, 41] {
        let error = blocks.fetch_wait(key, Cost::Expensive).unwrap_err();
        assert_eq!(error.kind, LoadErrorKind::Damaged, "{key}: {error}");
    }
    assert_eq!(*blocks.fetch_wait(51, Cost::Expensive).unwrap(), [50, 51]);
}

/// Panics when it is asked what key 3 needs.
struct Panicking;

impl Source<u64> for Panicking {
    fn reference(&self, key: &u64) -> Result<Option<u64>, LoadError> {
        assert_ne!(*key, 3, "expected by this test");
        Ok(None)
    }

    fn load(&self, _: &u64, reference: Option<Loaded>) -> Result<Vec<u8>, LoadError> {
        reference.transpose().map(|_| vec![1])
    }
}

/// Regression: who waited for the block waited for ever.
#[test]
fn a_panic_at_the_look_for_a_reference_reaches_all_who_wait() {
    let blocks = Blocks::new(Box::new(Panicking), 1 << 20, 2).unwrap();
    let error = blocks.fetch_wait(3, Cost::Expensive).unwrap_err();
    assert_eq!(error.kind, LoadErrorKind::Failed);
    assert_eq!(blocks.panics(), 1);
    assert_eq!(*blocks.fetch_wait(1, Cost::Expensive).unwrap(), [1]);
}
