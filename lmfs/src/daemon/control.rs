//! The control socket, `STORE/control.sock`: how commands talk to the daemon of a mounted store.
//!
//! A client sends one request as a line of JSON and gets lines of JSON back: any number of `progress` and `alive`,
//! then one `done` or `error`. `alive` comes every second, so a client can tell a busy daemon from a dead one and the
//! daemon notices a client that went away. Who may connect is decided by the store folder (0700) and the socket (0600).
//!
//! The socket's file may be removed, or the folder be one that cannot be written. So the daemon also listens at names
//! that are no files (abstract sockets, unix(7)): one says which folder it has, one which mount, and neither changes
//! when these are moved. Anybody may connect there; both sides ask the kernel who the other is.

mod client;
mod server;

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;

use lmfs_indexer::io::Directory;
use rustix::process::Pid;
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
        /// What is packed already, too.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        again: bool,
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

/// Name of the socket's file in the store.
const FILE: &str = "control.sock";

/// The name, no file, where the daemon of the store in the folder `dir` listens.
fn name_of_store(dir: &Directory) -> io::Result<SocketAddr> {
    let (device, inode) = dir.stat()?.id;
    SocketAddr::from_abstract_name(format!("lmfs/store/{device:x}-{inode:x}"))
}

/// The name, no file, where the daemon of the mount on `device` (as `0:52`) listens.
fn name_of_mount(device: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("lmfs/mount/{device}"))
}

/// Who is at the other end of a socket.
#[derive(Debug, Clone, Copy)]
struct Peer {
    uid: u32,
    /// None if it cannot be seen from here.
    pid: Option<Pid>,
}

#[allow(
    unsafe_code,
    reason = "rustix takes every pid for one that can be seen, and 0 is one that cannot"
)]
fn peer(socket: impl AsFd) -> io::Result<Peer> {
    let mut found = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut len = libc::socklen_t::try_from(size_of::<libc::ucred>()).map_err(io::Error::other)?;
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most `len` bytes to `found`, whose size that is; any bytes are a ucred.
    let done = unsafe {
        libc::getsockopt(
            socket,
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut found).cast(),
            &raw mut len,
        )
    };
    match done {
        0 => Ok(Peer {
            uid: found.uid,
            pid: Pid::from_raw(found.pid),
        }),
        _ => Err(io::Error::last_os_error()),
    }
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
                jobs: 2,
                again: false
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
