//! Counting what a test takes of memory.
#![allow(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Bytes that this thread has, and the most that it had. Other tests run on other threads.
    static LIVE: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

/// The most memory, in bytes, that this thread had at a time while it did `work`, beside what it had before.
pub fn memory<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = LIVE.get().0;
    LIVE.set((before, before));
    let result = work();
    ((LIVE.get().1 - before) as usize, result)
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(by: isize) {
    // A thread that ends frees what it had when it can count no more.
    let _ = LIVE.try_with(|live| {
        let (now, most) = live.get();
        live.set((now + by, most.max(now + by)));
    });
}

// SAFETY: every call goes on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the promises that this method asks of it.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}
