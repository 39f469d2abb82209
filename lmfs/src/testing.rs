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

/// The first `len` bytes of a table: text whose rows are alike and all different.
pub fn table(len: usize) -> Vec<u8> {
    let row = |n: u32| {
        let value = f64::from(n % 400) / 8.0;
        format!("{},{value:.1},\"station {}\"\n", n * 7919 % 1009, n % 13)
    };
    (0..).flat_map(|n| row(n).into_bytes()).take(len).collect()
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
