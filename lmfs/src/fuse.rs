//! FUSE: a thin adapter between the kernel and [`Filesystem`](crate::fs::Filesystem).
//!
//! An operation is taken apart into the filesystem's own types, run, and answered. What may wait for a decode or the
//! disk is a future that is run elsewhere ([`crate::task`]), so that the event loops stay free. A panic is caught
//! around every operation and answered with EIO.
//!
//! Mounting is done here and not by fuser 0.18.0, which may unmount a stranger's filesystem when a session ends (its
//! check whether it is still mounted is inverted) and lets commas in a name become options.

mod adapter;
mod answer;
mod capabilities;
mod connect;
mod convert;
mod helper;
mod killed;
mod list;
mod reply;
mod request;
mod session;

pub use connect::Options;
pub use helper::fusermount;
pub use reply::believe_for;
pub use session::{Session, mount};

#[cfg(test)]
mod tests;
