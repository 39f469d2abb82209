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

use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;

use lmfs_indexer::io::Directory;
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::progress::Progress;
use crate::workers::Workers;
pub use client::{Client, Failure};
pub use server::{Server, Service};

/// Longest line that a client accepts, in bytes.
const MAX_LINE: u64 = 4 << 20;

/// Longest request, in bytes: some hundred thousand inodes. In memory it can be thirty times as long.
const MAX_REQUEST: u64 = 1 << 20;

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
        /// Others who encode blocks, too.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        workers: Option<Workers>,
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

impl Request {
    /// Reads the line of a client.
    fn read(client: impl Read) -> Result<Request, ReadError> {
        let mut line = Vec::new();
        BufReader::new(client.take(MAX_REQUEST)).read_until(b'\n', &mut line)?;
        if line.len() as u64 == MAX_REQUEST && !line.ends_with(b"\n") {
            let why = format!("it is longer than {MAX_REQUEST} bytes: name folders instead of their files");
            return Err(ReadError::NoRequest(serde::de::Error::custom(why)));
        }
        Ok(serde_json::from_slice(&line)?)
    }
}

/// Why a client's request was not read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What came is no request.
    #[error(transparent)]
    NoRequest(#[from] serde_json::Error),
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

/// The name, no file, where the daemon of the mounted `filesystem` ([`MountInfo::filesystem`]) listens.
///
/// [`MountInfo::filesystem`]: crate::mountinfo::MountInfo::filesystem
fn name_of_mount(filesystem: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("lmfs/mount/{filesystem}"))
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
                again: false,
                workers: None
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

    /// A request and then something again and again, without an end; counts what is read of it.
    struct Endless(&'static [u8], &'static [u8], u64);

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            for byte in buffer.iter_mut() {
                let at = self.2 as usize;
                let again = at.saturating_sub(self.0.len()) % self.1.len();
                *byte = self.0.get(at).or(self.1.get(again)).copied().unwrap();
                self.2 += 1;
            }
            Ok(buffer.len())
        }
    }

    #[test]
    fn requests_take_bounded_memory_and_reading() {
        let pack = br#"{"request":"pack","jobs":1,"inodes":["#;
        for (start, again) in [
            (&b""[..], &b" "[..]),
            (b"", b"["),
            (b"", br#"{"a":"#),
            (br#"{"request":""#, b"x"),
            (br#"{"request":""#, br"\u0000"),
            (pack, b"1,"),
            (pack, b"[],"),
            (pack, b"1.5e300,"),
            (br#"{"request":"gc","#, br#""a":0,"#),
            (b"", b"\xff"),
        ] {
            let mut client = Endless(start, again, 0);
            let (peak, request) = crate::testing::memory::memory(|| Request::read(&mut client));
            let (start, again) = (start.escape_ascii(), again.escape_ascii());
            println!("{start}{again}...: {} bytes read, {peak} of memory", client.2);
            let message = request.unwrap_err().to_string();
            assert!(message.contains("longer than"), "{message}");
            assert!(client.2 <= MAX_REQUEST + (8 << 10) && peak <= 4 << 20, "{start}{again}");
        }
        // As long as it may be.
        // What a request has beside its fields is passed over if it has none of its own.
        for (start, item, good) in [
            (&pack[..], "1", true),
            (pack, "[]", false),
            (br#"{"request":"gc","a":["#, "0", true),
        ] {
            let most = (MAX_REQUEST as usize - start.len() - 8) / (item.len() + 1);
            let line = [start, vec![item; most].join(",").as_bytes(), b"]}\n"].concat();
            let (peak, request) = crate::testing::memory::memory(|| Request::read(&line[..]));
            println!("{most} of {item}: {peak} of memory, {}", request.is_ok());
            assert_eq!(request.is_ok(), good, "{item}");
            assert!(peak <= 64 << 20, "{most} of {item}: {peak}");
        }
    }
}
