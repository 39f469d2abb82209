//! Counts every panic of the process, in whatever thread: each one is a bug, however well it was caught.

use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

static PANICS: AtomicU64 = AtomicU64::new(0);
static WATCHING: Once = Once::new();

/// From now on panics are counted, before they are reported as ever.
pub fn watch_panics() {
    WATCHING.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANICS.fetch_add(1, Ordering::Relaxed);
            report(info);
        }));
    });
}

/// Panics since [`watch_panics`].
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_any_thread_is_counted() {
        watch_panics();
        watch_panics();
        let before = panics();
        let thread = std::thread::spawn(|| std::panic::resume_unwind(Box::new("not reported, and not counted")));
        assert!(thread.join().is_err());
        #[allow(clippy::panic, reason = "what is tested")]
        let thread = std::thread::spawn(|| panic!("expected by this test"));
        assert!(thread.join().is_err());
        // Other tests of this process may panic, too.
        assert!(panics() > before);
    }
}
