//! The control socket, `STORE/control.sock`: how commands talk to the daemon of a mounted store.
//!
//! A client sends one request as a line of JSON and gets lines of JSON back: any number of `progress` and `alive`,
//! then one `done` or `error`. `alive` comes every second, so a client can tell a busy daemon from a dead one and the
//! daemon notices a client that went away. Who may connect is decided by the store folder (0700) and the socket (0600).
//!
//! Where the store's folder cannot be written, the socket is `lmfs/DEVICE-INODE.sock` (of the folder) in `/run`, or in a
//! user's `XDG_RUNTIME_DIR`.

mod client;
mod server;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::progress::Progress;
pub use client::{Client, Failure};
pub use server::{Server, Service};

/// Longest line that either side accepts, in bytes.
const MAX_LINE: u64 = 4 << 20;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// What `lmfs status` shows.
    Status,
    /// Compress now.
    Pack {
        /// Inodes of files and folders to pack; empty for all.
        inodes: Vec<u64>,
        /// Blocks to encode at a time; 0 for the default.
        jobs: u16,
    },
    /// Collect garbage in the log.
    Gc,
    /// Decode every block.
    Check {
        /// Go on where an interrupted check ended.
        resume: bool,
        /// Bytes of the log read a second, at most; 0: as many as there are.
        max_rate: u64,
    },
    /// Make everything durable.
    Sync,
    /// Make everything durable, unmount and end.
    Shutdown,
}

/// What a daemon answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// Still at it.
    Alive,
    /// How far it is.
    Progress(Progress),
    /// The last line: it is done.
    Done {
        /// What came out, by request.
        result: Value,
    },
    /// The last line: it failed.
    Error {
        /// Why, for people.
        message: String,
    },
}

/// The result of a request that is only done or not.
#[derive(Debug, Serialize, Deserialize)]
pub struct Nothing {}

/// A path for the socket of the store in `dir` that fits into a socket address (108 bytes) however long `dir` is:
/// through `/proc/self/fd`. The returned handle must live as long as the path is used.
fn address(dir: &Path) -> std::io::Result<(std::fs::File, PathBuf)> {
    use std::os::fd::AsRawFd;
    let handle = std::fs::File::open(dir)?;
    let path = format!("/proc/self/fd/{}/control.sock", handle.as_raw_fd());
    Ok((handle, path.into()))
}

/// The path of the socket of the store in `dir` if that folder cannot be written: named after the folder's device and
/// inode, so that it is the same from wherever the folder is reached.
fn elsewhere(dir: &Path) -> std::io::Result<PathBuf> {
    use std::os::unix::fs::MetadataExt;
    let folder = std::fs::metadata(dir)?;
    let run = match rustix::process::geteuid().is_root() {
        true => PathBuf::from("/run"),
        false => std::env::var_os("XDG_RUNTIME_DIR")
            .map(PathBuf::from)
            .filter(|run| run.is_absolute())
            .ok_or_else(|| std::io::Error::other("XDG_RUNTIME_DIR is not set"))?,
    };
    Ok(run
        .join("lmfs")
        .join(format!("{:x}-{:x}.sock", folder.dev(), folder.ino())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn requests_are_lines_that_people_can_type() {
        let text = r#"{"request":"pack","inodes":[5],"jobs":2}"#;
        assert_eq!(
            serde_json::from_str::<Request>(text).unwrap(),
            Request::Pack {
                inodes: vec![5],
                jobs: 2
            }
        );
        assert_eq!(
            serde_json::to_string(&Request::Status).unwrap(),
            r#"{"request":"status"}"#
        );
        for bad in ["{}", "[]", r#"{"request":"format-disk"}"#, r#"{"request":"pack"}"#] {
            assert!(serde_json::from_str::<Request>(bad).is_err(), "{bad}");
        }
    }
}
