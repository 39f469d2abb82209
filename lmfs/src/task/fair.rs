//! A queue in which users take turns, and the threads of each user among themselves.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Who asked for some work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Asker {
    /// The user.
    pub uid: u32,
    /// The thread, as the kernel numbers it.
    pub pid: u32,
}

impl Asker {
    /// The daemon itself. No user has this number: it is the one that stands for "no change" in chown(2).
    pub const DAEMON: Asker = Asker { uid: u32::MAX, pid: 0 };
}

/// A queue that serves users in turn, within a user its threads in turn, and within a thread in order of arrival.
pub struct FairQueue<T> {
    users: Turns<u32, Turns<u32, VecDeque<T>>>,
}

impl<T> Default for FairQueue<T> {
    fn default() -> FairQueue<T> {
        FairQueue {
            users: Turns::default(),
        }
    }
}

impl<T> FairQueue<T> {
    /// Adds an item of `asker`'s.
    pub fn push(&mut self, asker: Asker, item: T) {
        self.users.queue(asker.uid).queue(asker.pid).push_back(item);
    }

    /// Takes the next item.
    pub fn pop(&mut self) -> Option<T> {
        let of_thread = |items: &mut VecDeque<T>| (items.pop_front(), items.is_empty());
        self.users
            .next(|threads| (threads.next(of_thread), threads.order.is_empty()))
    }
}

/// Queues that take turns. One that is empty is not kept.
struct Turns<K, Q> {
    order: VecDeque<K>,
    queues: HashMap<K, Q>,
}

impl<K, Q> Default for Turns<K, Q> {
    fn default() -> Turns<K, Q> {
        Turns {
            order: VecDeque::new(),
            queues: HashMap::new(),
        }
    }
}

impl<K: Copy + Eq + Hash, Q: Default> Turns<K, Q> {
    fn queue(&mut self, key: K) -> &mut Q {
        self.queues.entry(key).or_insert_with(|| {
            self.order.push_back(key);
            Q::default()
        })
    }

    /// What `take` takes from the queue whose turn it is; `take` also says whether that one is empty now.
    fn next<T>(&mut self, take: impl FnOnce(&mut Q) -> (Option<T>, bool)) -> Option<T> {
        let key = self.order.pop_front()?;
        let (item, empty) = take(self.queues.get_mut(&key)?);
        if empty {
            self.queues.remove(&key);
        } else {
            self.order.push_back(key);
        }
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asker(uid: u32, pid: u32) -> Asker {
        Asker { uid, pid }
    }

    #[test]
    fn users_take_turns_and_so_do_the_threads_of_one() {
        let mut queue = FairQueue::default();
        for item in ["a1", "a2", "a3"] {
            queue.push(asker(1, 10), item);
        }
        queue.push(asker(1, 11), "b1");
        queue.push(asker(2, 20), "c1");
        queue.push(asker(2, 20), "c2");
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, ["a1", "c1", "b1", "c2", "a2", "a3"]);
        assert!(queue.users.queues.is_empty(), "an empty queue is not kept");
    }

    #[test]
    fn who_comes_late_waits_for_one_turn_of_each_other_user() {
        let mut queue = FairQueue::default();
        (0..1000).for_each(|n| queue.push(asker(1, n), "many"));
        queue.push(asker(2, 1), "one");
        let place = std::iter::from_fn(|| queue.pop()).position(|item| item == "one");
        assert_eq!(place, Some(1));
    }
}
