//! The process behind a mount: background start, signals, readiness, control socket, periodic work.

mod announce;
pub mod control;
pub mod mountinfo;
pub mod mountpoint;
mod options;
pub mod service_manager;
pub mod unmount;

pub use announce::{Announcer, detach, start_background};
pub use options::{Options, PackMode};
