//! Work that waits without holding a thread.
//!
//! A request that may wait (for a decode, for the disk, for its turn at a file) is a future. An [`Executor`] polls it
//! on one of a few threads, and lets go of the thread whenever the future waits. So the number of requests that wait is
//! bounded by memory alone, and none of them keeps another from running. A thread never blocks for long in a poll: long
//! work is cut into steps with [`yield_now`] between them.
//!
//! Work is queued by who asked for it ([`Asker`]), and users take turns ([`FairQueue`]): many requests of one user
//! delay another user's by one step, not by all of them.

mod executor;
mod fair;
mod interrupt;
mod low_priority;
mod pool;
mod wait;

pub use executor::Executor;
pub use fair::{Asker, FairQueue};
pub use interrupt::Interrupt;
pub use low_priority::{at_normal_priority, low_priority_pool};
pub use pool::Pool;
pub use wait::{wait, yield_now};
