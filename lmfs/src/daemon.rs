//! The process behind a mount: background start, signals, readiness, control socket, periodic work.

pub mod control;
pub mod mountinfo;
pub mod mountpoint;
mod options;
pub mod unmount;

pub use options::{Options, PackMode};
