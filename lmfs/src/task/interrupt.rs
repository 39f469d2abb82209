//! Ending a request whose caller no longer wants the answer.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Waker};

use parking_lot::Mutex;

/// Interrupts one future. Clones share it.
#[derive(Clone, Default)]
pub struct Interrupt(Arc<Shared>);

#[derive(Default)]
struct Shared {
    set: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Interrupt {
    /// Interrupts: the future is dropped where it waits.
    pub fn set(&self) {
        self.0.set.store(true, Ordering::SeqCst);
        if let Some(waker) = self.0.waker.lock().take() {
            waker.wake();
        }
    }

    /// The result of `future`, or `None` if it was interrupted before it ended.
    pub async fn unless_set<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        poll_fn(|context| {
            // The waker first: an interrupt that comes after the look at the flag must find it.
            *self.0.waker.lock() = Some(context.waker().clone());
            if self.0.set.load(Ordering::SeqCst) {
                return Poll::Ready(None);
            }
            future.as_mut().poll(context).map(Some)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::super::wait;
    use super::*;

    #[test]
    fn a_future_that_waits_for_ever_is_ended_and_dropped() {
        let interrupt = Interrupt::default();
        let held = Arc::new(());
        let inside = held.clone();
        let other = interrupt.clone();
        let thread = std::thread::spawn(move || {
            let endless = async move {
                std::future::pending::<()>().await;
                drop(inside);
            };
            wait(other.unless_set(endless))
        });
        interrupt.set();
        assert_eq!(thread.join().ok(), Some(None));
        assert_eq!(Arc::strong_count(&held), 1);
        assert_eq!(wait(Interrupt::default().unless_set(async { 5 })), Some(5));
    }
}
