//! What ends a mount.

use std::sync::mpsc;

/// What a daemon waits for.
#[derive(Debug)]
pub enum Event {
    /// A signal that says to end.
    Signal(i32),
    /// The kernel let go of the mount.
    Ended(anyhow::Result<()>),
    /// A client wants the mount gone and to know when all is durable.
    Asked(mpsc::Sender<anyhow::Result<()>>),
}
