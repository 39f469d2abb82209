//! Interrupting work that takes seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Error, Result};

/// A flag shared with a thread that encodes or decodes: once [set](Stop::set), that work returns
/// [`Error::Interrupted`] within about one step of the model. Clones share the flag.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Flag>);

#[derive(Debug, Default)]
struct Flag {
    set: AtomicBool,
    parent: Option<Stop>,
}

impl Stop {
    /// A flag that is not set.
    pub fn new() -> Stop {
        Stop::default()
    }

    /// A flag for a part of the work: it counts as set once this one is, and can be set without it.
    pub fn child(&self) -> Stop {
        Stop(Arc::new(Flag {
            set: AtomicBool::new(false),
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
}
