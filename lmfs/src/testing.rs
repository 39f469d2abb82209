//! What several modules' tests need.

pub mod gate;
// Each program of tests has an allocator of its own, and both are this one.
#[path = "../../indexer/src/testing.rs"]
pub mod memory;
#[path = "../../indexer/tests/workload/soak.rs"]
pub mod soak;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Waits until `condition` holds, a minute at most.
#[track_caller]
pub fn until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What this thread logs while it does `work`.
pub fn logged(work: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let kept = Kept::default();
    let target = kept.clone();
    let log = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || target.clone());
    tracing::subscriber::with_default(log.finish(), work);
    let bytes = kept.0.lock();
    String::from_utf8_lossy(&bytes).into_owned()
}
