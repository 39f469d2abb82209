//! A command's side of the control socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;

use lmfs_indexer::io::Directory;
use rustix::process::{Pid, geteuid};
use serde::de::DeserializeOwned;

use super::{FILE, MAX_LINE, MAX_REQUEST, Progress, Reply, Request, name_of_mount, name_of_store, peer};
use crate::mountinfo::MountInfo;

/// The daemon gives a sign of life every second; a machine under heavy load may be late.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to the daemon of a mounted store.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
}

/// Why a request got no result.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The daemon said why.
    #[error("{0}")]
    Refused(String),
    /// No daemon takes it.
    #[error("the request has more than {MAX_REQUEST} bytes: name folders instead of each file in them")]
    TooLong,
    /// Not a word for half a minute.
    #[error("the daemon does not answer; its log may say why (lmfs.log in the store, or the journal)")]
    Silent,
    /// The daemon ended before it answered.
    #[error("the daemon ended before it answered; its log may say why (lmfs.log in the store, or the journal)")]
    Gone,
    /// What came back is not the protocol.
    #[error("the daemon's answer makes no sense ({0}); is it another version of lmfs?")]
    Garbled(String),
    /// The connection broke.
    #[error("cannot talk to the daemon: {0}")]
    Io(io::Error),
}

impl Client {
    /// Connects to the daemon of the store in the folder `dir`; `None` if there is none.
    ///
    /// # Errors
    /// When there is one that may not be asked.
    pub fn of_store(dir: &Directory) -> io::Result<Option<Client>> {
        let owner = rustix::fs::fstat(dir)?.st_uid;
        let trusted = |uid| [0, geteuid().as_raw(), owner].contains(&uid);
        // The path is never longer than a socket address may be, however deep the folder lies.
        let inside = connect(&SocketAddr::from_pathname(dir.reach().join(FILE))?, trusted);
        match inside {
            Ok(Some(client)) => Ok(Some(client)),
            // A socket that is not ours to ask, or a file in its place.
            Ok(None) | Err(_) => match connect(&name_of_store(dir)?, trusted)? {
                None => inside,
                found => Ok(found),
            },
        }
    }

    /// Connects to the daemon of `mount`, wherever its store is; `None` if there is none that can be reached.
    ///
    /// # Errors
    /// When there is one that may not be asked.
    pub fn of_mount(mount: &MountInfo) -> io::Result<Option<Client>> {
        // Anybody could listen there in its stead.
        connect(&name_of_mount(&mount.filesystem())?, |uid| mount.user_id == Some(uid))
    }

    /// The daemon's process, as the kernel knows it; none if it cannot be seen from here.
    #[must_use]
    pub fn pid(&self) -> Option<Pid> {
        peer(&self.stream).ok()?.pid
    }

    /// Sends a request and waits for its result; `progress` hears about it meanwhile.
    ///
    /// # Errors
    /// [`Failure`]; [`Failure::Garbled`] also when the result is not what this version expects.
    pub fn call<T: DeserializeOwned>(
        mut self,
        request: &Request,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<T, Failure> {
        let mut line = serde_json::to_vec(request).map_err(|e| Failure::Garbled(e.to_string()))?;
        line.push(b'\n');
        if line.len() as u64 > MAX_REQUEST {
            return Err(Failure::TooLong);
        }
        self.stream.write_all(&line).map_err(read_failure)?;
        let mut replies = BufReader::new(&self.stream);
        loop {
            let mut line = String::new();
            let n = (&mut replies)
                .take(MAX_LINE)
                .read_line(&mut line)
                .map_err(read_failure)?;
            if n == 0 {
                return Err(Failure::Gone);
            }
            match serde_json::from_str(&line).map_err(|e| Failure::Garbled(e.to_string()))? {
                Reply::Alive => {}
                Reply::Progress(step) => progress(step),
                Reply::Done { result } => {
                    return serde_json::from_value(result).map_err(|e| Failure::Garbled(e.to_string()));
                }
                Reply::Error { message } => return Err(Failure::Refused(message)),
            }
        }
    }
}

/// Connects to who listens at `address`, if that is somebody to be `trusted`.
fn connect(address: &SocketAddr, trusted: impl Fn(u32) -> bool) -> io::Result<Option<Client>> {
    let stream = match UnixStream::connect_addr(address) {
        Ok(stream) => stream,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => return Ok(None),
        Err(e) => return Err(e),
    };
    if !trusted(peer(&stream)?.uid) {
        tracing::debug!("somebody else listens where the daemon should");
        return Ok(None);
    }
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(Some(Client { stream }))
}

fn read_failure(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Failure::Silent,
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Failure::Gone,
        _ => Failure::Io(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Server, Service};
    use super::*;
    use lmfs_codec::Stop;
    use serde_json::Value;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    #[derive(Default)]
    struct Fake {
        stopped: AtomicBool,
    }

    impl Service for Fake {
        fn handle(&self, request: Request, progress: &(dyn Fn(Progress) + Sync), stop: &Stop) -> anyhow::Result<Value> {
            match request {
                Request::Status => Ok(serde_json::json!({"ratio": 0.25})),
                Request::Sync => {
                    progress(Progress {
                        stage: "syncing".into(),
                        done: 1,
                        total: 2,
                        note: String::new(),
                    });
                    Ok(Value::Null)
                }
                Request::Gc => {
                    while !stop.is_set() {
                        thread::sleep(Duration::from_millis(5));
                    }
                    self.stopped.store(true, Ordering::SeqCst);
                    anyhow::bail!("interrupted")
                }
                Request::Shutdown => std::panic::resume_unwind(Box::new("boom")),
                Request::Pack { .. } | Request::Check { .. } => anyhow::bail!("nothing to pack"),
            }
        }
    }

    fn open(dir: &Path) -> Directory {
        Directory::open(dir).unwrap()
    }

    fn start(dir: &Path) -> Server {
        Server::start(&open(dir), Arc::new(Fake::default())).unwrap()
    }

    fn call(dir: &Path, request: &Request) -> (Result<Value, Failure>, Vec<Progress>) {
        let mut steps = Vec::new();
        let client = Client::of_store(&open(dir)).unwrap().unwrap();
        (client.call(request, &mut |step| steps.push(step)), steps)
    }

    fn mount_of(store: &Path) -> MountInfo {
        MountInfo {
            id: 1,
            device: format!("test:{}", std::process::id()),
            mountpoint: "/mnt".into(),
            fstype: crate::mountinfo::FSTYPE.to_owned(),
            source: store.to_owned(),
            user_id: Some(geteuid().as_raw()),
        }
    }

    #[test]
    fn requests_are_answered_even_in_a_very_long_folder() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("x".repeat(200));
        std::fs::create_dir(&deep).unwrap();
        assert!(Client::of_store(&open(&deep)).unwrap().is_none());
        std::fs::write(deep.join("control.sock"), b"stale").unwrap();
        let server = start(&deep);

        assert_eq!(
            call(&deep, &Request::Status).0.unwrap(),
            serde_json::json!({"ratio": 0.25})
        );
        let (result, steps) = call(&deep, &Request::Sync);
        assert_eq!((result.unwrap(), steps.len()), (Value::Null, 1));
        let refused = call(
            &deep,
            &Request::Pack {
                inodes: vec![],
                jobs: 0,
                again: false,
                workers: None,
            },
        )
        .0
        .unwrap_err();
        assert_eq!(refused.to_string(), "nothing to pack");
        // A panic in one request is told to its client and harms nobody else.
        assert!(matches!(call(&deep, &Request::Shutdown).0, Err(Failure::Refused(_))));
        call(&deep, &Request::Status).0.unwrap();
        // What another version answers is an error, not zeros.
        let client = Client::of_store(&open(&deep)).unwrap().unwrap();
        let foreign = client.call::<crate::maintenance::GcSummary>(&Request::Status, &mut |_| ());
        assert!(matches!(foreign, Err(Failure::Garbled(_))), "{foreign:?}");

        drop(server);
        assert!(!deep.join("control.sock").exists());
    }

    /// A daemon removed the socket of the next one, which had the lock by then.
    #[test]
    fn a_socket_that_was_withdrawn_is_not_removed_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = start(dir.path());
        first.withdraw();
        assert!(Client::of_store(&open(dir.path())).unwrap().is_none());
        let _second = start(dir.path());
        drop(first);
        call(dir.path(), &Request::Status).0.unwrap();
    }

    #[test]
    fn nonsense_gets_an_error_and_not_a_hang() {
        let dir = tempfile::tempdir().unwrap();
        let _server = start(dir.path());
        for nonsense in ["hello\n", "\n", "{\"request\":\"explode\"}\n"] {
            let client = Client::of_store(&open(dir.path())).unwrap().unwrap();
            (&client.stream).write_all(nonsense.as_bytes()).unwrap();
            let mut reply = String::new();
            (&client.stream).read_to_string(&mut reply).unwrap();
            assert!(reply.contains("\"error\""), "{reply}");
        }
    }

    #[test]
    fn work_stops_when_its_client_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let fake = Arc::new(Fake::default());
        let _server = Server::start(&open(dir.path()), fake.clone()).unwrap();
        let client = Client::of_store(&open(dir.path())).unwrap().unwrap();
        (&client.stream).write_all(b"{\"request\":\"gc\"}\n").unwrap();
        drop(client);
        crate::testing::until("the work is stopped", || fake.stopped.load(Ordering::SeqCst));
    }

    /// Regression: the kernel gave the device of a mount to the next one, of another store, and `lmfs status` of that
    /// one asked the daemon that was still ending.
    #[test]
    fn a_device_is_left_to_the_next_mount() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (mut first, mut second) = (start(dir.path()), start(other.path()));
        let (before, next) = (mount_of(dir.path()), mount_of(other.path()));
        assert_eq!(before.device, next.device);
        first.listen_for(&before).unwrap();
        second.listen_for(&next).unwrap();
        drop(first);
        assert!(Client::of_mount(&before).unwrap().is_none());
        Client::of_mount(&next).unwrap().unwrap();
    }

    /// Regression: without the socket's file a living daemon was called gone.
    #[test]
    fn a_daemon_is_found_without_the_file_of_its_socket() {
        let dir = tempfile::tempdir().unwrap();
        let mut server = start(dir.path());
        let mount = mount_of(dir.path());
        assert!(Client::of_mount(&mount).unwrap().is_none());
        server.listen_for(&mount).unwrap();
        let file = dir.path().join(FILE);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        for what in ["removed", "replaced by a file"] {
            std::fs::remove_file(&file).unwrap();
            if what != "removed" {
                std::fs::write(&file, "").unwrap();
            }
            call(dir.path(), &Request::Status).0.unwrap();
            Client::of_mount(&mount).unwrap().unwrap();
            std::fs::write(&file, "").unwrap();
        }
        // Nobody who did not mount it answers for a mount.
        let others = MountInfo {
            user_id: Some(geteuid().as_raw() + 1),
            ..mount.clone()
        };
        assert!(Client::of_mount(&others).unwrap().is_none());
        server.withdraw();
        assert!(Client::of_store(&open(dir.path())).unwrap().is_none());
        assert!(Client::of_mount(&mount).unwrap().is_none());
    }

    /// Regression: the mode of the socket was set by path, of whatever lay there by then.
    #[test]
    fn a_socket_replaces_a_link_and_not_what_that_leads_to() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
        std::fs::set_permissions(outside.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join(FILE)).unwrap();
        let _server = start(dir.path());
        assert_eq!(
            std::fs::metadata(outside.path()).unwrap().permissions().mode() & 0o777,
            0o644
        );
        call(dir.path(), &Request::Status).0.unwrap();
    }
}
