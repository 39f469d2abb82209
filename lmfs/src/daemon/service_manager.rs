//! What systemd wants to hear (sd_notify(3)). Without systemd all of this does nothing.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use sd_notify::NotifyState;

/// Says that the mount is up.
pub fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Says that the end has begun.
pub fn stopping(text: &str) {
    notify(&[NotifyState::Stopping, NotifyState::Status(text)]);
}

/// Feeds the watchdog if systemd wants it fed (WatchdogSec=): as long as the mount answers. It is asked for the
/// attributes of its root, which the event loop answers without decoding or waiting for anything, so slow decodes do
/// not matter and a dead event loop does.
///
/// A filesystem should not use its own mount: if the event loop hangs, so does this thread. Here that is the point,
/// and the thread holds nothing that others need.
///
/// # Errors
/// No thread can be started.
pub fn start_watchdog(mountpoint: PathBuf) -> std::io::Result<()> {
    let Some(timeout) = sd_notify::watchdog_enabled() else {
        return Ok(());
    };
    let pause = (timeout / 3).max(Duration::from_millis(100));
    tracing::info!(?timeout, "the watchdog is on");
    let feed = move || {
        loop {
            let answer = rustix::fs::statx(
                rustix::fs::CWD,
                &mountpoint,
                rustix::fs::AtFlags::STATX_FORCE_SYNC,
                rustix::fs::StatxFlags::BASIC_STATS,
            );
            match answer {
                Ok(_) => notify(&[NotifyState::Watchdog]),
                Err(error) => tracing::error!("the mount does not answer: {error}"),
            }
            thread::sleep(pause);
        }
    };
    thread::Builder::new().name("watchdog".into()).spawn(feed)?;
    Ok(())
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("cannot notify the service manager: {error}");
    }
}
