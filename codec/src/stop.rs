//! Interrupting work that takes seconds, and seeing how far it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::{Error, Result};

/// A flag shared with a thread that encodes or decodes: once [set](Stop::set), that work returns
/// [`Error::Interrupted`] within about one step of the model. Clones share the flag.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Flag>);

#[derive(Debug, Default)]
struct Flag {
    set: AtomicBool,
    coded: AtomicU64,
    parent: Option<Stop>,
}

impl Stop {
    /// How often whoever waits for something else looks whether it is to stop. Nobody notices that it takes so long.
    pub const TICK: Duration = Duration::from_millis(100);

    /// A flag that is not set.
    pub fn new() -> Stop {
        Stop::default()
    }

    /// A flag for a part of the work: it counts as set once this one is, and can be set without it.
    pub fn child(&self) -> Stop {
        Stop(Arc::new(Flag {
            set: AtomicBool::new(false),
            coded: AtomicU64::new(0),
            parent: Some(self.clone()),
        }))
    }

    /// Asks for the work to end. It cannot be taken back.
    pub fn set(&self) {
        self.0.set.store(true, Ordering::Relaxed);
    }

    /// Whether the work was asked to end.
    pub fn is_set(&self) -> bool {
        self.0.set.load(Ordering::Relaxed) || self.0.parent.as_ref().is_some_and(Stop::is_set)
    }

    /// Bytes that a language model has coded so far under this flag and its parts. Encoding a block counts each of its
    /// bytes twice if the model's form of it is taken, as that is decoded and compared.
    pub fn coded(&self) -> u64 {
        self.0.coded.load(Ordering::Relaxed)
    }

    pub(crate) fn count(&self, bytes: u64) {
        self.0.coded.fetch_add(bytes, Ordering::Relaxed);
        if let Some(parent) = &self.0.parent {
            parent.count(bytes);
        }
    }

    /// [`Error::Interrupted`] if the flag is set.
    pub fn check(&self) -> Result<()> {
        if self.is_set() { Err(Error::Interrupted) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::Stop;

    #[test]
    fn a_part_stops_with_the_whole_and_not_the_other_way_round() {
        let whole = Stop::new();
        let (one, other) = (whole.child(), whole.child());
        one.set();
        assert!(one.is_set() && !whole.is_set() && !other.is_set());
        whole.set();
        assert!(other.is_set() && other.child().is_set());
    }

    #[test]
    fn what_a_part_has_coded_the_whole_has() {
        let whole = Stop::new();
        let (one, other) = (whole.child(), whole.child().child());
        one.count(3);
        other.count(4);
        assert_eq!((one.coded(), other.coded(), whole.coded()), (3, 4, 7));
    }
}
