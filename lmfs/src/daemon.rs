//! The process behind a mount: background start, signals, readiness, control socket, periodic work.

mod announce;
pub mod control;
mod control_service;
mod event;
mod follower;
mod guard;
mod inherited;
mod log;
pub mod mountpoint;
mod options;
mod run;
pub mod running;
pub mod service_manager;
pub mod status;
pub mod unmount;

pub use announce::{Announcer, detach, start_background};
pub use log::Log;
pub use options::{Options, PackMode};
pub use run::{MountRequest, run};
